"""Following a path of straight segments, with a base that turns by speed difference or moves in any direction."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embodied.controllers.base.drive import base_rests
from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import DONE, failed
from embodied.geometry import Pose
from embodied.robots.robot import HolonomicDrive
from embodied.types import Command, ControllerReport, WorldState

LOOKAHEAD_M = 0.3
CORNER_M = 0.03  # The distance within which a corner counts as reached.
TURN_FIRST_RAD = 0.25  # A heading error above which the base turns before it drives.
TURN_GAIN_PER_S, APPROACH_GAIN_PER_S = 2.5, 1.5
SPEED_SHARE = 0.6  # Share of the base's limits.
ACCELERATION_MPS2 = 1.0
AIMED_RAD = 0.02
GOAL_TOLERANCE_M, GOAL_TOLERANCE_RAD = 0.06, 0.06
STUCK_S, STUCK_M, STUCK_RAD = 2.0, 0.01, 0.02
LOOK_S = 0.5  # How often the path ahead is checked.


@dataclass(frozen=True, eq=False)
class FollowPath:
    """Drive along `corners_m` (N, 2) in the world, the first one near the base; then face `yaw_rad`, if not None.

    With `backwards` the base drives in reverse. `obstacle` returns the name of what blocks the rest of the path from a
    point, "" for nothing.
    """

    corners_m: np.ndarray
    yaw_rad: float | None = None
    backwards: bool = False
    obstacle: Callable[[WorldState, np.ndarray], str] | None = None


class FollowHandler:
    """Turns towards each corner, drives there, and turns to the final heading; a holonomic base only does the last.

    On a segment it aims at a point a little ahead on the line (pure pursuit). Source: R. Coulter, "Implementation of
    the Pure Pursuit Path Tracking Algorithm", CMU-RI-TR-92-01, 1992.
    """

    def __init__(self, context: HandlerContext) -> None:
        drive = context.model.drive
        assert drive is not None  # Built for robots with wheels only.
        self._robot = context.robot
        self._period_s = context.period_s
        self._fastest = SPEED_SHARE * np.array([drive.linear_limit_mps, drive.angular_limit_radps])
        self._holonomic = isinstance(drive, HolonomicDrive)
        if isinstance(drive, HolonomicDrive):
            self._fastest[0] = SPEED_SHARE * min(drive.linear_limit_mps, drive.lateral_limit_mps)

    def begin(self, intent: FollowPath, state: WorldState, *, seed: int) -> None:
        """Starts at the first segment."""
        del seed
        self._path, self._segment, self._speed_mps = intent, 1, 0.0
        self._turning, self._periods = True, 0
        self._marked, self._marked_at = state.robots[self._robot].base, 0
        self._last: Pose | None = None

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the next velocity; DONE once the base rests at the end, FAILED where it is blocked or off."""
        base = state.robots[self._robot].base
        self._periods += 1
        if self._segment < len(self._path.corners_m):
            reason = self._hindrance(state, base)
            return self._stopped(reason) if reason else self._drive(base)
        return self._arrive(base)

    def _drive(self, base: Pose) -> Command:
        here, corners = np.array(base.position_m[:2]), self._path.corners_m
        begin, end = corners[self._segment - 1], corners[self._segment]
        along, left_m = _on_segment(here, begin, end)
        if left_m <= CORNER_M:
            self._segment += 1
            self._turning, self._speed_mps = True, 0.0
            return self._command(0.0, 0.0)
        aim = along + min(LOOKAHEAD_M, left_m) * (end - begin) / max(float(np.linalg.norm(end - begin)), 1e-9)
        if self._holonomic:
            return self._slide(base, aim - here, left_m)
        sign = -1.0 if self._path.backwards else 1.0
        heading = np.arctan2(*(sign * (aim - here))[::-1])
        error = _wrapped(heading - base.yaw_rad)
        limit_mps, limit_radps = self._fastest
        turn = float(np.clip(TURN_GAIN_PER_S * error, -limit_radps, limit_radps))
        self._turning = abs(error) > (AIMED_RAD * 2 if self._turning else TURN_FIRST_RAD)
        wanted = 0.0 if self._turning else min(limit_mps, APPROACH_GAIN_PER_S * left_m)
        self._speed_mps = min(wanted, self._speed_mps + ACCELERATION_MPS2 * self._period_s)
        return self._command(sign * self._speed_mps, turn)

    def _slide(self, base: Pose, way_m: np.ndarray, left_m: float) -> Command:
        wanted = min(self._fastest[0], APPROACH_GAIN_PER_S * left_m)
        self._speed_mps = min(wanted, self._speed_mps + ACCELERATION_MPS2 * self._period_s)
        x, y = self._speed_mps * way_m / max(float(np.linalg.norm(way_m)), 1e-9)
        cos, sin = np.cos(base.yaw_rad), np.sin(base.yaw_rad)
        return self._command(cos * x + sin * y, 0.0, left_mps=cos * y - sin * x)

    def _command(self, forward_mps: float, turn_radps: float, *, left_mps: float = 0.0) -> Command:
        sideways = [left_mps] if self._holonomic else []
        return Command(base_velocity=np.array([forward_mps, *sideways, turn_radps]))

    def _arrive(self, base: Pose) -> Command | ControllerReport:
        before, self._last = self._last, base
        error = 0.0 if self._path.yaw_rad is None else _wrapped(self._path.yaw_rad - base.yaw_rad)
        limit_radps = self._fastest[1]
        if abs(error) > AIMED_RAD and not self._stuck(base):
            turn = float(np.clip(TURN_GAIN_PER_S * error, -limit_radps, limit_radps))
            return self._command(0.0, turn)
        if before is None or not base_rests(before, base):
            return self._command(0.0, 0.0)
        off_m = float(np.linalg.norm(np.subtract(base.position_m[:2], self._path.corners_m[-1])))
        if off_m > GOAL_TOLERANCE_M or abs(error) > GOAL_TOLERANCE_RAD:
            return failed(f"blocked: the base stopped {off_m:.2f} m and {abs(error):.2f} rad from its goal")
        return DONE

    def _hindrance(self, state: WorldState, base: Pose) -> str:
        look = self._path.obstacle
        if look is not None and self._periods % max(1, round(LOOK_S / self._period_s)) == 0:
            rest = np.concatenate([[base.position_m[:2]], self._path.corners_m[self._segment :]])
            body = look(state, rest)
            if body:
                return f"the way is blocked by {body!r}"
        return "blocked: the base does not move" if self._stuck(base) else ""

    def _stuck(self, base: Pose) -> bool:
        moved = np.linalg.norm(np.subtract(base.position_m, self._marked.position_m)) > STUCK_M
        if moved or abs(_wrapped(base.yaw_rad - self._marked.yaw_rad)) > STUCK_RAD:
            self._marked, self._marked_at = base, self._periods
        return (self._periods - self._marked_at) * self._period_s > STUCK_S

    def _stopped(self, reason: str) -> ControllerReport:
        return failed(reason)


def _on_segment(here: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the nearest point of a segment's line at or before its end, and how much of the segment is left, m."""
    way = end - begin
    length = float(np.linalg.norm(way))
    if length < 1e-9:
        return end, 0.0
    done = float((here - begin) @ way) / length
    return begin + min(done, length) * way / length, length - done


def _wrapped(angle_rad: float) -> float:
    return float((angle_rad + np.pi) % (2 * np.pi) - np.pi)
