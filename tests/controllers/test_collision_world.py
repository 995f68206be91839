"""What counts as a collision: not what was touched before, nor what is held."""

import numpy as np

from embodied.controllers.motion.collision_world import CollisionWorld
from embodied.controllers.motion.planner import Planner
from embodied.controllers.settings import PlannerConfig
from embodied.geometry import Pose, quaternion_from_yaw
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics, transform_from_pose
from embodied.scenes.scene import Body, Box, Joint, Part, RobotPlacement, Scene
from tests.controllers.worlds import DOWN, HOME, PANDA, TABLE, WALL, box, table_scene, world_state

MOVING = kinematics(robot_model("panda"))
BLOCK = box("block", (0.05, 0.05, 0.05), (0.5, 0.2, 0.025), 0.3)
AT_BLOCK = Pose((0.5, 0.2, 0.025), DOWN)


def joints_at(pose: Pose) -> np.ndarray:
    joints = MOVING.inverse(pose)
    assert joints is not None
    return joints


def test_open_fingers_go_around_a_block_and_closed_ones_do_not():
    scene = table_scene(BLOCK)
    assert CollisionWorld(scene, "robot", world_state(scene)).free(joints_at(AT_BLOCK))
    hit = CollisionWorld(scene, "robot", world_state(scene, gripper=0.0)).deepest_collision(joints_at(AT_BLOCK))
    assert hit in {"panda_leftfinger with block", "panda_rightfinger with block"}


def test_bodies_are_where_the_state_says_not_where_the_scene_began():
    scene, moved = table_scene(BLOCK), {"block": Pose((0.5, -0.3, 0.025))}
    world = CollisionWorld(scene, "robot", world_state(scene, gripper=0.0, poses=moved))
    assert world.free(joints_at(AT_BLOCK))
    assert not world.free(joints_at(Pose((0.5, -0.3, 0.025), DOWN)))


def test_a_held_block_moves_with_the_tool_and_must_not_hit_the_wall():
    low_wall = box("wall", (0.3, 0.02, 0.1), (0.5, 0.0, 0.05))
    scene = table_scene(BLOCK, low_wall)
    over = joints_at(Pose((0.5, 0.0, 0.135), DOWN))
    empty = CollisionWorld(scene, "robot", world_state(scene, joints_at(AT_BLOCK), gripper=0.6))
    loaded = CollisionWorld(scene, "robot", world_state(scene, joints_at(AT_BLOCK), held="block", gripper=0.6))
    assert empty.free(over)
    assert loaded.free(joints_at(Pose((0.5, 0.0, 0.15), DOWN)))
    assert loaded.deepest_collision(joints_at(Pose((0.5, 0.0, 0.12), DOWN))) == "wall with block"


def test_a_tall_held_block_may_touch_the_hand_that_holds_it_and_no_other_link():
    tall = box("block", (0.04, 0.05, 0.22), (0.5, 0.2, 0.11), 0.3)
    scene = table_scene(tall)
    start = joints_at(Pose((0.5, 0.2, 0.11), DOWN))
    world = CollisionWorld(scene, "robot", world_state(scene, start, held="block", gripper=0.6))
    touching = {
        other for other, part in world.pairs if part == "block" and other.startswith("panda_")
    }  # fmt: skip
    assert not touching & {"panda_hand", "panda_leftfinger", "panda_rightfinger"}
    assert {"panda_link2", "panda_link3", "panda_link4", "panda_link5"} <= touching
    assert world.free(joints_at(Pose((0.5, 0.0, 0.2), DOWN)))


def test_a_grasped_block_is_lifted_off_the_table_and_set_down_on_it():
    scene = table_scene(BLOCK)
    planner = Planner(MOVING, PlannerConfig())
    start = joints_at(AT_BLOCK)
    state = world_state(scene, start, held="block", gripper=0.62)
    above = transform_from_pose(Pose((0.5, 0.2, 0.2), DOWN))
    assert planner.plan(start, above, CollisionWorld(scene, "robot", state), seed=1).method == "line"
    aside = transform_from_pose(Pose((0.5, -0.2, 0.025), DOWN))
    assert planner.plan(start, aside, CollisionWorld(scene, "robot", state), seed=1).waypoints_rad is not None
    below = transform_from_pose(Pose((0.5, -0.2, 0.018), DOWN))
    refused = planner.plan(start, below, CollisionWorld(scene, "robot", state), seed=1)
    assert refused.reason == "goal in collision: table with block"


def test_a_contact_of_the_start_may_last_but_not_deepen():
    scene = table_scene()
    planner = Planner(MOVING, PlannerConfig())
    touching = joints_at(Pose((0.5, 0.2, -0.006), DOWN))
    world = CollisionWorld(scene, "robot", world_state(scene, touching))
    assert not world.free(touching)
    assert planner.plan(touching, transform_from_pose(Pose((0.5, 0.2, 0.1), DOWN)), world, seed=1).method == "line"
    deeper = planner.plan(touching, transform_from_pose(Pose((0.5, 0.2, -0.02), DOWN)), world, seed=1)
    assert deeper.reason.startswith("goal in collision: panda_")
    assert deeper.reason.endswith(" with table")


def test_a_held_drawer_is_guided_by_its_joint_and_blocks_nothing():
    cabinet = box("cabinet", (0.2, 0.2, 0.02), (0.5, 0.35, 0.2))
    drawer = Body("drawer", (Part(Box((0.2, 0.2, 0.1))),), mass_kg=0.5)
    slide = Joint("slide", "prismatic", "cabinet", "drawer", axis=(0.0, 1.0, 0.0), upper=0.2)
    scene = Scene("drawer", (TABLE, cabinet, drawer), (slide,), robots=(PANDA,))
    poses = {"drawer": Pose((0.5, 0.35, 0.14))}
    inside = joints_at(Pose((0.5, 0.35, 0.15), DOWN))
    free = CollisionWorld(scene, "robot", world_state(scene, poses=poses))
    holding = CollisionWorld(scene, "robot", world_state(scene, poses=poses, held="drawer"))
    assert "drawer" in {name for pair in free.pairs for name in pair}
    assert "drawer" not in {name for pair in holding.pairs for name in pair}
    assert not free.free(inside)


def test_the_other_robots_are_in_the_way():
    other = RobotPlacement("other", "kuka", Pose((0.9, 0.0, 0.0), quaternion_from_yaw(np.pi)))
    base = RobotPlacement("base", "differential_base", Pose((0.5, -0.6, 0.0)))
    scene = table_scene(robots=(PANDA, other, base))
    world = CollisionWorld(scene, "robot", world_state(scene))
    tool_of_kuka = world_state(scene).robots["other"].tool.position_m
    assert world.deepest_collision(joints_at(Pose(tool_of_kuka, DOWN))).endswith(" with other")
    assert world.deepest_collision(joints_at(Pose((0.5, -0.6, 0.2), DOWN))).endswith(" with base")


def test_the_arm_must_not_hit_itself_and_home_is_free():
    world = CollisionWorld(table_scene(), "robot", world_state(table_scene()))
    assert world.free(HOME)
    folded = HOME.copy()
    folded[[1, 3, 5]] = (-1.7, -3.0, 0.0)
    assert world.deepest_collision(folded).count("panda_") == 2


def test_a_turned_base_sees_the_same_world():
    placed = RobotPlacement("robot", "panda", Pose((1.0, 2.0, 0.3), quaternion_from_yaw(0.7)))
    turned = Scene("turned", (Body("wall", WALL.parts, Pose()),), robots=(placed,))
    from embodied.geometry import compose

    state = world_state(turned, poses={"wall": compose(placed.base, WALL.pose)})
    plain = Scene("plain", (WALL,), robots=(PANDA,))
    joints = joints_at(Pose((0.5, 0.1, 0.2), DOWN))
    gaps = [
        CollisionWorld(turned, "robot", state).distances(joints),
        CollisionWorld(plain, "robot", world_state(plain)).distances(joints),
    ]
    assert np.allclose(gaps[0], gaps[1], atol=1e-5)


def test_no_collision_is_missed_whatever_the_margins():
    scene = table_scene(BLOCK, WALL)
    state = world_state(scene, joints_at(AT_BLOCK), held="block", gripper=0.6)
    world, stream = CollisionWorld(scene, "robot", state), np.random.default_rng(7)
    answers = set()
    for _ in range(300):
        joints = HOME + stream.normal(0.0, 0.3, len(HOME))
        margins = stream.choice([-0.01, 0.0, 0.005, 0.05], len(world.pairs))
        world.set_margins(margins)
        answers.add(world.free(joints))
        assert world.free(joints) == bool((world.distances(joints) > margins).all())
    assert answers == {True, False}
