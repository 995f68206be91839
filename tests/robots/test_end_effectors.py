"""Robots with one and with several end effectors: names, layouts, commands, and what is held by which."""

import numpy as np
import pytest

from embodied.errors import CommandError, SceneError, SpecError, UnknownNameError
from embodied.geometry import Pose
from embodied.robots.catalogue import robot_model, robot_names
from embodied.robots.commands import arm_command, check_command, joint_targets, openings, proprio, proprio_layout
from embodied.robots.kinematics import kinematics
from embodied.robots.robot import RobotModel
from embodied.types import Command, EndEffectorState, RobotState, held_bodies

PANDA, DUAL = robot_model("panda"), robot_model("dual_panda")
TOOL = ("tool_x_m", "tool_y_m", "tool_z_m", "tool_qx", "tool_qy", "tool_qz", "tool_qw")
LEFT = np.array(DUAL.end_effector("left").home_rad)


def dual_state() -> RobotState:
    opened = {"left": 0.25, "right": 0.75}
    grippers = {name: EndEffectorState(kinematics(DUAL, name).tool(LEFT), opened[name]) for name in opened}
    return RobotState(np.arange(14) / 10, np.zeros(14), Pose(), grippers)


@pytest.mark.parametrize("name", robot_names())
def test_joint_vectors_hold_the_joints_of_all_arms_in_order(name):
    model = robot_model(name)
    assert len(model.home_rad) == len(model.joints)
    for arm in model.arms:
        assert model.joints[model.columns(arm.name)] == arm.joints
        assert model.end_effector(arm.name) is arm


def test_the_only_end_effector_needs_no_name():
    assert PANDA.end_effector() is PANDA.end_effector("gripper") is PANDA.arm
    assert kinematics(PANDA) is kinematics(PANDA, "gripper")
    assert robot_model("differential_base").arm is None


def test_one_of_several_end_effectors_needs_its_name_and_the_error_lists_them():
    with pytest.raises(SpecError, match="left, right"):
        DUAL.end_effector()
    with pytest.raises(SpecError, match="left, right"):
        dual_state().end_effector()
    with pytest.raises(SpecError, match="left, right"):
        kinematics(DUAL)
    for refused in (DUAL.end_effector, dual_state().end_effector):
        with pytest.raises(UnknownNameError, match="'left'"):
            refused("lift")
    with pytest.raises(SpecError, match="none"):
        robot_model("differential_base").end_effector()


def test_two_end_effectors_of_one_name_are_refused():
    with pytest.raises(SpecError, match="different names"):
        RobotModel("twins", arms=(PANDA.end_effector(), PANDA.end_effector()))


def test_the_layouts_of_robots_with_one_arm_are_those_that_shipped_weights_read():
    joints = tuple(f"panda_joint{index}_rad" for index in range(1, 8))
    assert proprio_layout(PANDA) == (*joints, *TOOL, "gripper_opening")
    base = ("base_x_m", "base_y_m", "base_yaw_rad")
    assert proprio_layout(robot_model("mobile_panda")) == (*joints, *TOOL, "gripper_opening", *base)
    assert proprio_layout(robot_model("kuka"))[7:] == TOOL


def test_the_layout_of_two_arms_names_each_end_effector():
    layout, state = proprio_layout(DUAL), dual_state()
    values = dict(zip(layout, proprio(DUAL, state).tolist(), strict=True))
    assert len(values) == len(layout) == 30
    assert (values["left/gripper_opening"], values["right/gripper_opening"]) == (0.25, 0.75)
    assert (values["left/left_panda_joint2_rad"], values["right/right_panda_joint1_rad"]) == pytest.approx((0.1, 0.7))
    assert values["left/tool_y_m"] == pytest.approx(0.3, abs=1e-3)
    assert values["right/tool_y_m"] == pytest.approx(-0.3, abs=1e-3)


def test_a_command_for_one_arm_leaves_the_other_arm_as_it_is():
    last = np.zeros(14)
    command = arm_command(DUAL, DUAL.end_effector("right"), LEFT + 0.1, 0.5)
    check_command("dual", DUAL, command)
    targets = joint_targets(DUAL, command, last)
    assert (targets[:7] == 0.0).all()
    assert np.array_equal(targets[7:], LEFT + 0.1)
    assert openings(DUAL, command) == {"right": 0.5}
    assert (last == 0.0).all()


def test_a_command_for_all_arms_is_one_vector():
    command = Command(np.concatenate([LEFT, LEFT + 0.1]), {"left": 0.0, "right": 1.0})
    check_command("dual", DUAL, command)
    assert np.array_equal(joint_targets(DUAL, command, np.zeros(14)), command.joint_position_rad)
    assert openings(PANDA, Command(gripper=0.5)) == {"gripper": 0.5}


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (Command(LEFT), r"\(14,\)"),
        (Command({"left": np.zeros(14)}), r"\(7,\)"),
        (Command({"left": np.full(7, np.nan)}), "finite"),
        (Command({"top": LEFT}), "left, right"),
        (Command({"right": LEFT + 9.0}), "right_panda_joint1"),
        (Command(np.concatenate([LEFT, LEFT + 9.0])), "right_panda_joint1"),
        (Command(gripper=0.5), "left, right"),
        (Command(gripper={"top": 0.5}), "left, right"),
        (Command(gripper={"left": 1.5}), r"\[0, 1\]"),
        (Command(gripper={"left": np.nan}), "finite"),
    ],
)
def test_a_command_that_does_not_fit_two_arms_is_refused_with_the_remedy(command, rule):
    with pytest.raises(CommandError, match=rule):
        check_command("dual", DUAL, command)


def test_an_end_effector_without_fingers_cannot_be_opened():
    with pytest.raises(CommandError, match="no gripper"):
        check_command("kuka", robot_model("kuka"), Command(gripper={"flange": 0.5}))


def test_what_is_held_is_keyed_by_the_robot_or_by_one_of_its_several_end_effectors():
    one = RobotState(np.zeros(7), np.zeros(7), Pose(), {"gripper": EndEffectorState(Pose(), held="cup")})
    two = RobotState(
        np.zeros(14),
        np.zeros(14),
        Pose(),
        {"left": EndEffectorState(Pose()), "right": EndEffectorState(Pose(), held="jug")},
    )
    none = RobotState(np.zeros(0), np.zeros(0), Pose())
    held = held_bodies({"one": one, "two": two, "none": none})
    assert held == {"one": "cup", "two/left": None, "two/right": "jug", "none": None}


def test_a_robot_without_arms_has_no_kinematics_of_a_named_one_either():
    with pytest.raises(SceneError, match="arm"):
        kinematics(robot_model("differential_base"), "left")
