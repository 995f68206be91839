"""Guides a handle: grasps it, moves it along the path of its joint, releases it, and backs off."""

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from embodied.controllers.action_spaces import EE_POSE, action_space, rotation_to_6d
from embodied.controllers.handler import HandlerContext
from embodied.controllers.motion.timing import PEAK_OVER_MEAN, minimum_jerk
from embodied.controllers.motion.tool_track import InfeasibleRowError, ToolTrack, require_speed
from embodied.controllers.routine import RoutineFailedError, failed, perform
from embodied.controllers.skills.handles import carried, handle_pose
from embodied.geometry import Pose, Vector3, compose, invert, quaternion_from_axis_angle, rotation_matrix
from embodied.robots.kinematics import kinematics
from embodied.scenes.scene import Joint
from embodied.types import ActionChunk, ControllerReport, ControllerStatus, DeltaPose, MoveTo, WorldState

_Result = TypeVar("_Result")
Moves = Generator[Any, tuple[WorldState, ControllerReport], _Result]  # A part of a routine, with what it returns.
Guided = Moves[tuple[WorldState, str]]  # The state at the end, and why the joint may have stopped short.
UNMOVED = "the joint did not follow"
APPROACH_M = 0.12
TILTS_RAD = (0.0, 0.4, -0.4, 0.8, -0.8, 1.1, -1.1)  # About the handle, from straight at the panel.
FASTEST_RADPS, FASTEST_MPS = 0.8, 0.2  # Of a turning handle, and of the gripper that backs off.
SETTLE_S, GRIP_S = 0.2, 0.5


def slide_handle(context: HandlerContext, joint: Joint, end_effector: str, goal: float, state: WorldState) -> Guided:
    """Moves the `joint` of a drawer to `goal`, m, from `state`, with the gripper `end_effector`.

    `context` has the scene and the robot. Raises `RoutineFailedError` where its handle is not grasped.
    """
    handle = handle_pose(context, joint, state)
    grasp = yield from _before_handle([handle, _flipped(handle)], end_effector)
    state = yield from perform(MoveTo(grasp.position_m, grasp.orientation, False, False, end_effector))
    if state.robots[context.robot].end_effector(end_effector).held != joint.child:
        raise RoutineFailedError(f"the handle of {joint.child!r} was not grasped")
    tool, reason = carried(joint, grasp, goal - state.joint[joint.name], state), UNMOVED
    state, report = yield MoveTo(tool.position_m, tool.orientation, False, False, end_effector)
    if report.status is not ControllerStatus.DONE:
        reason = report.reason
    tool = state.robots[context.robot].end_effector(end_effector).tool
    yield MoveTo(tool.position_m, tool.orientation, True, False, end_effector)
    away = compose(tool, Pose((0.0, 0.0, -APPROACH_M)))
    state, _ = yield MoveTo(away.position_m, away.orientation, True, False, end_effector)
    return state, reason


def swing_handle(context: HandlerContext, joint: Joint, end_effector: str, goal: float, state: WorldState) -> Guided:
    """Turns the `joint` of a door or a lid to `goal`, rad, with a grasp from which the arm can follow the arc.

    It starts in `state`, with the gripper `end_effector` of the robot of `context`. The motion at the handle is one
    continuous motion of the arm. Raises `RoutineFailedError` where there is no such grasp, and where the handle is not
    grasped.
    """
    grasps = _swinging_grasps(context, joint, end_effector, goal, state)
    if not grasps:
        raise RoutineFailedError(f"unreachable: the arm cannot follow the handle of {joint.child!r} to its goal")
    grasp = yield from _at_handle(context, grasps, end_effector)
    state, _ = yield _chunk(context, end_effector, [grasp.tool] * round(GRIP_S / context.period_s), opening=0.0)
    if state.robots[context.robot].end_effector(end_effector).held != joint.child:
        yield from _leave(context, grasp, end_effector, state)
        raise RoutineFailedError(f"the handle of {joint.child!r} was not grasped")
    tool = state.robots[context.robot].end_effector(end_effector).tool
    arc = _arc(context, joint, tool, goal, state)
    settled = [arc[-1]] * round(SETTLE_S / context.period_s)
    state, report = yield _chunk(context, end_effector, [*arc, *settled], opening=0.0)
    reason = UNMOVED if report.status is ControllerStatus.DONE else report.reason
    state = yield from _leave(context, grasp, end_effector, state)
    return state, reason


@dataclass(frozen=True)
class _Grasp:
    """A tool pose around a handle; the tool comes to and leaves it by `length_m` along `out`, in the tool's frame."""

    tool: Pose
    out: Vector3
    length_m: float

    def away(self, tool: Pose, length_m: float) -> Pose:
        """Returns `tool` moved by `length_m` out from the panel."""
        x, y, z = self.out
        return compose(tool, Pose((length_m * x, length_m * y, length_m * z)))


def _swinging_grasps(
    context: HandlerContext, joint: Joint, end_effector: str, goal: float, state: WorldState
) -> list[_Grasp]:
    """Returns the grasps of a hinged handle that the arm can come to, follow to `goal`, rad, and leave, the best first.

    Those come first that are approached from farther off, then those straight at the panel.
    """
    handle, found = handle_pose(context, joint, state), []
    for length_m, tilt in itertools.product((APPROACH_M, APPROACH_M / 2), TILTS_RAD):
        turn = quaternion_from_axis_angle((tilt, 0.0, 0.0))
        x, y, z = rotation_matrix(turn).T @ (0.0, 0.0, -1.0)
        tool = compose(handle, Pose(orientation=turn))
        for grasp in (_Grasp(tool, (x, y, z), length_m), _Grasp(_flipped(tool), (-x, -y, z), length_m)):
            approach = _back(context, grasp, grasp.tool)[::-1]
            arc = [grasp.tool, *_arc(context, joint, grasp.tool, goal, state)]
            if _can_follow(context, end_effector, [*approach, *arc, *_back(context, grasp, arc[-1])], state):
                found.append(grasp)
    return found


def _before_handle(grasps: Sequence[Pose], end_effector: str) -> Moves[Pose]:
    """Brings the open gripper before the first of `grasps` that it can reach, and returns that one."""
    report = failed("")
    for grasp in grasps:
        before = compose(grasp, Pose((0.0, 0.0, -APPROACH_M)))
        _, report = yield MoveTo(before.position_m, before.orientation, True, True, end_effector)
        if report.status is ControllerStatus.DONE:
            return grasp
    raise RoutineFailedError(report.reason)


def _at_handle(context: HandlerContext, grasps: Sequence[_Grasp], end_effector: str) -> Moves[_Grasp]:
    """Brings the open gripper to the first of `grasps` that it can reach, and returns that one."""
    report = failed("")
    for grasp in grasps:
        before = grasp.away(grasp.tool, grasp.length_m)
        _, report = yield MoveTo(before.position_m, before.orientation, True, True, end_effector)
        if report.status is ControllerStatus.DONE:
            approach = [*_back(context, grasp, grasp.tool)[::-1], grasp.tool]
            _, report = yield _chunk(context, end_effector, approach, opening=1.0)
        if report.status is ControllerStatus.DONE:
            return grasp
    raise RoutineFailedError(report.reason)


def _leave(context: HandlerContext, grasp: _Grasp, end_effector: str, state: WorldState) -> Moves[WorldState]:
    """Opens the gripper where it is, and backs off; returns the state at the end."""
    tool = state.robots[context.robot].end_effector(end_effector).tool
    yield DeltaPose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), True, end_effector)
    yield _chunk(context, end_effector, [tool] * round(GRIP_S / context.period_s), opening=1.0)
    state, _ = yield _chunk(context, end_effector, _back(context, grasp, tool), opening=1.0)
    return state


def _flipped(grasp: Pose) -> Pose:
    return compose(grasp, Pose(orientation=(0.0, 0.0, 1.0, 0.0)))


def _arc(context: HandlerContext, joint: Joint, tool: Pose, goal: float, state: WorldState) -> list[Pose]:
    """Returns where a tool that holds the handle is in each period while the joint turns to `goal`, rad."""
    steps = _steps(context, goal - state.joint[joint.name], FASTEST_RADPS)
    return [carried(joint, tool, float(step), state) for step in steps]


def _back(context: HandlerContext, grasp: _Grasp, tool: Pose) -> list[Pose]:
    """Returns where a tool is in each period while it leaves the handle."""
    return [grasp.away(tool, float(step)) for step in _steps(context, grasp.length_m, FASTEST_MPS)]


def _steps(context: HandlerContext, length: float, fastest: float) -> np.ndarray:
    """Returns how far a motion over `length` has come at the end of each period, at `fastest` per second at most."""
    count = max(1, int(np.ceil(PEAK_OVER_MEAN * abs(length) / (fastest * context.period_s))))
    return length * minimum_jerk(np.arange(1, count + 1) / count)


def _can_follow(context: HandlerContext, end_effector: str, tools: Sequence[Pose], state: WorldState) -> bool:
    moving, base = kinematics(context.model, end_effector), state.robots[context.robot].base
    start = moving.inverse(compose(invert(base), tools[0]))
    if start is None:
        return False
    positions_m = np.array([tool.position_m for tool in tools])
    try:
        path = ToolTrack(moving, base, start, 1).follow(
            positions_m, [rotation_matrix(one.orientation) for one in tools]
        )
        require_speed(moving.arm, path, context.period_s, 1)
    except InfeasibleRowError:
        return False
    return True


def _chunk(context: HandlerContext, end_effector: str, tools: Sequence[Pose], *, opening: float) -> ActionChunk:
    """Returns the chunk that brings the tool to one of `tools` per control period."""
    rate_hz = 1.0 / context.period_s
    space = action_space(EE_POSE, context.model, context.settings, rate_hz=rate_hz, end_effector=end_effector)
    rows = [[*one.position_m, *rotation_to_6d(rotation_matrix(one.orientation)), opening] for one in tools]
    return ActionChunk(space, np.array(rows))
