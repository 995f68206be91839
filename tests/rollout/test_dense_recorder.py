"""Recordings at a rate: of real motion, small, read by parts, blind to the clock, one per robot."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.controllers.action_spaces import BASE_VELOCITY, rotation_from_6d
from embodied.errors import ConfigError, DataError, SpecError
from embodied.geometry import rotation_matrix
from embodied.robots.catalogue import robot_model
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.recording.dense import DEPTH_PRECISION_M, action_spaces
from embodied.rollout.recording.recorder import RecorderConfig
from embodied.rollout.worker import EpisodeJob, SimulatorWorker
from embodied.scenes.scene import RobotPlacement, Scene
from embodied.simulators.bullet.simulator import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.specs import KEYFRAME
from embodied.trajectories import action_feature, goal_to_json, open_trajectory, read_trajectory, write_trajectory
from embodied.trajectories.decisions import RecordedDecision, decisions_from_json, decisions_to_json
from embodied.types import (
    ActionChunk,
    Clock,
    Decision,
    DeltaPose,
    Drive,
    GoTo,
    Limits,
    Mission,
    MoveTo,
    Outcome,
    Skill,
    Wait,
)
from policies.training.config import SamplingConfig
from policies.training.episodes import find_recordings
from tests.fakes import FakePolicy, FakeTask
from tests.golden.evaluations import composed
from tests.policies.training.demonstrations import write_demonstrations
from tests.rollout.test_recorder import recorded
from tests.worlds import record_of

SETTINGS = ("suite.tasks=[put_block_back]", "suite.put_block_back.camera_px=96", "policy=[expert]")
JOB = EpisodeJob("run", "put_block_back/strict/train/0", "put_block_back/strict", "expert", 0, "train", trajectory=True)
CAMERAS = ["front", "wrist"]
RATE_HZ = 10.0
IMAGES = [f"observation.{part}.{camera}" for part in ("rgb", "depth_m") for camera in CAMERAS]


@pytest.fixture(scope="module")
def episode():
    """An expert's episode of 10.8 s, recorded exactly through the same frames as well."""
    plan = composed(*SETTINGS)
    found = []
    for precision_m in (DEPTH_PRECISION_M, 0.0):
        recorder = RecorderConfig(cameras=CAMERAS, rate_hz=RATE_HZ, depth_precision_m=precision_m)
        worker = SimulatorWorker(replace(plan.worker, recorder=recorder))
        found.append(worker.run(JOB))
        worker.close()
    return found


@pytest.fixture(scope="module")
def path(episode, tmp_path_factory):
    path = tmp_path_factory.mktemp("dense") / "e.npz"
    write_trajectory(path, episode[0].recordings[0])
    return path


def test_ten_seconds_of_two_cameras_take_at_most_2_mb(episode, path):
    seconds = episode[0].record.sim_time_s
    assert seconds > 10.0
    assert len(open_trajectory(path)) == int(seconds * RATE_HZ + 1e-6) + 1
    assert path.stat().st_size * 10.0 / seconds < 2_000_000


def test_colours_are_exact_and_depth_is_within_half_of_the_declared_precision(episode, path):
    (exact,), read = episode[1].recordings, read_trajectory(path)
    for camera in CAMERAS:
        np.testing.assert_array_equal(
            read.column(f"observation.rgb.{camera}"), exact.column(f"observation.rgb.{camera}")
        )
        name = f"observation.depth_m.{camera}"
        assert (exact.feature(name).precision, read.feature(name).precision) == (0.0, DEPTH_PRECISION_M)
        error_m = np.abs(read.column(name).astype(np.float64) - exact.column(name))
        assert 0.0 < error_m.max() <= DEPTH_PRECISION_M / 2 + 1e-6
        assert ((read.column(name) == 0.0) == (exact.column(name) == 0.0)).all()


def test_16_frames_are_read_without_the_rest_and_equal_those_of_a_whole_read(path):
    whole = read_trajectory(path)
    reader = open_trajectory(path)
    rows = np.random.default_rng(3).permutation(len(whole))[:16]
    opened = reader.bytes_read
    read = reader.read(rows, IMAGES)
    frames = sum(len(whole.columns[name].coded[row]) for name in IMAGES for row in rows)
    tables = 2 * len(IMAGES) * len(whole) * (32 + 8)
    assert opened < 10_000
    assert reader.bytes_read - opened < frames + tables < path.stat().st_size / 4
    for name in IMAGES:
        np.testing.assert_array_equal(read[name], whole.column(name)[rows])


def test_the_same_episode_gives_the_same_bytes(episode, path, tmp_path):
    plan = composed(*SETTINGS)
    recorder = RecorderConfig(cameras=CAMERAS, rate_hz=RATE_HZ)
    worker = SimulatorWorker(replace(plan.worker, recorder=recorder))
    write_trajectory(tmp_path / "e.npz", worker.run(JOB).recordings[0])
    worker.close()
    assert (tmp_path / "e.npz").read_bytes() == path.read_bytes()


def test_actions_are_the_motion_between_two_observations(path):
    read = read_trajectory(path)
    joints, tool = read.column("action.joint_position"), read.column("action.ee_pose")
    proprio = read.column("observation.proprio")
    assert [space.name for space in read.spaces] == ["joint_position", "ee_pose"]
    assert {feature.rate_hz for feature in read.features} == {RATE_HZ}
    assert (joints.shape, tool.shape) == ((len(read) - 1, 8), (len(read) - 1, 10))
    assert np.abs(joints[:, :7] - proprio[1:, :7]).max() < 0.02  # What was commanded is reached within a row or so.
    assert np.abs(joints[:, :7] - proprio[:-1, :7]).max() > 0.1
    np.testing.assert_allclose(tool[:, :3], proprio[1:, 7:10], atol=1e-6)
    for row in (0, 20, 60):
        turned = rotation_from_6d(tool[row, 3:9])
        np.testing.assert_allclose(turned, rotation_matrix(proprio[row + 1, 10:14].astype(float)), atol=1e-5)
    # The opening that was asked for, not that of fingers which a block keeps apart.
    assert set(np.unique(joints[:, 7])) == {0.0, 1.0} == set(np.unique(tool[:, 9]))


def test_intents_are_kept_as_decided_with_the_observation_that_they_followed(path):
    decided = read_trajectory(path).decisions
    assert all(isinstance(one, RecordedDecision) and len(one.intents) == 1 for one in decided)
    assert decided[0].row == 0
    assert [one.row for one in decided] == sorted({one.row for one in decided})
    assert isinstance(decided[0].intents[0], MoveTo)
    # Decided aims are even, to the last digit, where placement noise would make them odd.
    assert decided[0].intents[0].position_m[2] == 0.945


def test_a_clock_that_is_not_in_seconds_hides_the_time_and_the_step():
    for clock in (Clock.HIDDEN, Clock.KEYFRAMES):
        trajectory, _, _ = recorded_at_rate(clock)
        assert np.isnan(trajectory.column("observation.time_s")).all()
    trajectory, _, _ = recorded_at_rate(Clock.SECONDS)
    times_s = trajectory.column("observation.time_s")
    np.testing.assert_allclose(times_s, np.arange(len(times_s)) / RATE_HZ)


def recorded_at_rate(clock):
    # The hands of the tiny world are no arm of a panda: its actions are left unchecked.
    return recorded(
        FakePolicy(privileged=True), task=FakeTask(overrides={"clock": clock}), config=RecorderConfig(rate_hz=RATE_HZ)
    )


def test_dense_demonstrations_are_not_mistaken_for_keyframes(path, tmp_path):
    write_demonstrations(tmp_path, [read_trajectory(path)])
    with pytest.raises(DataError, match=r"'keyframe'\. Got .* with ee_pose, joint_position"):
        find_recordings([tmp_path], SamplingConfig(held_out=0.0), KEYFRAME)


@pytest.mark.parametrize(
    ("rate_hz", "error", "message"),
    [
        (7.0, SpecError, "must divide the control rate of 20 Hz"),
        (40.0, SpecError, "must divide the control rate"),
        (0.0, ConfigError, "must be positive"),
    ],
)
def test_a_rate_that_does_not_divide_the_control_rate_is_refused(rate_hz, error, message):
    with pytest.raises(error, match=message):
        recorder = RecorderConfig(rate_hz=rate_hz).build()
        recorder.on_begin(FakeTask().sample(0), begun())


def begun():
    simulator = BulletConfig(renderer=RendererChoice.tiny).build()
    simulator.reset(TEAM)
    return simulator


# --- Teams ------------------------------------------------------------------------------------------------------------

TEAM = Scene("team", robots=(RobotPlacement("dual", "dual_panda"), RobotPlacement("base", "differential_base")))


class Moving(FakePolicy):
    """The arms shift a little, one after the other; the base drives."""

    def act(self, requests):
        return [Decision(self._intents(request.observation.robot)) for request in requests]

    def _intents(self, robot):
        if robot == "base":
            return (Drive(0.2, 0.0, 0.4),)
        return tuple(
            DeltaPose((0.02, 0.0, 0.0), (0.0, 0.0, 0.0), True, end_effector=side) for side in ("left", "right")
        )


def test_a_team_leaves_one_recording_per_robot_in_the_spaces_that_it_has(tmp_path):
    simulator = BulletConfig(renderer=RendererChoice.tiny).build()
    task = FakeTask()
    goal = Mission(("all have moved",))
    one = replace(task.sample(0), scene=TEAM, goal=goal, limits=Limits(sim_time_s=1.0), instructions={"base": "drive"})
    controllers = {
        name: ControllerConfig().build(TEAM, name, period_s=simulator.control_period_s) for name in ("dual", "base")
    }
    task.advance = lambda episode, progress, state: progress
    recorder = RecorderConfig(rate_hz=5.0).build()
    ending = play(one, EpisodeContext(simulator, task, Moving(), lambda _: controllers), observers=[recorder])
    assert ending.progress.outcome is Outcome.TIMEOUT, ending.progress.reason
    recorder.on_end(replace(record_of(replace(one, goal=task.sample(0).goal), ending)))
    simulator.close()
    dual, base = (written(tmp_path, trajectory) for trajectory in recorder.recordings())
    assert [trajectory.robot for trajectory in (dual, base)] == ["dual", "base"]
    assert dual.label.robots == base.label.robots == ("dual", "base")
    assert (dual.label.instruction, base.label.instruction) == (one.instruction, "drive")
    assert dual.label.goal == goal_to_json(goal)
    assert [action_feature(space).name for space in dual.spaces] == [
        "action.joint_position.left", "action.ee_pose.left", "action.joint_position.right", "action.ee_pose.right",
    ]  # fmt: skip
    assert dual.column("action.joint_position.right").shape == (5, 8)
    moved_m = dual.column("action.ee_pose.left")[-1, :3] - dual.column("action.ee_pose.left")[0, :3]
    assert moved_m[0] > 0.01
    assert [space.name for space in base.spaces] == [BASE_VELOCITY]
    assert base.column("action.base_velocity")[0].tolist() == [0.2, 0.0]
    assert base.decisions[0].intents == (Drive(0.2, 0.0, 0.4),)


def written(folder, trajectory):
    write_trajectory(folder / f"{trajectory.robot}.npz", trajectory)
    return read_trajectory(folder / f"{trajectory.robot}.npz")


def test_intents_of_every_kind_survive():
    space = action_spaces(robot_model("panda"), RATE_HZ)[0]
    intents = (
        MoveTo((0.1, 0.2, 0.3), (0.0, 0.0, 0.0, 1.0), True, False, "left"),
        DeltaPose((0.1, 0.0, 0.0), (0.0, 0.0, 0.1), False),
        Drive(0.1, 0.2, 0.3),
        GoTo((1.0, 2.0)),
        Skill("pick", {"object": "cup", "grip": [1, 2]}),
        Wait(0.5),
    )
    chunk = ActionChunk(space, np.random.default_rng(0).normal(size=(3, space.size)))
    read = decisions_from_json(decisions_to_json([RecordedDecision(4, (*intents, chunk))]))
    assert (read[0].row, read[0].intents[:-1]) == (4, intents)
    assert read[0].intents[-1].space == space
    np.testing.assert_array_equal(read[0].intents[-1].values, chunk.values)
    with pytest.raises(DataError, match="documented form"):
        decisions_from_json(b'[{"row": 0, "intents": [{"kind": "Fly"}]}]')
