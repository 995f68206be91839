"""Drive and Wait: a base velocity held for a while, and standing still."""

import numpy as np

from embodied.controllers.config import ControllerConfig
from embodied.geometry import Pose, angle_between
from embodied.types import Command, ControllerReport, ControllerStatus, Drive, Wait, WorldState

REST_M = 2e-4  # What a resting base may move in one control period.
REST_RAD = 1e-3


class DriveController:
    """Holds a unicycle velocity for a whole number of control periods, then stops the base and waits for its rest."""

    def __init__(self, robot: str, config: ControllerConfig) -> None:
        self._robot = robot
        self._period_s = config.period_s
        self._limit_s = config.arrival.settle_limit_s

    def begin(self, intent: Drive) -> None:
        """Starts; the duration is rounded to control periods, at least one."""
        self._velocity = np.array([intent.linear_mps, intent.angular_radps])
        self._left = max(1, round(intent.duration_s / self._period_s))
        self._last: Pose | None = None

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the velocity, then stops, then DONE once the base rests."""
        self._left -= 1
        if self._left >= 0:
            return Command(base_velocity=self._velocity)
        before, self._last = self._last, state.robots[self._robot].base
        if before is not None and (_rests(before, self._last) or -self._left * self._period_s > self._limit_s):
            return ControllerReport(ControllerStatus.DONE)
        return Command(base_velocity=np.zeros(2))


def _rests(before: Pose, after: Pose) -> bool:
    metres = float(np.linalg.norm(np.subtract(after.position_m, before.position_m)))
    return metres < REST_M and angle_between(before.orientation, after.orientation) < REST_RAD


class WaitController:
    """Lets a whole number of control periods pass; the motors keep their last targets."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s

    def begin(self, intent: Wait) -> None:
        """Starts; the duration is rounded to control periods."""
        self._left = round(intent.duration_s / self._period_s)

    def tick(self, _state: WorldState) -> Command | ControllerReport:
        """Returns empty commands, then DONE."""
        self._left -= 1
        return Command() if self._left >= 0 else ControllerReport(ControllerStatus.DONE)
