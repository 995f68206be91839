"""Intents are checked before anything moves, and each ends in the report it should."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from embodied.controllers import ControllerConfig, PlannerConfig
from embodied.errors import ConfigError, IntentError, UnknownNameError
from embodied.geometry import Pose, compose, multiply_quaternions, quaternion_from_yaw
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics
from embodied.scenes.scene import RobotPlacement, Scene
from embodied.types import (
    Command,
    ControllerReport,
    ControllerStatus,
    DeltaPose,
    Drive,
    GoTo,
    MoveTo,
    Skill,
    Wait,
    WorldState,
)
from tests.controllers.worlds import DOWN, box, table_scene, world_state

SCENE = table_scene()
HERE = world_state(SCENE)
AHEAD = (0.5, 0.1, 0.3)
BASE_SCENE = Scene("yard", robots=(RobotPlacement("robot", "differential_base"),))


def controller(scene=SCENE, **changes):
    return ControllerConfig(**changes).build(scene, "robot", period_s=0.05)


def obeyed(state: WorldState, command: Command) -> WorldState:
    """The state of a perfect robot one period later."""
    robot = state.robots["robot"]
    if command.joint_position_rad is not None:
        joints = np.array(command.joint_position_rad)
        speed = (joints - robot.joint_position_rad) / 0.05
        tool = compose(robot.base, kinematics(robot_model("panda")).tool(joints))
        hand = replace(robot.end_effector(), tool=tool)
        robot = replace(robot, joint_position_rad=joints, joint_velocity_radps=speed, end_effectors={"gripper": hand})
    if command.gripper is not None:
        robot = replace(robot, end_effectors={"gripper": replace(robot.end_effector(), gripper=command.gripper)})
    return replace(state, robots={**state.robots, "robot": robot})


def run(active, intent, state, *, seed=1):
    commands, outcome = [], active.begin(intent, state, seed=seed)
    while outcome is None:
        answer = active.tick(state)
        if isinstance(answer, ControllerReport):
            outcome = answer
        else:
            commands.append(answer)
            state = obeyed(state, answer)
        assert len(commands) < 500
    return commands, outcome, state


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        (MoveTo((math.nan, 0.0, 0.3), DOWN, True), "finite"),
        (MoveTo((math.inf, 0.0, 0.3), DOWN, True), "finite"),
        (MoveTo((0.5, 0.3), DOWN, True), "3 numbers"),
        (MoveTo("abc", DOWN, True), "finite number"),
        (MoveTo(None, DOWN, True), "3 numbers"),
        (MoveTo((0.5, 0.0, 1e6), DOWN, True), "within 100 m"),
        (MoveTo(AHEAD, (0.0, 0.0, 0.0, 2.0), True), "unit quaternion"),
        (MoveTo(AHEAD, (0.0, 0.0, 0.0, 0.0), True), "unit quaternion"),
        (MoveTo(AHEAD, DOWN, 1.0), "True or False"),
        (MoveTo(AHEAD, DOWN, True, None), "True or False"),
        (DeltaPose((0.2, 0.0, 0.0), (0.0, 0.0, 0.0), True), r"0\.05 m"),
        (DeltaPose((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), True), r"0\.2 rad"),
        (DeltaPose((0.0, 0.0, 0.0), (0.0, math.nan, 0.0), True), "finite"),
        (Wait(-1.0), r"\[0, 600\]"),
        (Wait(math.inf), "finite"),
        (Drive(0.5, 0.0, 1.0), "no controller for Drive"),
        (GoTo((1.0, 0.0)), "no controller for GoTo"),
        (Skill("juggle"), "It has: close, move, open, pick, place, press"),
        ("forward", "no controller for str"),
    ],
)
def test_a_malformed_or_unsupported_intent_is_refused(intent, words):
    active = controller()
    with pytest.raises(IntentError, match=words):
        active.begin(intent, HERE, seed=1)
    with pytest.raises(IntentError, match="begin"):
        active.tick(HERE)


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        (Drive(1.5, 0.0, 1.0), r"1\.0 m/s"),
        (Drive(0.0, -2.5, 1.0), r"2\.0 rad/s"),
        (Drive(0.1, 0.0, 0.0), r"Drive\.duration_s"),
        (Drive(True, 0.0, 1.0), "finite number"),
        (MoveTo(AHEAD, DOWN, True), "no controller for MoveTo.*ActionChunk, Drive, GoTo, Skill, Wait"),
    ],
)
def test_a_base_refuses_what_it_cannot_do(intent, words):
    with pytest.raises(IntentError, match=words):
        controller(BASE_SCENE).begin(intent, world_state(BASE_SCENE), seed=1)


def test_a_keyframe_reaches_its_pose_and_moves_the_gripper_only_at_the_end():
    commands, report, state = run(controller(), MoveTo(AHEAD, DOWN, False), HERE)
    assert report == ControllerReport(ControllerStatus.DONE)
    assert state.robots["robot"].tool.position_m == pytest.approx(AHEAD, abs=1e-4)
    grips = [command.gripper for command in commands]
    first = grips.index(0.0)
    assert set(grips[:first]) == {None}
    assert set(grips[first:]) == {0.0}
    assert all(np.array_equal(c.joint_position_rad, commands[-1].joint_position_rad) for c in commands[first:])


def test_a_keyframe_in_the_world_is_reached_from_a_turned_base():
    base = Pose((2.0, -1.0, 0.4), quaternion_from_yaw(2.0))
    scene = Scene("room", robots=(RobotPlacement("robot", "panda", base),))
    target = compose(base, Pose(AHEAD, DOWN))
    _, report, state = run(controller(scene), MoveTo(target.position_m, target.orientation, True), world_state(scene))
    assert report.status is ControllerStatus.DONE
    assert state.robots["robot"].tool.position_m == pytest.approx(target.position_m, abs=1e-4)


def test_goals_out_of_reach_or_inside_things_fail_at_once_with_the_reason():
    scene = table_scene(box("cabinet", (0.3, 0.3, 0.3), (0.5, 0.3, 0.15)))
    active, state = controller(scene), world_state(scene)
    far = active.begin(MoveTo((3.0, 0.0, 0.3), DOWN, True), state, seed=1)
    assert far.status is ControllerStatus.FAILED
    assert far.reason.startswith("unreachable: ")
    inside = active.begin(MoveTo((0.5, 0.3, 0.15), DOWN, True), state, seed=1)
    assert inside.reason.startswith("goal in collision: ")
    assert inside.reason.endswith(" with cabinet")
    with pytest.raises(IntentError, match="did not fail"):
        active.tick(state)
    assert active.begin(MoveTo((0.5, 0.3, 0.15), DOWN, True, avoid_collisions=False), state, seed=1) is None


def test_an_arm_that_is_held_back_fails_far_from_its_goal_and_is_done_near_it():
    for height_m, status in ((0.35, ControllerStatus.DONE), (0.5, ControllerStatus.FAILED)):
        active = controller()
        stuck = world_state(SCENE, kinematics(robot_model("panda")).inverse(Pose((0.5, 0.1, 0.337), DOWN)))
        assert active.begin(MoveTo((0.5, 0.1, height_m), DOWN, True), stuck, seed=1) is None
        for _ in range(200):
            outcome = active.tick(stuck)
            if isinstance(outcome, ControllerReport):
                break
        assert outcome.status is status
    assert outcome.reason == "blocked: tool is 163 mm from its goal"


def test_an_arm_that_is_held_back_turned_away_from_its_goal_fails():
    active = controller()
    turned = multiply_quaternions(DOWN, quaternion_from_yaw(0.5))
    stuck = world_state(SCENE, kinematics(robot_model("panda")).inverse(Pose(AHEAD, turned)))
    assert active.begin(MoveTo(AHEAD, DOWN, True), stuck, seed=1) is None
    for _ in range(200):
        outcome = active.tick(stuck)
        if isinstance(outcome, ControllerReport):
            break
    assert outcome == ControllerReport(ControllerStatus.FAILED, "blocked: tool is turned 0.50 rad from its goal")


def test_a_base_that_gives_way_is_made_up_for():
    scene = Scene("hall", robots=(RobotPlacement("robot", "mobile_panda"),))
    active, state = controller(scene), world_state(scene)
    target = compose(state.robots["robot"].tool, Pose((0.1, 0.05, 0.1)))
    assert active.begin(MoveTo(target.position_m, target.orientation, True), state, seed=1) is None
    for period in range(300):
        outcome = active.tick(state)
        if isinstance(outcome, ControllerReport):
            break
        state = obeyed(state, outcome)
        if period == 5:
            rolled = Pose((0.012, 0.0, 0.0), quaternion_from_yaw(0.01))
            state = replace(state, robots={"robot": replace(state.robots["robot"], base=rolled)})
    assert outcome.status is ControllerStatus.DONE
    joints = state.robots["robot"].joint_position_rad
    reached = compose(rolled, kinematics(robot_model("mobile_panda")).tool(joints))
    assert reached.position_m == pytest.approx(target.position_m, abs=1e-4)


def test_a_gripper_that_never_rests_is_not_waited_for():
    active, state = controller(), HERE
    active.begin(MoveTo(HERE.robots["robot"].tool.position_m, DOWN, False), state, seed=1)
    for period in range(100):
        outcome = active.tick(state)
        if isinstance(outcome, ControllerReport):
            break
        state = obeyed(state, replace(outcome, gripper=period % 2 * 0.5))
    assert outcome.status is ControllerStatus.DONE
    assert period < 30


def test_a_step_shifts_and_turns_the_tool_in_the_world_frame():
    intent = DeltaPose((0.02, -0.01, 0.03), (0.0, 0.0, 0.1), False)
    commands, report, state = run(controller(), intent, HERE)
    assert report.status is ControllerStatus.DONE
    before, after = HERE.robots["robot"].tool, state.robots["robot"].tool
    assert np.subtract(after.position_m, before.position_m) == pytest.approx((0.02, -0.01, 0.03), abs=1e-4)
    turn = after.matrix[:3, :3] @ before.matrix[:3, :3].T
    assert np.arctan2(turn[1, 0], turn[0, 0]) == pytest.approx(0.1, abs=1e-3)
    assert {command.gripper for command in commands} == {0.0}


def test_a_step_that_the_arm_cannot_make_fails():
    straight = np.array([0.0, 0.9, 0.0, -0.07, 0.0, 1.0, 0.0])
    stretched = world_state(Scene("void", robots=SCENE.robots), straight)
    outward = np.array(stretched.robots["robot"].tool.position_m) - (0.0, 0.0, 0.333)
    step = tuple(0.05 * outward / np.linalg.norm(outward))
    _, report, _ = run(controller(), DeltaPose(step, (0.0, 0.0, 0.0), True), stretched)
    assert report.status is ControllerStatus.FAILED
    assert report.reason.startswith("unreachable")


def test_driving_holds_a_velocity_for_its_time_and_then_stops():
    commands, report, _ = run(controller(BASE_SCENE), Drive(0.5, -0.2, 0.5), world_state(BASE_SCENE))
    assert report.status is ControllerStatus.DONE
    assert [command.base_velocity.tolist() for command in commands] == [[0.5, -0.2]] * 10 + [[0.0, 0.0]]


def test_a_cancelled_drive_leaves_a_base_that_is_held_still_once():
    active, state = controller(BASE_SCENE), world_state(BASE_SCENE)
    assert active.begin(Drive(0.5, 0.1, 1.0), state, seed=1) is None
    assert active.tick(state).base_velocity.tolist() == [0.5, 0.1]
    assert active.cancel() == ControllerReport(ControllerStatus.CANCELLED)
    with pytest.raises(IntentError, match="begin"):
        active.tick(state)
    assert active.hold().base_velocity.tolist() == [0.0, 0.0]
    assert active.hold().base_velocity is None


def test_an_intent_that_replaces_a_drive_stops_the_base_with_its_first_command():
    active, state = controller(BASE_SCENE), world_state(BASE_SCENE)
    active.begin(Drive(0.5, 0.0, 1.0), state, seed=1)
    active.tick(state)
    active.begin(Wait(0.1), state, seed=1)
    assert active.tick(state).base_velocity.tolist() == [0.0, 0.0]
    assert active.tick(state).base_velocity is None


def test_a_cancelled_move_leaves_the_arm_with_its_last_target():
    active = controller()
    active.begin(MoveTo(AHEAD, DOWN, True), HERE, seed=1)
    active.tick(HERE)
    assert active.cancel().status is ControllerStatus.CANCELLED
    held = active.hold()
    assert (held.joint_position_rad, held.gripper, held.base_velocity) == (None, None, None)


def test_a_controller_handles_what_its_robot_has_the_parts_for():
    assert {MoveTo, DeltaPose, Wait} <= controller().handles
    assert Drive not in controller().handles
    assert {Drive, Wait} <= controller(BASE_SCENE).handles
    assert MoveTo not in controller(BASE_SCENE).handles


def test_waiting_lets_time_pass_and_moves_nothing():
    commands, report, _ = run(controller(), Wait(0.3), HERE)
    assert report.status is ControllerStatus.DONE
    assert len(commands) == 6
    assert all(command == Command() or command.joint_position_rad is None for command in commands)


def test_the_same_calls_give_the_same_commands_bit_for_bit():
    scene = table_scene(box("wall", (0.3, 0.02, 0.4), (0.5, 0.0, 0.2)))
    state = world_state(scene, kinematics(robot_model("panda")).inverse(Pose((0.5, 0.25, 0.15), DOWN)))
    tour = [MoveTo((0.5, -0.25, 0.15), DOWN, True), MoveTo((0.4, 0.25, 0.2), DOWN, False), Wait(0.1)]

    def play():
        active, now, seen = controller(scene), state, []
        for step, intent in enumerate(tour):
            commands, report, now = run(active, intent, now, seed=step)
            assert report.status is ControllerStatus.DONE
            seen += [c.joint_position_rad for c in commands if c.joint_position_rad is not None]
        return np.array(seen)

    assert np.array_equal(play(), play())


def test_bad_settings_and_unknown_robots_are_refused():
    with pytest.raises(ConfigError, match="velocity_scale"):
        controller(velocity_scale=1.5)
    with pytest.raises(ConfigError, match="clearance_m"):
        controller(planner=PlannerConfig(clearance_m=math.nan))
    with pytest.raises(UnknownNameError, match="robot"):
        ControllerConfig().build(SCENE, "robto", period_s=0.05)


def test_a_controller_per_episode_costs_next_to_nothing():
    controller()
    begun = time.process_time()
    for _ in range(100):
        controller()
    assert time.process_time() - begun < 1.0
