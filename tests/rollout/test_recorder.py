"""The recorder sees every keyframe, and only what a policy may see."""

import math
from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.recording.recorder import RecorderConfig
from embodied.rollout.recording.video_observer import VideoConfig, with_spectator
from embodied.trajectories import goal_to_json, read_trajectory, write_trajectory
from embodied.types import Clock, Limits, Outcome, Wait
from tests.fakes import (
    BINS,
    BLOCK_START,
    FakeController,
    FakePolicy,
    FakeTask,
    ScriptedPolicy,
    carry_to,
)
from tests.worlds import PandaWorld, record_of


def recorded(policy, *, task=None, config=None, video=False):
    """Plays one episode with a recorder and returns the trajectory, the record and the world."""
    task, world = task or FakeTask(), PandaWorld()
    episode = task.sample(3, split="train")
    if video:
        episode = with_spectator(episode, VideoConfig())
    controllers = {robot.name: FakeController(robot.name) for robot in episode.scene.robots}
    recorder = (config or RecorderConfig()).build()
    ending = play(episode, EpisodeContext(world, task, policy, lambda _: controllers), observers=[recorder])
    record = record_of(episode, ending)
    recorder.on_end(record)
    return next(iter(recorder.recordings()), None), record, episode


def test_there_is_a_keyframe_before_each_intent_and_one_after_the_last():
    trajectory, record, episode = recorded(FakePolicy(privileged=True))
    assert record.outcome is Outcome.SUCCESS
    take, put = carry_to(BINS[episode.choice_goal.target])
    assert trajectory.intents == (take, put)
    times_s = [observation.time_s for observation in trajectory.observations]
    assert len(times_s) == 3
    assert times_s[0] == 0.0
    assert times_s == sorted(set(times_s))
    assert times_s[-1] == record.sim_time_s
    # The first keyframe was seen where the hand starts, the second where it took the block.
    np.testing.assert_allclose(trajectory.observations[0].proprio[:3], (0.0, 0.0, 0.5))
    np.testing.assert_allclose(trajectory.observations[1].proprio[:3], BLOCK_START, atol=1e-6)
    np.testing.assert_allclose(trajectory.observations[2].proprio[:3], BINS[episode.choice_goal.target], atol=0.03)


def test_the_label_says_what_the_episode_was_and_how_it_ended():
    trajectory, record, episode = recorded(FakePolicy(privileged=True))
    label = trajectory.label
    assert (label.task, label.tier, label.seed, label.split) == ("bin_block", "strict", 3, "train")
    assert (label.goal, label.choice) == (goal_to_json(episode.goal), episode.choice_goal.target)
    assert (label.outcome, label.reached) == (Outcome.SUCCESS, ("taken", "binned"))
    assert label.episode == record.episode
    assert trajectory.proprio_names[0] == "panda_joint1_rad"


def test_all_cameras_are_recorded_for_an_expert_that_asks_for_none_but_never_instances_or_the_video():
    trajectory, _, _ = recorded(FakePolicy(privileged=True, cameras=()), video=True)
    for observation in trajectory.observations:
        assert set(observation.images) == {"front", "wrist"}
        assert all(image.instance is None for image in observation.images.values())


def test_only_the_cameras_asked_for_are_recorded():
    trajectory, _, _ = recorded(FakePolicy(privileged=True), config=RecorderConfig(cameras=["wrist"]))
    assert all(set(observation.images) == {"wrist"} for observation in trajectory.observations)


@pytest.mark.parametrize(("clock", "shown"), [(Clock.HIDDEN, [None, None, None]), (Clock.KEYFRAMES, [0.0, 1.0, 2.0])])
def test_the_clock_of_the_episode_is_the_clock_of_the_record(clock, shown):
    trajectory, _, _ = recorded(FakePolicy(privileged=True), task=FakeTask(overrides={"clock": clock}))
    assert [observation.time_s for observation in trajectory.observations] == shown


def test_intents_are_recorded_as_decided_before_placement_noise():
    task = FakeTask(overrides={"placement_noise_m": 0.02})
    trajectory, _, episode = recorded(FakePolicy(privileged=True), task=task)
    assert trajectory.intents == carry_to(BINS[episode.choice_goal.target])


def test_an_episode_cut_off_by_the_limit_of_intents_is_recorded_to_its_end():
    away = carry_to((0.5, 0.0, 0.4))
    script = [(move,) for move in (*away, *away)]
    trajectory, record, _ = recorded(
        ScriptedPolicy(script), task=FakeTask(overrides={"limits": Limits(intents=2, sim_time_s=20.0)})
    )
    assert record.outcome is Outcome.TIMEOUT
    assert trajectory.intents == away
    assert len(trajectory.observations) == 3


def test_a_decision_that_is_no_keyframe_makes_the_episode_invalid_and_leaves_no_trajectory():
    for script in ([(Wait(0.1),)], [carry_to(BINS["left"])]):
        trajectory, record, _ = recorded(ScriptedPolicy(script))
        assert trajectory is None
        assert record.outcome is Outcome.INVALID
        assert "one MoveTo" in record.reason


def test_an_invalid_episode_leaves_no_trajectory():
    far = replace(carry_to(BINS["left"])[0], position_m=(math.nan, 0.0, 0.0))
    trajectory, record, _ = recorded(ScriptedPolicy([(far,)]))
    assert record.outcome is Outcome.INVALID
    assert trajectory is None


def test_an_episode_of_two_robots_is_refused():
    with pytest.raises(ConfigError, match="one robot"):
        recorded(FakePolicy(privileged=True), task=FakeTask(robots=("arm", "other")))


@pytest.mark.parametrize(("cameras", "message"), [([], "at least one"), (["front", "wirst"], "Did you mean 'wrist'")])
def test_cameras_that_cannot_be_recorded_are_refused(cameras, message):
    with pytest.raises(ConfigError, match=message):
        recorded(FakePolicy(privileged=True), config=RecorderConfig(cameras=cameras))


def test_what_is_recorded_can_be_written_and_read(tmp_path):
    trajectory, _, _ = recorded(FakePolicy(privileged=True))
    write_trajectory(tmp_path / "e.npz", trajectory)
    assert read_trajectory(tmp_path / "e.npz").intents == trajectory.intents
