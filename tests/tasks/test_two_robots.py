"""The task of two robots: what it draws, how it judges, and that its layouts do not name the target."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import ConfigError, EmbodiedError
from embodied.geometry import Pose
from embodied.scenes.hall import BLOCK, BLOCK_M, MOBILE, SPOTS_M, STANDING, TABLE_TOP_M
from embodied.tasks.registry import make_task
from embodied.tasks.teamwork.two_robots import TwoRobots
from embodied.tasks.teamwork.two_robots_expert import TwoRobotsExpert, spot_m
from embodied.testing.ideal_world import home_state
from embodied.types import (
    ControllerStatus,
    EndEffectorState,
    IntentFeedback,
    MoveTo,
    Outcome,
    Progress,
    RobotState,
    Wait,
    held_bodies,
)

TASK = TwoRobots()
LYING_M = TABLE_TOP_M + BLOCK_M / 2
MOVED = Progress(reached=("away", "moved"))


def start_of(episode):
    x, y, _ = episode.scene.body(BLOCK).pose.position_m
    return min(SPOTS_M, key=lambda spot: np.hypot(x - spot_m(episode, spot)[0], y - spot_m(episode, spot)[1]))


def at(episode, spot, height_m=LYING_M):
    return Pose((*spot_m(episode, spot), height_m))


def state(episode, *, block, base_x_m=1.1, holder=None, gripper=1.0, tool=None):
    begun = home_state(episode.scene)
    robots = {}
    for name in (STANDING, MOBILE):
        own = begun.robots[name]
        held = BLOCK if holder == name else None
        hand = EndEffectorState(tool or own.tool, gripper if name == MOBILE else 1.0, held)
        base = Pose((base_x_m, 0.0, 0.0)) if name == MOBILE else own.base
        robots[name] = RobotState(own.joint_position_rad, own.joint_velocity_radps, base, {"gripper": hand})
    return replace(begun, pose={**begun.pose, BLOCK: block}, robots=robots, held=held_bodies(robots))


def test_the_block_never_starts_on_a_candidate_and_all_targets_are_as_likely():
    episodes = [TASK.sample(seed) for seed in range(300)]
    for episode in episodes:
        assert start_of(episode) not in episode.choice_goal.candidates
        assert set(episode.choice_goal.candidates) | {start_of(episode)} == set(SPOTS_M)
        assert TASK.chance(episode) == pytest.approx(1 / 3)
    counts = Counter(episode.variant for episode in episodes)
    assert min(counts.values()) > 75, counts
    assert min(Counter(start_of(episode) for episode in episodes).values()) > 50


def test_the_mobile_robot_does_not_get_the_target():
    episode = TASK.sample(3)
    assert episode.choice_goal.target in episode.instruction_of(STANDING)
    assert not any(spot in episode.instruction_of(MOBILE) for spot in SPOTS_M)


def test_layouts_differ_by_seed_and_not_by_variant():
    layouts = {}
    for seed in range(60):
        episode = TASK.sample(seed)
        layouts.setdefault(episode.scene.body("spot_a").pose, set()).add(episode.variant)
    assert len(layouts) == 60


def test_the_phases_come_in_their_order():
    episode = TASK.sample(0)
    start, target = at(episode, start_of(episode)), at(episode, episode.choice_goal.target)
    progress = TASK.begin(episode, state(episode, block=start))
    assert TASK.advance(episode, progress, state(episode, block=target)).reached == (), (
        "the mobile robot has not left the table yet"
    )
    progress = TASK.advance(episode, progress, state(episode, block=start, base_x_m=1.6))
    assert progress.reached == ("away",)
    held = state(episode, block=target, base_x_m=1.6, holder=STANDING)
    assert TASK.advance(episode, progress, held).reached == ("away",), "it is still held"
    progress = TASK.advance(episode, progress, state(episode, block=target, base_x_m=1.6))
    assert progress.reached == ("away", "moved")
    grasped = TASK.advance(episode, progress, state(episode, block=target, holder=MOBILE))
    assert (grasped.outcome, grasped.choice) == (Outcome.RUNNING, episode.choice_goal.target)
    lifted = state(episode, block=at(episode, episode.choice_goal.target, TABLE_TOP_M + 0.1), holder=MOBILE)
    assert TASK.advance(episode, grasped, lifted).outcome is Outcome.SUCCESS


def test_the_block_on_another_spot_has_not_been_moved():
    episode = TASK.sample(0)
    wrong = next(spot for spot in episode.choice_goal.candidates if spot != episode.choice_goal.target)
    progress = TASK.advance(episode, Progress(reached=("away",)), state(episode, block=at(episode, wrong)))
    assert progress.reached == ("away",)


@pytest.mark.parametrize("spot", list(SPOTS_M))
def test_a_gripper_that_closes_on_nothing_has_chosen_the_nearest_spot_and_failed(spot):
    episode = TASK.sample(0)
    target = at(episode, episode.choice_goal.target)
    closed = state(episode, block=target, gripper=0.02, tool=at(episode, spot, TABLE_TOP_M + 0.03))
    progress = TASK.advance(episode, MOVED, closed)
    assert (progress.outcome, progress.choice) == (Outcome.FAILURE, spot)


def test_a_failed_intent_ends_the_episode_unless_it_is_to_go_on():
    episode, feedback = TASK.sample(0), IntentFeedback("MoveTo", ControllerStatus.FAILED, "out of reach")
    ended = TASK.after_failure(episode, MOVED, feedback, MOBILE)
    assert (ended.outcome, ended.reason) == (Outcome.FAILURE, "controller: out of reach")
    assert TwoRobots(on_failure="continue").after_failure(episode, MOVED, feedback, MOBILE) is MOVED


@pytest.mark.parametrize("wrong", [{"camera_px": 0}, {"time_limit_s": -1.0}, {"intent_limit": 0}, {"on_failure": "x"}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(EmbodiedError):
        make_task("two_robots", options=wrong)


def test_an_unknown_split_is_refused():
    with pytest.raises(EmbodiedError, match="split"):
        TASK.sample(0, split="tset")
    with pytest.raises(ConfigError):
        make_task("two_robots", options={"patches": 3})


def test_the_expert_fetches_from_the_spot_that_it_believes_in():
    episode, expert = TASK.sample(0), TwoRobotsExpert()
    now = state(episode, block=at(episode, episode.choice_goal.target))
    guess = next(spot for spot in episode.choice_goal.candidates if spot != episode.choice_goal.target)
    carried, places = expert.begin(episode, now, guess), []
    for _ in range(8):
        intent, carried = expert.next_intent(MOBILE, episode, MOVED, now, carried)
        places += [intent.position_m[:2]] if isinstance(intent, MoveTo) else []
    assert places == [spot_m(episode, guess)] * 4
    waiting, kept = expert.next_intent(STANDING, episode, Progress(), now, expert.begin(episode, now, guess))
    assert isinstance(waiting, Wait)
    assert kept["step"] == 0, "it moves nothing before the other robot is away"
