"""The state machine of reopen_drawer, driven by hand-made states."""

from dataclasses import replace

import pytest

from embodied.geometry import Pose, compose
from embodied.scenes.tabletop import DRAWERS, slide
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
from embodied.types import Outcome
from tests.tasks.worlds import initial_state, judge, with_button, with_joint


class Bench:
    """One episode and the states that its story consists of."""

    def __init__(self, tier="strict", seed=1):
        self.task = ReopenDrawer(tier=tier)
        self.episode = self.task.sample(seed)
        self.start = initial_state(self.episode)
        self.target = self.episode.choice_goal.target
        self.wrong = next(name for name in DRAWERS if name != self.target)

    def opened(self, name, metres):
        """The target shut, then drawer `name` open by `metres`."""
        state = self.start
        for drawer, opening in ((self.target, 0.0), (name, metres)):
            joint = self.episode.scene.joint(slide(drawer))
            chest = self.episode.scene.body(joint.parent).pose
            at = compose(compose(chest, joint.pose), Pose((0.0, -opening, 0.0)))
            state = replace(with_joint(state, joint.name, opening), pose={**state.pose, drawer: at})
        return state

    def to_the_press(self):
        shut = self.opened(self.target, 0.0)
        return [self.opened(self.target, 0.1), shut, with_button(shut, 0.006), shut]

    def judge(self, *states):
        return judge(self.task, self.episode, [self.start, *states])


@pytest.mark.parametrize("tier", ["faithful", "strict"])
@pytest.mark.parametrize("seed", range(4))
def test_the_right_order_succeeds(tier, seed):
    bench = Bench(tier, seed)
    halfway, wide = bench.opened(bench.target, 0.1), bench.opened(bench.target, 0.2)
    assert bench.judge(*bench.to_the_press(), halfway).outcome is Outcome.RUNNING
    progress = bench.judge(*bench.to_the_press(), halfway, wide)
    assert progress.outcome is Outcome.SUCCESS
    assert progress.reached == bench.task.phases == ("closed", "pressed", "reopened")
    assert progress.choice == bench.target


def test_the_first_drawer_of_all_is_open_and_the_others_are_shut():
    for seed in range(6):
        bench = Bench(seed=seed)
        assert {name for name in DRAWERS if bench.start.joint[slide(name)] > 0.2} == {bench.target}


def test_a_wrong_drawer_fails_in_strict_and_is_forgiven_in_faithful():
    for tier, outcome in (("strict", Outcome.FAILURE), ("faithful", Outcome.RUNNING)):
        bench = Bench(tier)
        wrong = bench.opened(bench.wrong, 0.021)
        progress = bench.judge(*bench.to_the_press(), wrong)
        assert (progress.outcome, progress.choice) == (outcome, bench.wrong)
    done = bench.judge(*bench.to_the_press(), wrong, bench.opened(bench.target, 0.2))
    assert done.outcome is Outcome.SUCCESS
    assert done.choice == bench.wrong


def test_a_drawer_open_by_two_centimetres_is_no_choice():
    bench = Bench()
    assert bench.judge(*bench.to_the_press(), bench.opened(bench.wrong, 0.0199)).choice is None


@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_a_press_before_the_drawer_is_shut_does_not_count(tier):
    bench = Bench(tier)
    early = with_button(bench.start, 0.006)
    assert bench.judge(early, bench.opened(bench.target, 0.0)).reached == ("closed",)


def test_a_press_with_another_drawer_open_does_not_count_in_strict():
    bench = Bench()
    shut, other = bench.opened(bench.target, 0.0), bench.opened(bench.wrong, 0.1)
    assert bench.judge(shut, with_button(other, 0.006)).reached == ("closed",)


def test_strict_drawers_have_a_catch_that_reaches_beyond_what_counts_as_shut():
    joints = {tier: Bench(tier).episode.scene.joint(slide("drawer_top")) for tier in ("strict", "faithful")}
    assert joints["faithful"].detent is None
    assert joints["strict"].detent.position == 0.0
    assert joints["strict"].detent.capture > 0.02
