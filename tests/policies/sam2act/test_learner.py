from dataclasses import replace

import pytest
import torch

from embodied.errors import ConfigError
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.specs import KEYFRAME
from policies.heads.heatmap import gaussian
from policies.sam2act import MemoryKind
from policies.sam2act.branch import CoarseFeatures
from policies.sam2act.geometry import pixels
from policies.sam2act.inputs import Keyframes
from policies.sam2act.learner import Sam2ActLearner
from policies.sam2act.losses import needs_memory
from policies.training.learner import DatasetFeatures
from tests.policies.sam2act.small import INSTRUCTION, PIXELS, batch_of, observation, small_config

FEATURES = DatasetFeatures(
    robot="panda",
    image_px={"front": (PIXELS, PIXELS), "wrist": (PIXELS, PIXELS)},
    proprio_names=proprio_layout(robot_model("panda")),
    action_spec=KEYFRAME,
    tasks=("put_block_back/strict",),
    instructions=(INSTRUCTION,),
    intent_low_m=(0.0, -0.4, 0.76),
    intent_high_m=(0.5, 0.4, 0.95),
    longest=12,
    digest="",
)


@pytest.fixture
def learner() -> Sam2ActLearner:
    torch.manual_seed(0)
    return Sam2ActLearner(small_config())


def shown(learner: Sam2ActLearner, *, length: int = 4):
    sequences = [[observation(10 * row + step) for step in range(length)] for row in range(2)]
    return batch_of(sequences, torch.from_numpy(learner.tokenise(INSTRUCTION))[None])


def test_all_parts_learn_from_every_batch(learner):
    loss, metrics = learner(shown(learner))
    loss.backward()
    still = [name for name, value in learner.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert not still
    assert set(metrics) >= {"loss/coarse", "loss/fine", "loss/rotation", "attention_entropy"}
    assert loss.item() == pytest.approx(sum(v.item() for k, v in metrics.items() if k.startswith("loss/")), rel=1e-5)


def test_padding_changes_nothing(learner):
    learner.eval()
    batch = shown(learner)
    padded = {
        name: torch.cat((value, value[:, -1:]), 1) if value.shape[:2] == batch["valid"].shape else value
        for name, value in batch.items()
    }
    padded["valid"][:, -1] = False
    with torch.no_grad():
        assert learner(batch)[0].item() == pytest.approx(learner(padded)[0].item(), rel=1e-5)


def test_a_few_keyframes_are_learnt_by_heart(learner):
    batch = shown(learner, length=2)
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-2)
    first = learner(batch)[0].item()
    for _ in range(40):
        optimiser.zero_grad()
        loss = learner(batch)[0]
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.6 * first


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"image_px": {"front": (24, 24)}}, "every camera"),
        ({"image_px": {"front": (24, 24), "wrist": (32, 32)}}, "one size"),
        ({"action_spec": replace(KEYFRAME, name="joint targets")}, "keyframes"),
        ({"intent_high_m": (0.9, 0.4, 0.95)}, "workspace"),
        ({"proprio_names": ("base_x_m",)}, "robot"),
    ],
)
def test_data_that_does_not_fit_is_refused(learner, features, message):
    learner.check(FEATURES)
    with pytest.raises(ConfigError, match=message):
        learner.check(replace(FEATURES, **features))


def test_a_policy_without_memory_has_no_parts_for_it():
    names = {name.split(".")[1] for name, _ in Sam2ActLearner(small_config(MemoryKind.off)).named_parameters()}
    assert names.isdisjoint({"memory", "moment"})


def test_pictures_show_both_branches(learner):
    drawn = learner.eval().visualisations(shown(learner))
    assert {picture.shape for picture in drawn.values()} == {(4 * 64, 3 * 64, 3)}


# --- A stage in which memory alone learns, from cached features -------------------------------------------------------

LEFT_TO_LEARN = {"memory", "moment"}


@pytest.fixture
def remembering(learner) -> Sam2ActLearner:
    """A learner of which all but memory is frozen, and memory decides something."""
    for parameter in learner.network.memory.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for name, group in learner.parameter_groups().items():
        for parameter in group:
            parameter.requires_grad_(name in LEFT_TO_LEARN)
    return learner


def cached(learner, batch):
    return batch | {f"frozen.{name}": value for name, value in learner.frozen_features(batch).items()}


def test_every_parameter_is_in_one_group(learner):
    groups = learner.parameter_groups()
    assert {"encoder", "language", "coarse", "upsampling", "fine", "hand", "memory", "moment"} == set(groups)
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in learner.parameters())


def test_memory_learns_from_cached_features_as_from_what_is_seen(remembering):
    remembering.policy_config.easy_share = 1.0
    gradients = []
    for batch in (shown(remembering), cached(remembering, shown(remembering))):
        loss, metrics = remembering(batch)
        loss.backward()
        assert not {"loss/fine", "loss/rotation"} & set(metrics), "the close look does not learn"
        gradients.append({name: p.grad for name, p in remembering.network.named_parameters() if p.grad is not None})
        remembering.zero_grad(set_to_none=True)
    seen, kept = gradients
    assert set(seen) == set(kept)
    assert {name.split(".")[0] for name in seen} == LEFT_TO_LEARN
    strongest = max(gradient.abs().max().item() for gradient in seen.values())
    for name, gradient in seen.items():
        assert torch.allclose(gradient, kept[name], rtol=0.02, atol=2e-3 * strongest), name


def test_keyframes_that_go_well_without_memory_are_left_out(remembering):
    batch = cached(remembering, shown(remembering))
    batch["frozen.needed"] = torch.zeros(2, 4, dtype=torch.bool)
    batch["frozen.needed"][1, 2] = True
    losses = {}
    for share in (0.0, 1.0):
        remembering.policy_config.easy_share = share
        losses[share] = remembering(batch)[0]
    assert 0.0 < losses[0.0].item() < 0.5 * losses[1.0].item()
    needed = Keyframes.of(batch)
    features = CoarseFeatures.cached(needed.arrays)
    assert features is not None
    remembering.policy_config.easy_share = 0.0
    assert remembering._trained_on(features).nonzero().flatten().tolist() == [6]
    assert remembering.eval()._trained_on(features).all(), "evaluation looks at all"


def test_memory_is_needed_where_two_places_look_alike(learner):
    config, size = learner.policy_config, learner.policy_config.branch.size
    here, there = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[-0.5, -0.5, 0.0]])
    one, other = (gaussian(pixels(point, size), size, sigma_px=config.heat_sigma_px) for point in (here, there))
    known, torn = (one + 1e-9).log(), (0.6 * one + 0.4 * other + 1e-9).log()
    assert needs_memory(known, here, config).tolist() == [False]
    assert needs_memory(torn, here, config).tolist() == needs_memory(torn, there, config).tolist() == [True]


def test_features_of_what_learns_are_not_cached(learner):
    with pytest.raises(ConfigError, match=r"only where.*encoder, language, coarse not frozen.*stage\.frozen"):
        learner.frozen_features(shown(learner))
