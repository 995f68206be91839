"""The one loop, in this process: what is refused, that it learns, and that it comes out the same when interrupted."""

import dataclasses
import json
import logging
import math

import pytest
import torch

from embodied.errors import ConfigError, DataError, UnknownNameError
from embodied.evaluation.curves import read_curves
from embodied.rollout.compute import ComputeKind
from policies.policy import from_pretrained
from policies.registry import FAMILIES
from policies.training.config import (
    AugmentationConfig,
    LogConfig,
    OptimiserConfig,
    Precision,
    SamplingConfig,
    StageConfig,
    TrainComputeConfig,
    TrainingConfig,
)
from policies.training.ema import WeightAverage
from policies.training.features import FeatureCache
from policies.training.job import run_job
from policies.training.learner import TrainingError
from policies.training.optimiser import clip, global_norm, learning_rate
from policies.training.plan import TrainingPlan
from tests.policies.training.demonstrations import trajectory, two_tasks, write_demonstrations
from tests.policies.training.learners import Tiny, TinyConfig

INLINE = TrainComputeConfig(kind=ComputeKind.inline, threads_per_worker=1)
LOG = LogConfig(metrics_every=3, validate_every=8, pictures_every=0, checkpoint_every=5, keep=9, tensorboard=False)


@pytest.fixture(autouse=True)
def tiny_family(monkeypatch):
    monkeypatch.setitem(FAMILIES.own, "tiny", TinyConfig)


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    return two_tasks(tmp_path_factory.mktemp("demonstrations"))


def plan(folder, output, policy=None, **settings):
    training = TrainingConfig(**{"steps": 20, "batch": 4, "log": LOG, **settings})
    return TrainingPlan(
        family="tiny", policy=policy or TinyConfig(), training=training, folders=(folder,), output=output
    )


def run(folder, output, policy=None, **settings):
    return run_job(plan(folder, output, policy, **settings), INLINE, config="")


def rows(output):
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "wall"} for line in lines]


def weights(output):
    return (output / "policy/model.safetensors").read_bytes()


# --- That it learns ---------------------------------------------------------------------------------------------------


def test_it_learns_and_says_what_made_the_policy(demonstrations, tmp_path):
    before = torch.random.get_rng_state()
    log = dataclasses.replace(LOG, tensorboard=True, pictures_every=40)
    rate = OptimiserConfig(learning_rate=0.02, warm_up=10, ema_decay=0.9)
    summary = run(demonstrations, tmp_path, steps=80, optimiser=rate, log=log)
    assert (summary.step, summary.steps) == (80, 80)
    losses = [row["loss"] for row in rows(tmp_path) if "loss" in row]
    assert losses[-1] < losses[0] / 3
    validated = [row for row in rows(tmp_path) if "validation_loss" in row]
    assert [row["step"] for row in validated] == list(range(8, 81, 8))
    assert validated[-1]["validation_loss"] < losses[0] / 3
    logged = rows(tmp_path)[0].keys()
    assert {"place", "gradient_norm", "parameter_norm", "learning_rate", "augmentation_redrawn"} < logged
    assert list((tmp_path / "tensorboard").iterdir())
    shipped = from_pretrained(tmp_path / "policy")
    assert (shipped.training["steps"], shipped.training["finished"], shipped.training["seed"]) == (80, True, 0)
    assert {"command", "commit", "hardware", "hours", "versions"} <= shipped.training.keys()
    assert shipped.training["data"]["episodes"] == 12
    shipped.build()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_schedule_warms_up_and_follows_a_cosine_to_its_share():
    config = OptimiserConfig(learning_rate=2.0, warm_up=10, final_share=0.25)
    rates = [learning_rate(config, step, 110) for step in range(111)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(2.0 * (0.25 + 0.75 / 2))
    assert rates[110] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_gradients_are_shortened_to_the_longest_norm_and_no_shorter():
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    norm = global_norm(gradients)
    assert float(norm) == 5.0
    clip(gradients, norm, 10.0)
    assert gradients[0].tolist() == [3.0, 0.0]
    clip(gradients, norm, 1.0)
    assert float(global_norm(gradients)) == pytest.approx(1.0)


def test_the_average_is_lent_for_evaluation_and_what_was_learnt_given_back():
    learner = TinyConfig().build()
    average = WeightAverage(learner, decay=0.5)
    begun = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(1.0)
    average.update(10**6)
    learnt = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    learner.train()
    learner.eye.eval()
    with average.applied():
        assert not any(module.training for module in learner.modules())
        for name, tensor in learner.state_dict().items():
            assert torch.allclose(tensor, (begun[name] + learnt[name]) / 2), name
    assert (learner.head.training, learner.eye.training) == (True, False)
    assert all(torch.equal(tensor, learnt[name]) for name, tensor in learner.state_dict().items())


def test_early_on_the_average_follows_the_weights():
    learner = TinyConfig().build()
    average = WeightAverage(learner, decay=0.999)
    with torch.no_grad():
        learner.head[2].bias.fill_(1.0)
    average.update(0)
    assert (average.tensors["head.2.bias"] > 0.8).all()


def test_bfloat16_learns_too(demonstrations, tmp_path):
    run(demonstrations, tmp_path, precision=Precision.bfloat16)
    assert all(math.isfinite(row["loss"]) for row in rows(tmp_path) if "loss" in row)


# --- That interruptions do not show -----------------------------------------------------------------------------------


class StoppedError(Exception):
    pass


def interrupted(monkeypatch, after):
    """Makes the learner stop the process's training, as Ctrl-C would, in its `after`-th training step."""
    forward, calls = Tiny.forward, [0]

    def counting(self, batch):
        calls[0] += self.training
        if calls[0] > after:
            raise StoppedError
        return forward(self, batch)

    monkeypatch.setattr(Tiny, "forward", counting)


@pytest.mark.parametrize("after", [3, 11, 19])
def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(demonstrations, tmp_path, monkeypatch, after):
    run(demonstrations, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupted(patch, after)
        with pytest.raises(StoppedError):
            run(demonstrations, tmp_path / "parts")
    with (tmp_path / "parts/metrics.jsonl").open("a") as file:
        file.write('{"step": 19, "lo')  # As a kill in the middle of a row.
    run(demonstrations, tmp_path / "parts")
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_after_a_damaged_checkpoint_the_one_before_is_used_and_the_end_is_the_same(demonstrations, tmp_path, caplog):
    run(demonstrations, tmp_path)
    whole, logged = weights(tmp_path), rows(tmp_path)
    for name in ("00000020", "00000015"):
        path = tmp_path / "checkpoints" / name / "optimiser.safetensors"
        path.write_bytes(path.read_bytes()[:-7])
    run(demonstrations, tmp_path)
    assert "00000020" in caplog.text
    assert "00000015" in caplog.text
    assert (weights(tmp_path), rows(tmp_path)) == (whole, logged)


def test_when_the_minutes_are_over_it_stops_and_goes_on_to_the_same_end(demonstrations, tmp_path):
    run(demonstrations, tmp_path / "whole")
    steps = [run(demonstrations, tmp_path / "parts", minutes=1e-9).step for _ in range(3)]
    assert steps == [1, 2, 3]
    assert from_pretrained(tmp_path / "parts/policy").training["finished"] is False
    run(demonstrations, tmp_path / "parts")
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_a_finished_run_stays_as_it_is(demonstrations, tmp_path):
    run(demonstrations, tmp_path)
    before = weights(tmp_path)
    assert run(demonstrations, tmp_path).step == 20
    assert weights(tmp_path) == before


# --- That it can be made longer ---------------------------------------------------------------------------------------

CONSTANT = OptimiserConfig(warm_up=4, final_share=1.0)


@pytest.mark.parametrize("after", [None, 7, 13])
def test_with_a_constant_rate_a_longer_run_ends_as_one_that_was_begun_with_its_steps(
    demonstrations, tmp_path, monkeypatch, after, caplog
):
    caplog.set_level(logging.INFO)
    run(demonstrations, tmp_path / "whole", steps=28, optimiser=CONSTANT)
    if after is None:
        assert run(demonstrations, tmp_path / "grown", optimiser=CONSTANT).steps == 20
    else:
        with monkeypatch.context() as patch:
            interrupted(patch, after)
            with pytest.raises(StoppedError):
                run(demonstrations, tmp_path / "grown", optimiser=CONSTANT)
    summary = run(demonstrations, tmp_path / "grown", steps=28, optimiser=CONSTANT)
    assert (summary.step, summary.steps) == (28, 28)
    assert "The training has 28 steps now; it had 20." in caplog.text
    assert weights(tmp_path / "grown") == weights(tmp_path / "whole")
    assert rows(tmp_path / "grown") == rows(tmp_path / "whole")
    story = from_pretrained(tmp_path / "grown/policy").training
    assert story["grown"] == [{"step": {None: 20, 7: 5, 13: 10}[after], "steps": 20}]
    assert (story["steps"], story["finished"], story["settings"]["steps"]) == (28, True, 28)
    assert "grown" not in from_pretrained(tmp_path / "whole/policy").training


def test_along_a_cosine_a_longer_run_has_the_rates_of_its_own_number_of_steps_from_there_on(demonstrations, tmp_path):
    rate = OptimiserConfig(warm_up=4, final_share=0.1)
    every = dataclasses.replace(LOG, metrics_every=1)
    run(demonstrations, tmp_path, steps=10, optimiser=rate, log=every)
    run(demonstrations, tmp_path, steps=16, optimiser=rate, log=every)
    rates = [row["learning_rate"] for row in rows(tmp_path) if "learning_rate" in row]
    assert rates == [learning_rate(rate, step, 10 if step < 10 else 16) for step in range(16)]
    assert rates[9] < rates[10]


def test_a_run_that_is_made_longer_twice_and_interrupted_ends_as_if_it_had_not_been(
    demonstrations, tmp_path, monkeypatch
):
    for name in ("whole", "parts"):
        run(demonstrations, tmp_path / name, steps=6)
        run(demonstrations, tmp_path / name, steps=9)
    run(demonstrations, tmp_path / "whole", steps=17)
    with monkeypatch.context() as patch:
        interrupted(patch, 3)
        with pytest.raises(StoppedError):
            run(demonstrations, tmp_path / "parts", steps=17)
    run(demonstrations, tmp_path / "parts", steps=17)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    story = from_pretrained(tmp_path / "parts/policy").training
    assert story["grown"] == [{"step": 6, "steps": 6}, {"step": 9, "steps": 9}]


def test_epochs_may_grow_as_well_and_be_given_as_steps(demonstrations, tmp_path):
    first = run(demonstrations, tmp_path, epochs=2.0).steps
    second = run(demonstrations, tmp_path, epochs=3.0).steps
    assert second > first
    assert run(demonstrations, tmp_path, steps=second + 1).step == second + 1
    with pytest.raises(ConfigError, match=rf"must not become smaller.*steps was {second + 1}, is {first}"):
        run(demonstrations, tmp_path, epochs=2.0)


def test_fewer_steps_are_refused_and_change_nothing(demonstrations, tmp_path):
    run(demonstrations, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"must not become smaller.*steps was 20, is 12.*Set steps=20 or more"):
        run(demonstrations, tmp_path, steps=12)
    with pytest.raises(ConfigError, match=r"must hold one run.*seed was 0, is 1"):
        run(demonstrations, tmp_path, steps=30, seed=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "error", "printed"),
    [
        (TinyConfig(cameras=["fromt"]), UnknownNameError, "Did you mean 'front'"),
        (TinyConfig(image_px=16), ConfigError, "image size must be the policy's"),
        (TinyConfig(space="joint angles"), DataError, "the space that the policy learns, 'joint angles'"),
        (
            TinyConfig(workspace_m=[[0.0, 0.1], [-1.0, 1.0], [0.0, 2.0]]),
            ConfigError,
            "workspace that the policy is normalised",
        ),
    ],
)
def test_data_that_do_not_fit_the_policy_are_refused_before_the_folder_is_made(
    demonstrations, tmp_path, policy, error, printed
):
    with pytest.raises(error, match=printed) as refused:
        run(demonstrations, tmp_path / "out", policy)
    assert "Got" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_robot_without_the_pose_of_its_tool_is_refused(tmp_path):
    proprio = ("base_x_m", "base_y_m", "base_yaw_rad")
    write_demonstrations(tmp_path / "data", [trajectory(seed=seed, proprio=proprio) for seed in range(3)])
    with pytest.raises(ConfigError, match=r"must contain the pose of the tool.*tool_x_m"):
        run(tmp_path / "data", tmp_path / "out")


def test_another_run_in_the_same_folder_is_refused(demonstrations, tmp_path):
    run(demonstrations, tmp_path)
    with pytest.raises(ConfigError, match=r"must hold one run.*seed was 0, is 1"):
        run(demonstrations, tmp_path, seed=1)
    with pytest.raises(ConfigError, match=r"policy.width was 16, is 8"):
        run(demonstrations, tmp_path, TinyConfig(width=8))
    run(demonstrations, tmp_path, minutes=5.0, log=dataclasses.replace(LOG, metrics_every=7))


def test_a_loss_that_is_not_finite_stops_it_with_step_and_files_before_a_weight_is_touched(demonstrations, tmp_path):
    for broken, what in ((TinyConfig(nan=True), "loss"), (TinyConfig(nan_gradient=True), "gradient")):
        with pytest.raises(TrainingError, match=rf"The {what} of a step must be finite.*nan at step 0 on .*\.npz"):
            run(demonstrations, tmp_path / what, broken)
        assert not list((tmp_path / what / "checkpoints").glob("[0-9]*"))


def test_a_demonstration_that_is_damaged_meanwhile_is_named_with_the_step(tmp_path):
    two_tasks(tmp_path / "data", episodes=2)
    for path in (tmp_path / "data").rglob("0.npz"):
        path.write_bytes(path.read_bytes().replace(b"intrinsics", b"extrinsics"))
    with pytest.raises(DataError, match=r"0\.npz, step 0"):
        run(tmp_path / "data", tmp_path / "out", sampling=SamplingConfig(held_out=0.5))


@pytest.mark.parametrize(
    ("settings", "printed"),
    [
        ({"steps": 0}, "steps and batch"),
        ({"batch": 0}, "steps and batch"),
        ({"seed": -1}, "seed must lie"),
        ({"sampling": SamplingConfig(sequence_length=4, sequence_stride=3)}, "sequence_stride must divide"),
        ({"augmentation": AugmentationConfig(shift_m=[0.1])}, "three distances"),
        ({"optimiser": OptimiserConfig(clip_norm=0.0)}, "clip_norm must be positive"),
        ({"stage": StageConfig(cache_features=True)}, "must come with frozen groups"),
        ({"log": LogConfig(keep=0)}, "keep must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(demonstrations, tmp_path, settings, printed):
    with pytest.raises(ConfigError, match=printed):
        run(demonstrations, tmp_path / "out", **settings)


# --- Two stages -------------------------------------------------------------------------------------------------------


def test_a_second_stage_starts_from_the_first_and_leaves_what_is_frozen_alone(demonstrations, tmp_path):
    run(demonstrations, tmp_path / "one")
    stage = StageConfig(start=str(tmp_path / "one/policy"), frozen=["eye"], fresh=["head"])
    run(demonstrations, tmp_path / "two", stage=stage)
    first, second = (from_pretrained(tmp_path / name / "policy").tensors for name in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first if name.startswith("eye."))
    assert not torch.equal(first["head.2.weight"], second["head.2.weight"])


def test_the_curves_of_a_stage_follow_those_of_the_stages_before_it(demonstrations, tmp_path):
    run(demonstrations, tmp_path / "one")
    for before, after in (("one", "two"), ("two", "three")):
        stage = StageConfig(start=str(tmp_path / before / "policy"), frozen=["eye"])
        run(demonstrations, tmp_path / after, stage=stage, seed=len(after))
    (alone,) = read_curves(tmp_path / "one/policy/curves.json")
    stages = read_curves(tmp_path / "three/policy/curves.json")
    assert len(stages) == 3
    assert stages[0] == alone
    assert stages[1] == read_curves(tmp_path / "two/policy/curves.json")[1]
    assert stages[2].steps == tuple(row["step"] for row in rows(tmp_path / "three"))


def test_a_stage_whose_start_has_damaged_curves_is_refused_before_its_first_step(demonstrations, tmp_path):
    run(demonstrations, tmp_path / "one")
    (tmp_path / "one/policy/curves.json").write_text("{}")
    with pytest.raises(DataError, match=r"curves\.json"):
        run(demonstrations, tmp_path / "two", stage=StageConfig(start=str(tmp_path / "one/policy")))
    assert not (tmp_path / "two/metrics.jsonl").exists()


def test_a_stage_starts_from_where_its_plan_says_that_the_named_weights_lie(demonstrations, tmp_path):
    run(demonstrations, tmp_path / "one")
    stage = StageConfig(start="one/policy", frozen=["eye"])
    elsewhere = dataclasses.replace(plan(demonstrations, tmp_path / "two", stage=stage), start=tmp_path / "one/policy")
    run_job(elsewhere, INLINE, config="")
    first, second = (from_pretrained(tmp_path / name / "policy").tensors for name in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first if name.startswith("eye."))


def test_a_policy_that_cannot_be_built_from_its_settings_is_refused_with_them(demonstrations, tmp_path):
    with pytest.raises(
        ConfigError, match=r"RuntimeError: .* negative dimension .* the defaults are policy\.width=-1\."
    ):
        run(demonstrations, tmp_path / "out", TinyConfig(width=-1))
    assert not (tmp_path / "out").exists()


def test_frozen_parts_neither_drop_out_nor_adapt_while_the_others_learn(demonstrations, tmp_path, monkeypatch):
    modes, forward = set(), Tiny.forward

    def watched(self, batch):
        if self.training:
            modes.add((self.eye.training, self.head.training, self.head[1].training))
        return forward(self, batch)

    monkeypatch.setattr(Tiny, "forward", watched)
    run(demonstrations, tmp_path, TinyConfig(dropout=0.5), stage=StageConfig(frozen=["head"]), steps=3)
    assert modes == {(True, False, False)}


def test_a_loss_that_nothing_that_learns_decides_is_refused_at_the_first_step(demonstrations, tmp_path, monkeypatch):
    forward = Tiny.forward

    def deaf(self, batch):
        loss, metrics = forward(self, batch)
        return loss.detach(), metrics

    monkeypatch.setattr(Tiny, "forward", deaf)
    with pytest.raises(ConfigError, match=r"depend on parameters that are trained.*frozen are eye.*memory\.kind=none"):
        run(demonstrations, tmp_path / "two", stage=StageConfig(frozen=["eye"]))


def test_a_stage_from_another_architecture_or_of_unknown_groups_is_refused(demonstrations, tmp_path):
    run(demonstrations, tmp_path / "one", TinyConfig(width=8))
    start = str(tmp_path / "one/policy")
    with pytest.raises(DataError, match=r"of the architecture that they are loaded into.*eye\.0\.weight is \(8, 8\)"):
        run(demonstrations, tmp_path / "two", stage=StageConfig(start=start))
    with pytest.raises(UnknownNameError, match="Did you mean 'eye'"):
        run(demonstrations, tmp_path / "two", stage=StageConfig(frozen=["eyes"]))
    with pytest.raises(ConfigError, match="leave some parameters to train"):
        run(demonstrations, tmp_path / "two", stage=StageConfig(frozen=["eye", "head"]))


def test_frozen_features_are_computed_once_per_episode_and_copy_and_change_nothing(
    demonstrations, tmp_path, monkeypatch
):
    computed, compute = [], FeatureCache._compute

    def counting(self, batch):
        computed.append(int(batch["episode"]))
        return compute(self, batch)

    monkeypatch.setattr(FeatureCache, "_compute", counting)
    settings = {
        "augmentation": AugmentationConfig(copies=2),
        "sampling": SamplingConfig(held_out=0.2, sequence_length=3),
        "steps": 60,
    }
    policy = TinyConfig(dropout=0.0)
    for name, cached in (("plain", False), ("cached", True)):
        stage = StageConfig(frozen=["eye"], cache_features=cached)
        run(demonstrations, tmp_path / name, policy, stage=stage, **settings)
    assert len(computed) == 10 * 2
    ours, theirs = (from_pretrained(tmp_path / name / "policy").tensors for name in ("plain", "cached"))
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=1e-5), name
    run(demonstrations, tmp_path / "cached", policy, stage=StageConfig(frozen=["eye"], cache_features=True), **settings)
    assert len(computed) == 10 * 2
