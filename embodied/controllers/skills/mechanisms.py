"""Open, close and press: bodies that move on a joint."""

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import DONE, Routine, RoutineFailedError, perform
from embodied.controllers.skills.grasps import parts_of
from embodied.geometry import (
    Pose,
    compose,
    invert,
    quaternion_from_axis_angle,
    quaternion_from_matrix,
    rotation_matrix,
    vector3,
)
from embodied.scenes.scene import Joint
from embodied.types import ControllerReport, ControllerStatus, MoveTo, WorldState

APPROACH_M = 0.12
STEP_RAD = 0.25  # By how much a turning joint is moved at a time.
MARGIN = 0.02  # Of a joint's range: how near its end it is moved.
MOVED_WITHIN = 0.1  # Of a joint's range: how near its end it counts as open or closed.
PRESS_SHARE, PRESSED_SHARE = 0.75, 0.375  # Of a button's travel: how deep it is pushed, and what counts as pressed.
HOVER_M, FINGER_TIP_M = 0.08, 0.009


def open_joint(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Grasps the handle of a drawer or a hinged leaf and moves its joint to its upper limit."""
    return _pull(context, arguments, state, share=1.0)


def close_joint(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Grasps the handle of a drawer or a hinged leaf and moves its joint to its lower limit."""
    return _pull(context, arguments, state, share=0.0)


def press(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Pushes a button on a sliding joint along its axis with closed fingers, and lets go of it."""
    end_effector = context.model.end_effector(arguments.get("end_effector", "")).name
    joint = _joint(context, arguments["object"], kinds=("prismatic",))
    pose = state.pose[joint.child]
    axis = _axis(context, joint, state)
    vertices = np.concatenate([vertices for _, vertices in parts_of(context, context.scene.body(joint.child))])
    inward = rotation_matrix(pose.orientation).T @ axis
    middle = (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    face = middle + inward * ((vertices @ inward).min() - middle @ inward)
    surface = np.array(pose.position_m) + rotation_matrix(pose.orientation) @ face - axis * state.joint[joint.name]
    orientation = _pointing(axis)
    depth_m = PRESS_SHARE * joint.upper - FINGER_TIP_M

    def at(along_m: float, *, avoid: bool) -> MoveTo:
        return MoveTo(vector3(surface + along_m * axis), orientation, False, avoid, end_effector)

    yield from perform(at(-HOVER_M, avoid=True))
    state = yield from perform(at(depth_m, avoid=False))
    pressed = state.joint[joint.name] >= PRESSED_SHARE * joint.upper
    yield from perform(at(-HOVER_M, avoid=False))
    if not pressed:
        raise RoutineFailedError(f"{arguments['object']!r} was not pressed")
    return DONE


def _pull(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState, *, share: float) -> Routine:
    name, arm = arguments["object"], context.model.end_effector(arguments.get("end_effector", ""))
    joint = _joint(context, name, kinds=("prismatic", "revolute"))
    span = joint.upper - joint.lower
    goal = joint.lower + MARGIN * span + share * (1 - 2 * MARGIN) * span
    if abs(state.joint[joint.name] - goal) <= (MOVED_WITHIN - MARGIN) * span:
        return DONE
    state, grasp = yield from _grasp_handle(context, joint, state, arm.name)
    start, reason = state.joint[joint.name], "the joint did not follow"
    steps = 1 if joint.kind == "prismatic" else int(np.ceil(abs(goal - start) / STEP_RAD))
    guided = [_moved(context, joint, grasp, float(to) - start, state) for to in np.linspace(start, goal, steps + 1)[1:]]
    for tool in guided:
        state, report = yield MoveTo(tool.position_m, tool.orientation, False, False, arm.name)
        if report.status is not ControllerStatus.DONE:
            reason = report.reason
            break
    tool = state.robots[context.robot].end_effector(arm.name).tool
    yield MoveTo(tool.position_m, tool.orientation, True, False, arm.name)
    away = compose(tool, Pose((0.0, 0.0, -APPROACH_M)))
    state, _ = yield MoveTo(away.position_m, away.orientation, True, False, arm.name)
    short = abs(state.joint[joint.name] - goal)
    if short > MOVED_WITHIN * span:
        raise RoutineFailedError(f"{name!r} stopped {short:.2f} of {span:.2f} short: {reason}")
    return DONE


def _grasp_handle(
    context: HandlerContext, joint: Joint, state: WorldState, end_effector: str
) -> Generator[Any, tuple[WorldState, ControllerReport], tuple[WorldState, Pose]]:
    """Closes the gripper on the handle of the joint's child; returns the state and the tool pose there."""
    handle, report = _handle(context, joint, state), DONE
    for grasp in (handle, compose(handle, Pose(orientation=(0.0, 0.0, 1.0, 0.0)))):
        before = compose(grasp, Pose((0.0, 0.0, -APPROACH_M)))
        state, report = yield MoveTo(before.position_m, before.orientation, True, True, end_effector)
        if report.status is ControllerStatus.DONE:
            state = yield from perform(MoveTo(grasp.position_m, grasp.orientation, False, False, end_effector))
            if state.robots[context.robot].end_effector(end_effector).held != joint.child:
                raise RoutineFailedError(f"the handle of {joint.child!r} was not grasped")
            return state, grasp
    raise RoutineFailedError(report.reason)


def _joint(context: HandlerContext, name: str, *, kinds: tuple[str, ...]) -> Joint:
    """Returns the joint called `name`, or that of the body called `name`, which is one of `kinds` and can move."""
    for joint in context.scene.joints:
        if name in (joint.name, joint.child) and joint.kind in kinds and joint.upper > joint.lower:
            return joint
    raise RoutineFailedError(f"{name!r} has no {' or '.join(kinds)} joint that moves")


def _frame(context: HandlerContext, joint: Joint, state: WorldState) -> Pose:
    del context
    return compose(state.pose[joint.parent], joint.pose)


def _axis(context: HandlerContext, joint: Joint, state: WorldState) -> np.ndarray:
    """Returns the axis (3,) of a joint in the world; a sliding joint opens along it, a turning one about it."""
    return rotation_matrix(_frame(context, joint, state).orientation) @ np.array(joint.axis)


def _handle(context: HandlerContext, joint: Joint, state: WorldState) -> Pose:
    """Returns the tool pose around the handle: the part that lies farthest out in the direction of opening.

    The tool comes from where the handle goes when it opens, and its fingers close across the handle's longer side.
    """
    body, pose = context.scene.body(joint.child), state.pose[joint.child]
    world = rotation_matrix(pose.orientation)
    parts = [(vertices.mean(axis=0), vertices) for _, vertices in parts_of(context, body)]
    centres = [np.array(pose.position_m) + world @ centre for centre, _ in parts]
    # A hinged leaf opens fastest far from its hinge; of a drawer all parts open in the same direction.
    ways = [_opening(context, joint, centre, state) for centre in centres]
    reach = [float(way @ (centre - pose.position_m)) for way, centre in zip(ways, centres, strict=True)]
    index = int(np.argmax(reach))
    away = ways[index] / np.linalg.norm(ways[index])
    spread = np.ptp(parts[index][1], axis=0)
    bar = world[:, int(np.argmax(spread))]
    bar = bar - (bar @ away) * away
    y = np.cross(-away, bar / np.linalg.norm(bar))
    rotation = np.stack([np.cross(y, -away), y, -away], axis=1)
    return Pose(vector3(centres[index]), quaternion_from_matrix(rotation))


def _opening(context: HandlerContext, joint: Joint, point: np.ndarray, state: WorldState) -> np.ndarray:
    """Returns the direction (3,) in which a point of the joint's child moves as the joint opens, not of unit length."""
    axis = _axis(context, joint, state)
    if joint.kind == "prismatic":
        return axis
    return np.cross(axis, point - _frame(context, joint, state).position_m)


def _moved(context: HandlerContext, joint: Joint, tool: Pose, change: float, state: WorldState) -> Pose:
    """Returns where a tool that holds the joint's child comes to when the joint moves by `change`, m or rad."""
    axis, frame = _axis(context, joint, state), _frame(context, joint, state)
    if joint.kind == "prismatic":
        return Pose(vector3(tool.position_m + change * axis), tool.orientation)
    about = Pose(frame.position_m)
    turn = Pose(orientation=quaternion_from_axis_angle(change * axis))
    return compose(compose(compose(about, turn), invert(about)), tool)


def _pointing(axis: np.ndarray) -> tuple[float, float, float, float]:
    """Returns a tool orientation whose z points along `axis`."""
    aside = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    y = np.cross(axis, np.cross(aside, axis))
    y = y / np.linalg.norm(y)
    return quaternion_from_matrix(np.stack([np.cross(y, axis), y, axis], axis=1))
