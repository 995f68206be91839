"""Pick and place."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import DONE, Routine, RoutineFailedError, perform
from embodied.controllers.skills.grasps import top_down_grasps, vertices_of
from embodied.geometry import Pose, compose, invert, vector3
from embodied.scenes.scene import Body
from embodied.types import ControllerStatus, EndEffectorState, MoveTo, WorldState

ABOVE_M = 0.12  # From where a body is approached, and how far it is lifted.
RELEASE_M = 0.002  # Above its support, a body is let go.
PLACED_WITHIN_M = 0.05


def pick(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Grasps a free body from above and lifts it by 12 cm.

    It runs in `context` from `state`, with `arguments` as declared by the skill.
    """
    name, arm = arguments["object"], context.model.end_effector(arguments.get("end_effector", ""))
    holding = _state_of(context, state, arm.name).held
    if holding is not None:
        raise RoutineFailedError(f"the gripper already holds {holding!r}")
    if any(one.held == name for one in state.robots[context.robot].end_effectors.values()):
        raise RoutineFailedError(f"{name!r} is held by the robot's other gripper, which must open before it is lifted")
    body = _body_called(context, name)
    if not body.graspable or arm.gripper is None:
        raise RoutineFailedError(f"{name!r} cannot be grasped")
    grasps = top_down_grasps(context, body, state, 2 * arm.gripper.stroke_m)
    if not grasps:
        raise RoutineFailedError(f"{name!r} is too wide for the gripper, or lies askew")
    grasp, report = grasps[0], DONE
    for grasp in grasps:
        state, report = yield _above(grasp, gripper_open=True, end_effector=arm.name)
        if report.status is ControllerStatus.DONE:
            break
    if report.status is not ControllerStatus.DONE:
        return report
    state = yield from perform(_at(grasp, gripper_open=False, end_effector=arm.name))
    grasped = _state_of(context, state, arm.name).held
    if grasped != name:
        yield _above(grasp, gripper_open=True, end_effector=arm.name, avoid=False)
        raise RoutineFailedError("nothing was grasped" if grasped is None else f"{grasped!r} was grasped instead")
    state = yield from perform(_above(grasp, gripper_open=False, end_effector=arm.name, avoid=False))
    _require_held(context, state, name, arm.name)
    return DONE


def place(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Sets the held body down on another body's top (`on`), or with its middle at a position (`at`), and lets go.

    It runs in `context` from `state`, with `arguments` as declared by the skill.
    """
    name, arm = arguments["object"], context.model.end_effector(arguments.get("end_effector", ""))
    _require_held(context, state, name, arm.name)
    goal = _place(context, arguments, state)
    held = compose(invert(_state_of(context, state, arm.name).tool), state.pose[name])
    goal_pose = Pose(vector3(np.add(goal, (0.0, 0.0, RELEASE_M))), state.pose[name].orientation)
    release = compose(goal_pose, invert(held))
    state = yield from perform(_above(release, gripper_open=False, end_effector=arm.name))
    _require_held(context, state, name, arm.name)
    yield from perform(_at(release, gripper_open=True, end_effector=arm.name))
    state = yield from perform(_above(release, gripper_open=True, end_effector=arm.name, avoid=False))
    off_m = float(np.linalg.norm(np.subtract(state.pose[name].position_m, goal)))
    if off_m > PLACED_WITHIN_M:
        raise RoutineFailedError(f"{name!r} came to rest {off_m:.2f} m from where it was to be placed")
    return DONE


def _place(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> np.ndarray:
    """Returns where the middle (3,) of the held body is to come to, in the world."""
    if ("on" in arguments) == ("at" in arguments):
        raise RoutineFailedError("exactly one of `on` and `at` must say where")
    if "at" in arguments:
        return np.array(arguments["at"], dtype=float)
    name, support = arguments["object"], _body_called(context, arguments["on"])
    corners = vertices_of(context, support, state.pose[support.name])
    middle = state.pose[name]
    below_m = middle.position_m[2] - float(vertices_of(context, _body_called(context, name), middle)[:, 2].min())
    x, y = (corners[:, :2].max(axis=0) + corners[:, :2].min(axis=0)) / 2
    return np.array([x, y, corners[:, 2].max() + below_m])


def _body_called(context: HandlerContext, name: str) -> Body:
    for body in context.scene.bodies:
        if body.name == name:
            return body
    raise RoutineFailedError(f"there is no body {name!r}")


def _require_held(context: HandlerContext, state: WorldState, name: str, end_effector: str) -> None:
    if _state_of(context, state, end_effector).held != name:
        raise RoutineFailedError(f"{name!r} is not held")


def _state_of(context: HandlerContext, state: WorldState, end_effector: str) -> EndEffectorState:
    return state.robots[context.robot].end_effector(end_effector)


def _above(tool: Pose, *, gripper_open: bool, end_effector: str, avoid: bool = True) -> MoveTo:
    x, y, z = tool.position_m
    return MoveTo((x, y, z + ABOVE_M), tool.orientation, gripper_open, avoid, end_effector)


def _at(tool: Pose, *, gripper_open: bool, end_effector: str) -> MoveTo:
    return MoveTo(tool.position_m, tool.orientation, gripper_open, False, end_effector)
