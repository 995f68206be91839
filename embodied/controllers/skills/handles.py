"""Handles of drawers, doors and lids: their poses, and their motion with their joint."""

import numpy as np

from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import RoutineFailedError
from embodied.controllers.skills.grasps import parts_of
from embodied.geometry import (
    Pose,
    compose,
    invert,
    quaternion_from_axis_angle,
    quaternion_from_matrix,
    rotation_matrix,
    transform_points,
    vector3,
)
from embodied.scenes.scene import Joint
from embodied.types import WorldState


def moving_joint(context: HandlerContext, name: str, *, kinds: tuple[str, ...]) -> Joint:
    """Returns the joint called `name`, or that of the body called `name`, in the scene of `context`.

    It is one of `kinds` and can move.
    """
    for joint in context.scene.joints:
        if name in (joint.name, joint.child) and joint.kind in kinds and joint.upper > joint.lower:
            return joint
    raise RoutineFailedError(f"{name!r} has no {' or '.join(kinds)} joint that moves")


def joint_frame(joint: Joint, state: WorldState) -> Pose:
    """Returns the frame of a joint in the world."""
    return compose(state.pose[joint.parent], joint.pose)


def joint_axis(joint: Joint, state: WorldState) -> np.ndarray:
    """Returns the axis (3,) of a joint in the world; a sliding joint opens along it, a turning one about it."""
    return rotation_matrix(joint_frame(joint, state).orientation) @ np.array(joint.axis)


def handle_pose(context: HandlerContext, joint: Joint, state: WorldState) -> Pose:
    """Returns the tool pose around the handle of a `joint` in `state`: the largest part farthest out from the panel.

    The tool approaches from the side to which the panel opens, and its fingers close across the handle's longer side.
    Shapes are those of the scene of `context`. Raises `RoutineFailedError` where the panel's middle lies on its hinge,
    so that it opens in no direction.
    """
    body, pose = context.scene.body(joint.child), state.pose[joint.child]
    world = rotation_matrix(pose.orientation)
    parts = [transform_points(pose.matrix, vertices) for _, vertices in parts_of(context, body)]
    centres = [_middle(vertices) for vertices in parts]
    panel = int(np.argmax([np.prod(np.ptp(vertices @ world, axis=0)) for vertices in parts]))
    away = opening_direction(joint, centres[panel], state)
    if np.linalg.norm(away) < 1e-6:
        raise RoutineFailedError(f"the middle of {joint.child!r} lies on its hinge")
    away = away / np.linalg.norm(away)
    handle = int(np.argmax([centre @ away for centre in centres]))
    lengths = np.where(np.abs(away @ world) < 0.8, np.ptp(parts[handle] @ world, axis=0), 0.0)
    bar = world[:, int(np.argmax(lengths))]  # The longest side of those that do not point out from the panel.
    bar = bar - (bar @ away) * away
    y = np.cross(-away, bar / np.linalg.norm(bar))
    rotation = np.stack([np.cross(y, -away), y, -away], axis=1)
    return Pose(vector3(centres[handle]), quaternion_from_matrix(rotation))


def _middle(vertices: np.ndarray) -> np.ndarray:
    return (vertices.max(axis=0) + vertices.min(axis=0)) / 2


def opening_direction(joint: Joint, point: np.ndarray, state: WorldState) -> np.ndarray:
    """Returns the direction (3,) in which a `point` of the child of `joint` moves as it opens, not of unit length.

    The joint is placed as in `state`.
    """
    axis = joint_axis(joint, state)
    if joint.kind == "prismatic":
        return axis
    return np.cross(axis, point - joint_frame(joint, state).position_m)


def carried(joint: Joint, tool: Pose, change: float, state: WorldState) -> Pose:
    """Returns the pose of a `tool` that holds the child of `joint` after the joint moves by `change`, m or rad.

    The joint is placed as in `state`.
    """
    axis, frame = joint_axis(joint, state), joint_frame(joint, state)
    if joint.kind == "prismatic":
        return Pose(vector3(tool.position_m + change * axis), tool.orientation)
    about = Pose(frame.position_m)
    turn = Pose(orientation=quaternion_from_axis_angle(change * axis))
    return compose(compose(compose(about, turn), invert(about)), tool)
