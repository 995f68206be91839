"""Tasks keep their contract, and every rule of it catches those that break it."""

from dataclasses import dataclass, field, replace
from itertools import count

import msgspec
import numpy as np
import pytest

from embodied.geometry import Pose
from embodied.tasks.registry import SUITES, make_task
from embodied.testing import ContractError, check_task
from embodied.types import Choice, Outcome, Progress
from tests.evaluation.fakes import FakeTask as DrawnTask
from tests.evaluation.notebook import CueTask
from tests.fakes import FakeTask


@pytest.mark.parametrize(
    ("name", "tier"),
    [(name, tier) for suite in SUITES.own.values() for name in suite.tasks for tier in suite.tiers or ("",)],
)
def test_all_tasks_keep_the_contract(name, tier):
    check_task(lambda: make_task(name, tier=tier), seeds=(0, 1, 5))


@pytest.mark.parametrize("make", [FakeTask, DrawnTask, CueTask])
def test_fake_tasks_keep_the_contract(make):
    check_task(make)


class Nameless(FakeTask):
    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), task="another")


class Tierless(FakeTask):
    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), tier="faithful")


class DrawsGlobally(FakeTask):
    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), placement_noise_m=np.random.random())


class SpendsGlobally(FakeTask):
    def sample(self, seed, *, split="test"):
        np.random.random()
        return super().sample(seed, split=split)


@dataclass(kw_only=True)
class CountsCalls(FakeTask):
    calls: count = field(default_factory=count)

    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), placement_noise_m=0.001 * next(self.calls))


class ForgetsSeed(FakeTask):
    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), seed=0)


class OneId(FakeTask):
    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), id="episode")


class AnySplit(FakeTask):
    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split="test" if split == "no split" else split), split=split)


class ListedScene(FakeTask):
    def sample(self, seed, *, split="test"):
        episode = super().sample(seed, split=split)
        return replace(episode, scene=msgspec.structs.replace(episode.scene, bodies=list(episode.scene.bodies)))


class NoScene(FakeTask):
    def sample(self, seed, *, split="test"):
        episode = super().sample(seed, split=split)
        pose = Pose()
        msgspec.structs.force_setattr(pose, "position_m", (float("nan"), 0.0, 0.0))
        table = msgspec.structs.replace(episode.scene.bodies[0])
        msgspec.structs.force_setattr(table, "pose", pose)
        return replace(episode, scene=msgspec.structs.replace(episode.scene, bodies=(table, *episode.scene.bodies[1:])))


class Impatient(FakeTask):
    periods = 0

    def advance(self, episode, progress, state):
        self.periods += 1
        return replace(progress, reason=f"{self.periods} periods")


class WritesProgress(FakeTask):
    def advance(self, episode, progress, state):
        object.__setattr__(progress, "reason", f"{state.time_s}")
        return replace(progress)


class WritesState(FakeTask):
    def advance(self, episode, progress, state):
        state.joint["slide"] += 0.1
        return progress


class FailsAnew(FakeTask):
    failures = 0

    def after_failure(self, episode, progress, feedback, robot):
        self.failures += 1
        return replace(progress, outcome=Outcome.FAILURE, reason=f"failure {self.failures}")


class ForgetsPhases(FakeTask):
    def advance(self, episode, progress, state):
        return replace(progress, reached=() if progress.reached else ("taken",))


class ChoosesAnything(FakeTask):
    def advance(self, episode, progress, state):
        return replace(progress, choice="middle")


class NoReason(FakeTask):
    def after_failure(self, episode, progress, feedback, robot):
        return replace(progress, outcome=Outcome.FAILURE)


class SaysTrue(FakeTask):
    def advance(self, episode, progress, state):
        return True


class Open(CueTask):
    def choice_open(self, progress: Progress):
        return len(progress.reached)


class SameVariant(CueTask):
    def counterfactual(self, episode):
        return replace(super().counterfactual(episode), variant=episode.variant)


class SameId(CueTask):
    def counterfactual(self, episode):
        return replace(super().counterfactual(episode), id=episode.id)


class SameTarget(CueTask):
    def counterfactual(self, episode):
        return replace(super().counterfactual(episode), goal=episode.goal)


class OtherCandidates(CueTask):
    def counterfactual(self, episode):
        other = super().counterfactual(episode)
        return replace(other, goal=Choice((*other.choice_goal.candidates, "third"), other.choice_goal.target))


class OtherInstruction(CueTask):
    def counterfactual(self, episode):
        other = super().counterfactual(episode)
        return replace(other, instruction=f"put the block into {other.choice_goal.target}")


class OtherCameras(CueTask):
    def counterfactual(self, episode):
        other = super().counterfactual(episode)
        return replace(other, scene=msgspec.structs.replace(other.scene, cameras=other.scene.cameras[:1]))


class OtherBodies(CueTask):
    def counterfactual(self, episode):
        other = super().counterfactual(episode)
        return replace(other, scene=msgspec.structs.replace(other.scene, bodies=other.scene.bodies[::-1]))


class BelowZero(FakeTask):
    phases = ("taken", "binned")

    def remaining_m(self, episode, progress, state):
        return 0.5 - len(progress.reached)


PLANTED = [
    ("names", Nameless),
    ("names", Tierless),
    ("sampling", DrawsGlobally),
    ("sampling", SpendsGlobally),
    ("sampling", CountsCalls),
    ("seeds", ForgetsSeed),
    ("seeds", OneId),
    ("seeds", AnySplit),
    ("scene_json", ListedScene),
    ("scene_json", NoScene),
    ("pure", Impatient),
    ("pure", WritesProgress),
    ("pure", WritesState),
    ("pure", FailsAnew),
    ("progress", ForgetsPhases),
    ("progress", ChoosesAnything),
    ("progress", NoReason),
    ("progress", SaysTrue),
    ("choice_open", Open),
    ("remaining", BelowZero),
    ("counterfactual", SameVariant),
    ("counterfactual", SameId),
    ("counterfactual", SameTarget),
    ("counterfactual", OtherCandidates),
    ("counterfactual", OtherInstruction),
    ("counterfactual", OtherCameras),
    ("counterfactual", OtherBodies),
]


@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_task_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with pytest.raises(ContractError) as caught:
        check_task(broken)
    assert caught.value.name == rule, caught.value
