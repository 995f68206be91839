"""Kinematics agree with PyBullet, and joint angles for a pose depend on nothing but the pose."""

import numpy as np
import pybullet
import pytest

from embodied.errors import SceneError
from embodied.geometry import Pose, angle_between, compose, quaternion_from_euler
from embodied.robots.assets import urdf_path
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import Kinematics, kinematics

ARMS = (("panda", ""), ("kuka", ""), ("mobile_panda", ""), ("dual_panda", "left"), ("dual_panda", "right"))
DOWN = quaternion_from_euler(np.pi, 0.0, 0.0)


def random_joints(name: str, count: int, end_effector: str = "") -> np.ndarray:
    moving = kinematics(robot_model(name), end_effector)
    return np.random.default_rng(7).uniform(moving.lower_rad, moving.upper_rad, (count, len(moving.lower_rad)))


@pytest.fixture
def client():
    identity = pybullet.connect(pybullet.DIRECT)
    yield identity
    pybullet.disconnect(identity)


@pytest.mark.parametrize(("name", "end_effector"), ARMS)
def test_the_tool_is_where_pybullet_puts_it(name, end_effector, client):
    model = robot_model(name)
    arm = model.end_effector(end_effector)
    uid = pybullet.loadURDF(str(urdf_path(model, visuals=False)), useFixedBase=True, physicsClientId=client)
    count = pybullet.getNumJoints(uid, physicsClientId=client)
    infos = [pybullet.getJointInfo(uid, index, physicsClientId=client) for index in range(count)]
    index_of = {info[1].decode(): info[0] for info in infos}
    tool_link = next(info[0] for info in infos if info[12].decode() == arm.tool_link)
    # PyBullet places the base by its centre of mass; the first link's inertial frame says how far that is.
    offset = pybullet.getDynamicsInfo(uid, -1, physicsClientId=client)[3:5]
    pybullet.resetBasePositionAndOrientation(uid, *offset, physicsClientId=client)
    for joints in random_joints(name, 30, end_effector):
        for joint, angle in zip(arm.joints, joints, strict=True):
            pybullet.resetJointState(uid, index_of[joint], angle, physicsClientId=client)
        link = pybullet.getLinkState(uid, tool_link, computeForwardKinematics=True, physicsClientId=client)
        theirs = compose(Pose(link[4], link[5]), arm.tool_in_link)
        ours = kinematics(model, end_effector).tool(joints)
        assert ours.position_m == pytest.approx(theirs.position_m, abs=1e-5)
        assert angle_between(ours.orientation, theirs.orientation) < 1e-3


@pytest.mark.parametrize(("name", "end_effector"), ARMS)
def test_every_reachable_pose_is_reached_within_the_limits(name, end_effector):
    moving = kinematics(robot_model(name), end_effector)
    missed = 0
    for joints in random_joints(name, 60, end_effector):
        target = moving.tool(joints)
        found = moving.inverse(target)
        if found is None:
            missed += 1
            continue
        assert (found >= moving.lower_rad).all()
        assert (found <= moving.upper_rad).all()
        reached = moving.tool(found)
        assert np.linalg.norm(np.subtract(reached.position_m, target.position_m)) < 1e-4
        assert angle_between(reached.orientation, target.orientation) < 1e-3
    assert missed == 0


def test_a_table_top_is_reached_from_above_all_over():
    moving = kinematics(robot_model("panda"))
    for x in np.linspace(0.3, 0.65, 5):
        for y in np.linspace(-0.4, 0.4, 5):
            for yaw in (-1.5, 0.0, 1.5):
                assert moving.inverse(Pose((x, y, 0.03), quaternion_from_euler(np.pi, 0.0, yaw))) is not None


def test_joint_angles_depend_on_the_pose_alone():
    target = Pose((0.45, -0.2, 0.25), DOWN)
    fresh = Kinematics(robot_model("panda")).inverse(target)
    used = kinematics(robot_model("panda"))
    for joints in random_joints("panda", 10):
        used.inverse(used.tool(joints))
        assert np.array_equal(used.inverse(target), fresh)


def test_a_pose_out_of_reach_has_no_joint_angles():
    moving = kinematics(robot_model("panda"))
    assert moving.inverse(Pose((1.5, 0.0, 0.3), DOWN)) is None
    assert moving.inverse(Pose((0.0, 0.0, 0.05), DOWN)) is None


def test_a_robot_without_an_arm_has_no_kinematics():
    with pytest.raises(SceneError, match="arm"):
        kinematics(robot_model("differential_base"))
