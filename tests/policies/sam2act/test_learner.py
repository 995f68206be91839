from dataclasses import replace

import pytest
import torch

from embodied.errors import ConfigError
from embodied.robots.catalogue import robot_model
from embodied.specs import proprio_layout
from policies.sam2act.choices import MemoryKind
from policies.sam2act.learner import Sam2ActLearner
from policies.training.learner import ACTION_FORM, DataFacts
from tests.policies.sam2act.small import INSTRUCTION, PIXELS, batch_of, observation, small_config

FACTS = DataFacts(
    robot="panda",
    image_px={"front": (PIXELS, PIXELS), "wrist": (PIXELS, PIXELS)},
    proprio_names=proprio_layout(robot_model("panda")),
    action_form=ACTION_FORM,
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
    ("facts", "said"),
    [
        ({"image_px": {"front": (24, 24)}}, "every camera"),
        ({"image_px": {"front": (24, 24), "wrist": (32, 32)}}, "one size"),
        ({"action_form": "joint targets"}, "keyframes"),
        ({"intent_high_m": (0.9, 0.4, 0.95)}, "workspace"),
        ({"proprio_names": ("base_x_m",)}, "robot"),
    ],
)
def test_data_that_does_not_fit_is_refused(learner, facts, said):
    learner.check(FACTS)
    with pytest.raises(ConfigError, match=said):
        learner.check(replace(FACTS, **facts))


def test_a_policy_without_memory_has_no_parts_for_it():
    names = {name.split(".")[1] for name, _ in Sam2ActLearner(small_config(MemoryKind.off)).named_parameters()}
    assert names.isdisjoint({"memory", "moment"})


def test_pictures_show_both_branches(learner):
    drawn = learner.eval().pictures(shown(learner))
    assert {picture.shape for picture in drawn.values()} == {(4 * 64, 3 * 64, 3)}
