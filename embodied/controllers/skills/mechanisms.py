"""Open, close and press: bodies that move on a joint."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import DONE, Routine, RoutineFailedError, perform
from embodied.controllers.skills.grasps import parts_of
from embodied.controllers.skills.guiding import slide_handle, swing_handle
from embodied.controllers.skills.handles import joint_axis, moving_joint
from embodied.geometry import quaternion_from_matrix, rotation_matrix, vector3
from embodied.types import MoveTo, WorldState

MARGIN = 0.02  # Of a joint's range: how near its end it is moved.
MOVED_WITHIN = 0.1  # Of a joint's range: how near its end it counts as open or closed.
PRESS_SHARE, PRESSED_SHARE = 0.75, 0.375  # Of a button's travel: how deep it is pushed, and what counts as pressed.
HOVER_M = 0.08


def open_joint(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Grasps the handle of a drawer or a hinged leaf and moves its joint to its upper limit.

    It runs in `context` from `state`, with `arguments` as declared by the skill.
    """
    return _move_joint(context, arguments, state, share=1.0)


def close_joint(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Grasps the handle of a drawer or a hinged leaf and moves its joint to its lower limit.

    It runs in `context` from `state`, with `arguments` as declared by the skill.
    """
    return _move_joint(context, arguments, state, share=0.0)


def press(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Pushes a button on a sliding joint along its axis with closed fingers, and retracts.

    It runs in `context` from `state`, with `arguments` as declared by the skill.
    """
    arm = context.model.end_effector(arguments.get("end_effector", ""))
    joint = moving_joint(context, arguments["object"], kinds=("prismatic",))
    pose = state.pose[joint.child]
    axis = joint_axis(joint, state)
    vertices = np.concatenate([vertices for _, vertices in parts_of(context, context.scene.body(joint.child))])
    inward = rotation_matrix(pose.orientation).T @ axis
    middle = (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    face = middle + inward * ((vertices @ inward).min() - middle @ inward)
    surface = np.array(pose.position_m) + rotation_matrix(pose.orientation) @ face - axis * state.joint[joint.name]
    orientation = _pointing(axis)
    depth_m = PRESS_SHARE * joint.upper - (0.0 if arm.gripper is None else arm.gripper.tip_m)

    def at(along_m: float, *, avoid: bool) -> MoveTo:
        return MoveTo(vector3(surface + along_m * axis), orientation, False, avoid, arm.name)

    yield from perform(at(-HOVER_M, avoid=True))
    state = yield from perform(at(depth_m, avoid=False))
    pressed = state.joint[joint.name] >= PRESSED_SHARE * joint.upper
    yield from perform(at(-HOVER_M, avoid=False))
    if not pressed:
        raise RoutineFailedError(f"{arguments['object']!r} was not pressed")
    return DONE


def _move_joint(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState, *, share: float) -> Routine:
    name, arm = arguments["object"], context.model.end_effector(arguments.get("end_effector", ""))
    joint = moving_joint(context, name, kinds=("prismatic", "revolute"))
    if arm.gripper is None:
        raise RoutineFailedError(f"{arm.name!r} has no gripper for a handle")
    span = joint.upper - joint.lower
    goal = joint.lower + MARGIN * span + share * (1 - 2 * MARGIN) * span
    if abs(state.joint[joint.name] - goal) <= (MOVED_WITHIN - MARGIN) * span:
        return DONE
    guide = slide_handle if joint.kind == "prismatic" else swing_handle
    state, reason = yield from guide(context, joint, arm.name, goal, state)
    short = abs(state.joint[joint.name] - goal)
    if short > MOVED_WITHIN * span:
        raise RoutineFailedError(f"{name!r} stopped {short:.2f} of {span:.2f} short: {reason}")
    return DONE


def _pointing(axis: np.ndarray) -> tuple[float, float, float, float]:
    """Returns a tool orientation whose z points along `axis`."""
    aside = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    y = np.cross(axis, np.cross(aside, axis))
    y = y / np.linalg.norm(y)
    return quaternion_from_matrix(np.stack([np.cross(y, axis), y, axis], axis=1))
