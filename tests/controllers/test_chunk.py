"""A chunk of actions takes exactly its own time, follows its rows, and is refused whole."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.controllers import ControllerConfig, ControllerSettings
from embodied.controllers.action_spaces import action_space, action_space_names, rotation_from_6d, rotation_to_6d
from embodied.errors import IntentError, UnknownNameError
from embodied.geometry import Pose, angle_between, rotation_matrix
from embodied.robots.catalogue import robot_model
from embodied.scenes.scene import RobotPlacement, Scene
from embodied.simulators.bullet import BulletConfig
from embodied.specs import ActionSpec, Field
from embodied.types import ActionChunk, ControllerReport, ControllerStatus, MoveTo, Wait
from tests.controllers.worlds import DOWN, HOME, box, table_scene, world_state

PANDA = robot_model("panda")
SCENE = table_scene()
HERE = world_state(SCENE)
DONE = ControllerReport(ControllerStatus.DONE)
HOME_6D = rotation_to_6d(rotation_matrix(HERE.robots["robot"].tool.orientation))


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig().build()
    yield simulator
    simulator.close()


def space(name, *, rate_hz=20.0, model="panda"):
    return action_space(name, robot_model(model), ControllerSettings(), rate_hz=rate_hz)


def controller(scene=SCENE):
    return ControllerConfig().build(scene, "robot", period_s=0.05)


def run(simulator, active, intent):
    """The states after each period, and the report."""
    states = []
    report = active.begin(intent, simulator.state(), seed=1)
    while report is None:
        answer = active.tick(simulator.state())
        if isinstance(answer, ControllerReport):
            report = answer
        else:
            simulator.advance({"robot": answer})
            states.append(simulator.state())
    return report, states


def arc(rows):
    """Tool positions on an arc of 10 cm, a third of a circle, from the tool's place at home."""
    radius = 0.1 / (2 * np.pi / 3)
    angle = 2 * np.pi / 3 * np.arange(1, rows + 1) / rows
    start = np.array(HERE.robots["robot"].tool.position_m)
    return start + radius * np.stack([np.sin(angle), 1 - np.cos(angle), np.zeros(rows)], axis=1)


def arc_chunk(rows, rate_hz):
    values = np.concatenate([arc(rows), np.tile(HOME_6D, (rows, 1)), np.ones((rows, 1))], axis=1)
    return ActionChunk(space("ee_pose", rate_hz=rate_hz), values)


@pytest.mark.parametrize(("rate_hz", "periods"), [(20.0, 16), (10.0, 32), (5.0, 64)])
def test_a_chunk_of_16_rows_takes_16_periods_of_its_own_rate_and_follows_an_arc(simulator, rate_hz, periods):
    simulator.reset(SCENE)
    report, states = run(simulator, controller(), arc_chunk(16, rate_hz))
    assert report == DONE
    assert len(states) == periods
    tools = np.array([state.robots["robot"].tool.position_m for state in states])
    every = periods // 16
    assert np.linalg.norm(tools[every - 1 :: every] - arc(16), axis=1).max() < 5e-3  # At the time of its own row.
    centre = np.add(HERE.robots["robot"].tool.position_m, (0.0, 0.1 / (2 * np.pi / 3), 0.0))
    assert np.abs(np.linalg.norm(tools - centre, axis=1) - 0.1 / (2 * np.pi / 3)).max() < 5e-3


def test_chunks_one_after_another_follow_as_one(simulator):
    simulator.reset(SCENE)
    _, whole = run(simulator, controller(), arc_chunk(16, 20.0))
    simulator.reset(SCENE)
    active, chunk = controller(), arc_chunk(16, 20.0)
    halves = [run(simulator, active, ActionChunk(chunk.space, part)) for part in np.split(chunk.values, 2)]
    parts = [state for _, states in halves for state in states]
    joints = [[state.robots["robot"].joint_position_rad for state in states] for states in (whole, parts)]
    assert np.allclose(*joints, atol=1e-9)


def test_steps_add_up_on_the_commanded_pose(simulator):
    simulator.reset(SCENE)
    before = simulator.state().robots["robot"].tool
    step = [0.005, 0.0, -0.01, 0.0, 0.0, 0.02, 0.0]
    report, states = run(simulator, controller(), ActionChunk(space("ee_delta"), np.tile(step, (10, 1))))
    assert report == DONE
    assert len(states) == 10
    simulator.advance({})
    after = simulator.state().robots["robot"]
    assert np.subtract(after.tool.position_m, before.position_m) == pytest.approx((0.05, 0.0, -0.1), abs=2e-3)
    assert after.gripper < 0.9


def test_joint_rows_are_interpolated_from_the_last_command_whatever_was_measured():
    active = controller()
    goal = np.append(HOME + 0.08, 1.0)
    chunk = ActionChunk(space("joint_position", rate_hz=10.0), goal[None])
    active.begin(chunk, HERE, seed=1)
    commands = [active.tick(HERE).joint_position_rad for _ in range(2)]
    assert active.tick(HERE) == DONE
    assert np.allclose(commands, [HOME + 0.04, HOME + 0.08])
    active.begin(ActionChunk(chunk.space, np.append(HOME, 1.0)[None]), HERE, seed=1)
    assert np.allclose(active.tick(HERE).joint_position_rad, HOME + 0.04)


@pytest.mark.parametrize(
    ("name", "column", "value", "words"),
    [
        ("ee_delta", 0, 0.2, r"Column 0 of action space 'ee_delta' must lie in"),
        ("joint_position", 1, 1.9, "Column 1"),
        ("ee_pose", 9, 1.5, "Column 9"),
        ("ee_delta", 3, np.nan, "finite"),
        ("ee_pose", slice(3, 9), 0.5, "rotation_6d"),
    ],
)
def test_one_row_out_of_bounds_refuses_the_whole_chunk(name, column, value, words):
    chunk = space(name)
    rows = {
        "ee_delta": np.zeros(7),
        "joint_position": np.append(HOME, 1.0),
        "ee_pose": np.concatenate([arc(1)[0], HOME_6D, [1.0]]),
    }[name]
    values = np.tile(rows, (16, 1))
    values[11, column] = value
    active = controller()
    with pytest.raises(IntentError, match=words):
        active.begin(ActionChunk(chunk, values), HERE, seed=1)
    with pytest.raises(IntentError, match="begin"):
        active.tick(HERE)


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        (ActionChunk(space("ee_delta"), np.zeros((4, 6))), r"\(rows, 7\)"),
        (ActionChunk(space("ee_delta"), np.zeros((0, 7))), "at least one row"),
        (ActionChunk(space("ee_delta", rate_hz=15.0), np.zeros((4, 7))), "divide the control rate"),
        (ActionChunk(space("ee_delta", rate_hz=40.0), np.zeros((4, 7))), "divide the control rate"),
        (ActionChunk(space("keyframe"), np.zeros((4, 9))), "rated spaces"),
        (ActionChunk(space("base_velocity", model="mobile_panda"), np.zeros((4, 2))), "rated spaces"),
        (ActionChunk(ActionSpec("ee_delta", (Field("translation", (3,)),), 20.0), np.zeros((4, 3))), "fields"),
        (ActionChunk(None, np.zeros((4, 3))), "ActionSpec"),
    ],
)
def test_a_chunk_of_another_space_shape_or_rate_is_refused(intent, words):
    with pytest.raises(IntentError, match=words):
        controller().begin(intent, HERE, seed=1)


def test_a_space_declared_with_wider_bounds_does_not_widen_those_of_the_robot():
    own = space("ee_delta")
    wide = replace(own, fields=(replace(own.fields[0], lower=-9.0, upper=9.0), *own.fields[1:]))
    values = np.zeros((2, 7))
    values[1, 0] = 0.3
    with pytest.raises(IntentError, match="Column 0"):
        controller().begin(ActionChunk(wide, values), HERE, seed=1)


def test_rows_that_cannot_be_done_in_their_time_fail_before_anything_moves():
    active = controller()
    values = np.tile(np.append(HOME, 1.0), (8, 1))
    values[5, 2] += 0.3
    report = active.begin(ActionChunk(space("joint_position"), values), HERE, seed=1)
    assert report.status is ControllerStatus.FAILED
    assert report.reason == "too fast: row 5 asks 'panda_joint3' for 6.00 rad/s; its limit is 2.17"
    away = np.tile(np.concatenate([[2.0, 0.0, 0.5], HOME_6D, [1.0]]), (2, 1))
    report = active.begin(ActionChunk(space("ee_pose", rate_hz=1.0), away), HERE, seed=1)
    assert report.reason.startswith("unreachable: row 0")
    with pytest.raises(IntentError, match="begin"):
        active.tick(HERE)


def test_a_gripper_that_closes_in_the_middle_of_a_chunk_grasps(simulator):
    block = box("block", (0.05, 0.05, 0.05), (0.55, 0.1, 0.0255), 0.3)
    simulator.reset(table_scene(block))
    active = controller(table_scene(block))
    for height in (0.1, 0.03):
        assert run(simulator, active, MoveTo((0.55, 0.1, height), DOWN, True, avoid_collisions=False))[0] == DONE
    rows = np.zeros((30, 7))
    rows[15:, 2] = 0.01
    assert run(simulator, active, ActionChunk(space("ee_delta"), rows))[0] == DONE
    assert simulator.state().held["robot"] == "block"
    assert simulator.state().pose["block"].position_m[2] > 0.15


def test_a_base_follows_velocities_and_stops_when_something_else_begins(simulator):
    floor = box("floor", (20.0, 20.0, 0.1), (0.0, 0.0, -0.05))
    scene = Scene("hall", (floor,), robots=(RobotPlacement("robot", "differential_base"),))
    simulator.reset(scene)
    active = controller(scene)
    rows = np.tile([0.5, 0.0], (10, 1))
    report, states = run(simulator, active, ActionChunk(space("base_velocity", model="differential_base"), rows))
    assert report == DONE
    assert len(states) == 10
    assert states[-1].robots["robot"].base.position_m[0] > 0.15
    _, states = run(simulator, active, Wait(1.0))
    ends = [state.robots["robot"].base.position_m[0] for state in states]
    assert ends[-1] - ends[5] < 0.01


def test_a_chunk_moves_the_arm_that_it_names_and_no_other():
    model = robot_model("dual_panda")
    scene = Scene("pair", robots=(RobotPlacement("robot", "dual_panda"),))
    state, name = world_state(scene, np.array(model.home_rad)), model.end_effectors[1]
    own = action_space("ee_delta", model, ControllerSettings(), end_effector=name)
    active = controller(scene)
    assert active.begin(ActionChunk(own, np.tile([0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0], (2, 1))), state, seed=1) is None
    command = active.tick(state)
    assert set(command.joint_position_rad) == {name}
    assert command.gripper == {name: 0.0}
    with pytest.raises(IntentError, match="name one of its end effectors"):
        active.begin(ActionChunk(space("ee_delta"), np.zeros((2, 7))), state, seed=1)


def test_robots_have_the_spaces_of_their_parts():
    assert action_space_names(PANDA) == ("ee_delta", "ee_pose", "joint_position", "keyframe")
    assert action_space_names(robot_model("differential_base")) == ("base_velocity",)
    assert space("joint_position").size == 8
    assert space("joint_position", model="kuka").size == 7
    assert space("keyframe").rate_hz is None
    with pytest.raises(UnknownNameError, match="joint_position"):
        space("joint_positions")


def test_six_numbers_give_back_their_rotation():
    rotation = rotation_matrix(DOWN)
    assert np.allclose(rotation_from_6d(rotation_to_6d(rotation)), rotation)
    assert np.allclose(rotation_from_6d(3 * rotation_to_6d(rotation) + [0, 0, 0, 0.3, 0, 0]), rotation)


def rolling_then(simulator, name, make_rows):
    """A mobile arm rolls at 0.5 m/s, then carries out rows of space `name` made from its tool pose.

    Returns that pose, the report, and the states.
    """
    floor = box("floor", (20.0, 20.0, 0.1), (0.0, 0.0, -0.05))
    scene = Scene("hall", (floor,), robots=(RobotPlacement("robot", "mobile_panda"),))
    simulator.reset(scene)
    active = controller(scene)
    rolling = ActionChunk(space("base_velocity", model="mobile_panda"), np.tile([0.5, 0.0], (20, 1)))
    assert run(simulator, active, rolling)[0] == DONE
    tool = simulator.state().robots["robot"].tool
    report, states = run(simulator, active, ActionChunk(space(name, model="mobile_panda"), make_rows(tool)))
    rolled_m = np.subtract(states[-1].robots["robot"].base.position_m, states[0].robots["robot"].base.position_m)
    assert np.linalg.norm(rolled_m) > 0.02
    return tool, report, states


def test_tool_poses_stay_in_the_world_while_the_base_still_rolls(simulator):
    def rows(tool):
        path = np.tile([*tool.position_m, *rotation_to_6d(rotation_matrix(tool.orientation)), 1.0], (16, 1))
        path[:, 1] += 0.15 * np.arange(1, 17) / 16
        return path

    tool, report, states = rolling_then(simulator, "ee_pose", rows)
    assert report == DONE
    assert len(states) == 16
    reached = np.array([state.robots["robot"].tool.position_m for state in states])
    off_m = np.linalg.norm(reached - rows(tool)[:, :3], axis=1)
    base = np.array([state.robots["robot"].base.position_m for state in states])
    moved_m = np.linalg.norm(np.diff(base, axis=0), axis=1)
    assert (off_m[1:] < moved_m + 0.01).all()  # At most what the base moves in one period.
    assert off_m[8:].max() < 4e-3
    turned = [angle_between(state.robots["robot"].tool.orientation, tool.orientation) for state in states[8:]]
    assert max(turned) < 0.02


def test_steps_of_the_tool_are_steps_in_the_world_while_the_base_still_rolls(simulator):
    step = [0.0, 0.01, -0.005, 0.0, 0.0, 0.0, 1.0]
    tool, report, states = rolling_then(simulator, "ee_delta", lambda tool: np.tile(step, (16, 1)))
    assert report == DONE
    moved_m = np.subtract(states[-1].robots["robot"].tool.position_m, tool.position_m)
    assert moved_m == pytest.approx((0.0, 0.16, -0.08), abs=4e-3)


def test_a_base_that_leaves_the_tool_pose_out_of_reach_fails_the_chunk_with_its_row():
    scene = Scene("hall", robots=(RobotPlacement("robot", "mobile_panda"),))
    state = world_state(scene, np.array(robot_model("mobile_panda").home_rad))
    robot = state.robots["robot"]
    row = [*robot.tool.position_m, *rotation_to_6d(rotation_matrix(robot.tool.orientation)), 1.0]
    active = controller(scene)
    assert (
        active.begin(ActionChunk(space("ee_pose", model="mobile_panda"), np.tile(row, (4, 1))), state, seed=1) is None
    )
    active.tick(state)
    away = replace(state, robots={"robot": replace(robot, base=Pose((-2.0, 0.0, 0.0)))})
    report = active.tick(away)
    assert report.status is ControllerStatus.FAILED
    assert report.reason.startswith("row 1: unreachable since the base has moved")
