"""A collision world that is renewed answers like a new one, to the last bit."""

import numpy as np

from embodied.controllers.motion.collision_world import CollisionWorld
from embodied.geometry import Pose
from embodied.robots.catalogue import robot_model
from embodied.scenes.scene import RobotPlacement, Scene
from embodied.simulators.bullet import BulletConfig
from embodied.types import Command
from tests.simulators.test_bullet import FLOOR, PANDA, TABLE, grasp, grasp_scene, run

HOME = np.array(robot_model("panda").arms[0].home_rad)


def test_a_renewed_world_gives_the_distances_and_collisions_of_a_new_one():
    other = RobotPlacement("kuka", "kuka", Pose((0.9, 0.9, 0.0)))
    scene = Scene("two", (FLOOR, TABLE, grasp_scene().bodies[-1]), robots=(PANDA, other))
    simulator = BulletConfig().build()
    simulator.reset(scene)
    world = CollisionWorld(scene, "panda", simulator.state())
    world.set_margins(np.full(len(world.pairs), 0.01))
    world.free(HOME)
    world.distances(HOME)
    aim = Command(np.array(robot_model("kuka").arms[0].home_rad) + 0.3)
    state = run(simulator, {"kuka": aim, "panda": Command(HOME - 0.1)}, 20)[-1]
    assert world.renew(state)
    fresh = CollisionWorld(scene, "panda", state)
    fresh.set_margins(np.full(len(fresh.pairs), 0.01))
    for joints in (HOME, HOME + 0.2, HOME + np.array([0.0, 0.9, 0.0, -0.4, 0.0, 0.0, 0.0])):
        assert np.array_equal(world.distances(joints), fresh.distances(joints))
        assert world.deepest_collision(joints) == fresh.deepest_collision(joints)
    simulator.close()


def test_a_world_in_which_another_body_is_held_is_not_renewed():
    simulator = BulletConfig().build()
    simulator.reset(grasp_scene())
    world = CollisionWorld(grasp_scene(), "panda", simulator.state())
    grasp(simulator)
    assert not world.renew(simulator.state())
    simulator.close()
