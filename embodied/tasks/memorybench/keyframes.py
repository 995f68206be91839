"""Keyframes from which experts are made: each brings the robot's tool somewhere, from true poses."""

import numpy as np

from embodied.geometry import (
    Pose,
    Quaternion,
    compose,
    quaternion_from_euler,
    quaternion_from_matrix,
    rotation_matrix,
    vector3,
)
from embodied.robots.catalogue import robot_model
from embodied.scenes.tabletop import BLOCK_M, BUTTON_TOP_M, HANDLE_IN_DRAWER_M, TABLE_TOP_M, slide
from embodied.types import Episode, MoveTo, WorldState

HOVER_M = 0.945
BUTTON_HOVER_M = 0.914
GRASP_ABOVE_MIDDLE_M = 0.008
RELEASE_ABOVE_TABLE_M = 0.002
PRESS_DEPTH_M = 0.006
HANDLE_APPROACH_M = 0.12


def stay(state: WorldState) -> MoveTo:
    """Returns the keyframe of the tool where it is, open: the spurious first one of published demonstrations."""
    tool = tool_pose(state)
    return MoveTo(tool.position_m, tool.orientation, gripper_open=True)


def above_block(state: WorldState, block: str) -> MoveTo:
    """Returns the keyframe above a block, open, in line with its sides."""
    x, y, _ = state.pose[block].position_m
    return MoveTo((x, y, HOVER_M), _downwards(_grasp_yaw(state.pose[block])), gripper_open=True)


def grasp_block(state: WorldState, block: str) -> MoveTo:
    """Returns the keyframe around a block, straight down; the gripper closes there."""
    x, y, z = state.pose[block].position_m
    yaw = _grasp_yaw(state.pose[block])
    return MoveTo((x, y, z + GRASP_ABOVE_MIDDLE_M), _downwards(yaw), gripper_open=False, avoid_collisions=False)


def carry_over(state: WorldState, block: str, place: Pose) -> MoveTo:
    """Returns the keyframe that holds the middle of a `block`, grasped as in `state`, above `place`."""
    x, y, _ = _tool_for(state, block, place)
    return MoveTo((x, y, HOVER_M), _downwards(), gripper_open=False)


def set_down(state: WorldState, block: str, place: Pose) -> MoveTo:
    """Returns the keyframe that sets a `block` of `state` down with its middle at `place`, 2 mm before it touches.

    Then opens.
    """
    return MoveTo(_tool_for(state, block, place), _downwards(), gripper_open=True, avoid_collisions=False)


def rise(state: WorldState) -> MoveTo:
    """Returns the keyframe straight above the tool, open."""
    x, y, _ = tool_pose(state).position_m
    return MoveTo((x, y, HOVER_M), tool_pose(state).orientation, gripper_open=True, avoid_collisions=False)


def above_button(episode: Episode) -> MoveTo:
    """Returns the keyframe above the button, closed."""
    x, y, _ = episode.scene.body("button_base").pose.position_m
    return MoveTo((x, y, BUTTON_HOVER_M), _downwards(), gripper_open=False)


def press_button(episode: Episode) -> MoveTo:
    """Returns the keyframe whose finger tips push the button 6 mm down."""
    x, y, z = episode.scene.body("button_base").pose.position_m
    at = (x, y, z + BUTTON_TOP_M - PRESS_DEPTH_M + finger_tip_m(episode))
    return MoveTo(at, _downwards(), gripper_open=False, avoid_collisions=False)


def release_button(episode: Episode) -> MoveTo:
    """Returns the keyframe straight up from the button, closed."""
    x, y, _ = episode.scene.body("button_base").pose.position_m
    return MoveTo((x, y, BUTTON_HOVER_M), _downwards(), gripper_open=False, avoid_collisions=False)


def before_handle(state: WorldState, drawer: str) -> MoveTo:
    """Returns the keyframe 12 cm in front of a handle, open."""
    handle = _handle(state, drawer, 0.0)
    behind = rotation_matrix(handle.orientation)[:, 2] * HANDLE_APPROACH_M
    return MoveTo(vector3(handle.position_m - behind), handle.orientation, gripper_open=True)


def grasp_handle(state: WorldState, drawer: str) -> MoveTo:
    """Returns the keyframe around a handle, straight on; the gripper closes there."""
    handle = _handle(state, drawer, 0.0)
    return MoveTo(handle.position_m, handle.orientation, gripper_open=False, avoid_collisions=False)


def slide_drawer(state: WorldState, drawer: str, *, to_m: float, let_go: bool) -> MoveTo:
    """Returns the keyframe that slides the grasped `drawer` of `state` until it is open by `to_m`.

    With `let_go` the gripper then opens.
    """
    handle = _handle(state, drawer, to_m - state.joint[slide(drawer)])
    return MoveTo(handle.position_m, handle.orientation, gripper_open=let_go, avoid_collisions=False)


def back_off(state: WorldState) -> MoveTo:
    """Returns the keyframe 12 cm behind the tool, open."""
    tool = tool_pose(state)
    behind = rotation_matrix(tool.orientation)[:, 2] * HANDLE_APPROACH_M
    return MoveTo(vector3(tool.position_m - behind), tool.orientation, gripper_open=True, avoid_collisions=False)


def tool_pose(state: WorldState) -> Pose:
    """Returns where the tool of the only robot is."""
    (robot,) = state.robots.values()
    assert robot.tool is not None  # `tabletop_robot` has checked that it has an arm.
    return robot.tool


def finger_tip_m(episode: Episode) -> float:
    """Returns how far the closed fingers of the only robot reach beyond its tool."""
    (robot,) = episode.scene.robots
    gripper = robot_model(robot.model).end_effector().gripper
    return 0.0 if gripper is None else gripper.tip_m


def _downwards(yaw_rad: float = 0.0) -> Quaternion:
    return quaternion_from_euler(np.pi, 0.0, yaw_rad)


def _grasp_yaw(block: Pose) -> float:
    # A cube looks the same every 90 degrees: the yaw nearest to 0, where the wrist has room on both sides.
    quarter = np.pi / 2
    return float((block.yaw_rad + quarter / 2) % quarter - quarter / 2)


def _tool_for(state: WorldState, block: str, place: Pose) -> tuple[float, float, float]:
    """The tool position, pointing down at yaw 0, at which the middle of a held block is at `place`, 2 mm up."""
    tool = tool_pose(state)
    offset = np.subtract(state.pose[block].position_m, tool.position_m)
    in_tool = rotation_matrix(tool.orientation).T @ offset
    turned = rotation_matrix(_downwards()) @ in_tool
    x, y, _ = place.position_m
    middle = np.array([x, y, TABLE_TOP_M + BLOCK_M / 2 + RELEASE_ABOVE_TABLE_M])
    return vector3(middle - turned)


def _handle(state: WorldState, drawer: str, further_m: float) -> Pose:
    """The tool pose at a handle once the drawer is open by `further_m` more: ahead into the chest, fingers level."""
    x, y, z = HANDLE_IN_DRAWER_M
    chest_from_tool = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    at = Pose((x, y - further_m, z), quaternion_from_matrix(chest_from_tool))
    return compose(state.pose[drawer], at)
