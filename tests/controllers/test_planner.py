"""Paths keep clear of what is there, end where they should, and repeat exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.controllers.motion.collision_world import CollisionWorld
from embodied.controllers.motion.planner import Planner, resample
from embodied.controllers.settings import PlannerConfig
from embodied.geometry import Pose, quaternion_from_euler
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics, transform_from_pose
from tests.controllers.worlds import DOWN, HOME, WALL, box, table_scene, world_state

MOVING = kinematics(robot_model("panda"))
PLANNER = Planner(MOVING, PlannerConfig())
LEFT, RIGHT = Pose((0.5, 0.25, 0.15), DOWN), Pose((0.5, -0.25, 0.15), DOWN)


def joints_at(pose: Pose) -> np.ndarray:
    joints = MOVING.inverse(pose)
    assert joints is not None
    return joints


def plan(scene, start, target, *, seed=1, collisions=True, **state):
    world = CollisionWorld(scene, "robot", world_state(scene, start, **state)) if collisions else None
    return PLANNER.plan(start, transform_from_pose(target), world, seed=seed)


def test_the_tool_goes_straight_where_nothing_is_in_the_way():
    found = plan(table_scene(), joints_at(LEFT), RIGHT)
    assert found.method == "line"
    tools = np.array([MOVING.tool(joints).position_m for joints in found.waypoints_rad])
    assert np.abs(tools[:, 0] - 0.5).max() < 1e-3
    assert np.abs(tools[:, 2] - 0.15).max() < 1e-3
    assert np.diff(tools[:, 1]).max() < 0.0


def test_a_line_is_taken_only_where_the_tool_can_follow_it_without_a_jump():
    random = np.random.default_rng(0)
    methods = set()
    for _ in range(40):
        start, end = random.uniform(MOVING.lower_rad, MOVING.upper_rad, (2, 7))
        found = plan(table_scene(), start, MOVING.tool(end), collisions=False)
        if found.waypoints_rad is None:
            continue
        methods.add(found.method)
        assert np.abs(np.diff(found.waypoints_rad, axis=0)).max() <= PlannerConfig().longest_jump_rad
        tools = np.array([MOVING.tool(joints).position_m for joints in found.waypoints_rad])
        along = (tools[-1] - tools[0]) / np.linalg.norm(tools[-1] - tools[0])
        off_line_m = np.linalg.norm(np.cross(tools - tools[0], along), axis=1).max()
        assert (off_line_m < 1e-3) == (found.method == "line")
    assert methods == {"line", "joints"}


def test_a_wall_is_avoided_and_ignored_only_on_request():
    scene, start = table_scene(WALL), joints_at(LEFT)
    around = plan(scene, start, RIGHT)
    assert around.method == "search"
    fresh = CollisionWorld(scene, "robot", world_state(scene, start))
    between = resample(around.waypoints_rad, 0.01)
    assert all(fresh.free(joints) for joints in between)
    assert np.array_equal(around.waypoints_rad[0], start)
    assert MOVING.tool(around.waypoints_rad[-1]).position_m == pytest.approx(RIGHT.position_m, abs=1e-4)
    assert plan(scene, start, RIGHT, collisions=False).method == "line"


def test_the_same_seed_searches_the_same_path_whatever_was_planned_before():
    scene, start = table_scene(WALL), joints_at(LEFT)
    first = plan(scene, start, RIGHT, seed=5).waypoints_rad
    plan(scene, start, RIGHT, seed=6)
    plan(scene, HOME, LEFT, seed=7)
    again = plan(scene, start, RIGHT, seed=5).waypoints_rad
    assert np.array_equal(first, again)
    assert not np.array_equal(first, plan(scene, start, RIGHT, seed=6).waypoints_rad)


def test_the_goal_posture_does_not_depend_on_where_the_arm_was_before():
    scene = table_scene()
    goals = [plan(scene, start, RIGHT).waypoints_rad[-1] for start in (HOME, joints_at(LEFT), HOME + 0.3)]
    assert np.array_equal(goals[0], goals[1])
    assert np.array_equal(goals[0], goals[2])


def test_goals_that_cannot_be_say_why():
    assert plan(table_scene(), HOME, Pose((1.5, 0.0, 0.3), DOWN)).reason.startswith("unreachable: ")
    inside = plan(table_scene(box("cabinet", (0.3, 0.3, 0.3), (0.5, 0.3, 0.15))), HOME, Pose((0.5, 0.3, 0.1), DOWN))
    assert inside.reason.startswith("goal in collision: panda_")
    assert inside.reason.endswith(" with cabinet")
    assert inside.waypoints_rad is None
    assert plan(table_scene(), HOME, Pose((0.5, 0.3, -0.05), DOWN)).reason.endswith(" with table")


def test_a_goal_walled_in_has_no_path():
    cage = [box(f"side{i}", (0.02, 0.6, 0.6), (0.5 + x, 0.0, 0.3)) for i, x in enumerate((-0.17, 0.17))]
    cage += [box(f"end{i}", (0.34, 0.02, 0.6), (0.5, y, 0.3)) for i, y in enumerate((-0.17, 0.17))]
    scene = table_scene(*cage, box("plate", (0.05, 0.05, 0.02), (0.5, 0.0, 0.05)))
    config = PlannerConfig(search_iterations=40)
    world = CollisionWorld(scene, "robot", world_state(scene, HOME))
    start = joints_at(Pose((0.2, 0.4, 0.3), DOWN))
    found = Planner(MOVING, config).plan(start, transform_from_pose(Pose((0.5, 0.0, 0.3), DOWN)), world, seed=1)
    assert found.waypoints_rad is None
    assert found.reason.startswith(("no path: ", "goal in collision: "))


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(0.3, 0.65),
    y=st.floats(-0.4, 0.4),
    z=st.floats(0.05, 0.4),
    yaw=st.floats(-1.5, 1.5),
    start=st.integers(0, 10_000),
)
def test_a_path_runs_from_the_start_to_the_pose_within_limits_and_without_jumps(x, y, z, yaw, start):
    target = Pose((x, y, z), quaternion_from_euler(np.pi, 0.0, yaw))
    begin = np.clip(HOME + np.random.default_rng(start).uniform(-0.5, 0.5, 7), MOVING.lower_rad, MOVING.upper_rad)
    path = plan(table_scene(), begin, target, collisions=False).waypoints_rad
    assert np.array_equal(path[0], begin)
    assert MOVING.tool(path[-1]).position_m == pytest.approx(target.position_m, abs=1e-4)
    assert (path >= MOVING.lower_rad).all()
    assert (path <= MOVING.upper_rad).all()
    assert np.abs(np.diff(path, axis=0)).max() <= PlannerConfig().longest_jump_rad
