"""Drive: a base velocity held for a while."""

import numpy as np

from embodied.controllers.checks import check_duration, check_number
from embodied.controllers.handler import HandlerContext
from embodied.errors import IntentError
from embodied.geometry import Pose, angle_between
from embodied.robots.robot import HolonomicDrive, RobotModel
from embodied.types import Command, ControllerReport, ControllerStatus, Drive, WorldState

REST_M = 2e-4  # The largest motion of a resting base in one control period.
REST_RAD = 1e-3


class DriveHandler:
    """Holds a base velocity for a whole number of control periods, then stops the base and waits until it rests."""

    def __init__(self, context: HandlerContext) -> None:
        self._robot = context.robot
        self._model = context.model
        self._period_s = context.period_s
        self._limit_s = context.settings.arrival.settle_limit_s

    @staticmethod
    def suits(model: RobotModel, /) -> bool:
        """Returns whether the robot has wheels."""
        return model.drive is not None

    def begin(self, intent: Drive, state: WorldState, *, seed: int) -> None:
        """Starts; the duration is rounded to control periods, at least one. Raises `IntentError`."""
        del state, seed
        self._check(intent)
        sideways = [intent.lateral_mps] if isinstance(self._model.drive, HolonomicDrive) else []
        self._velocity = np.array([intent.linear_mps, *sideways, intent.angular_radps], dtype=float)
        self._left = max(1, round(intent.duration_s / self._period_s))
        self._last: Pose | None = None

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the velocity, then stops, then DONE once the base rests."""
        self._left -= 1
        if self._left >= 0:
            return Command(base_velocity=self._velocity)
        before, self._last = self._last, state.robots[self._robot].base
        if before is not None and (base_rests(before, self._last) or -self._left * self._period_s > self._limit_s):
            return ControllerReport(ControllerStatus.DONE)
        return Command(base_velocity=np.zeros_like(self._velocity))

    def _check(self, intent: Drive) -> None:
        drive = self._model.drive
        if drive is None:
            raise IntentError(f"Robot {self._robot!r} must have wheels to drive.", value=self._model.name)
        lateral_limit_mps = drive.lateral_limit_mps if isinstance(drive, HolonomicDrive) else 0.0
        for name, value, limit, unit in (
            ("linear_mps", intent.linear_mps, drive.linear_limit_mps, "m/s"),
            ("lateral_mps", intent.lateral_mps, lateral_limit_mps, "m/s"),
            ("angular_radps", intent.angular_radps, drive.angular_limit_radps, "rad/s"),
        ):
            if abs(check_number(value, f"Drive.{name}")) > limit + 1e-9:
                raise IntentError(
                    f"Drive.{name} of {self._robot!r} must lie within +-{limit} {unit}.", value=value, remedy="Clip it."
                )
        check_duration(intent.duration_s, "Drive.duration_s", lowest=1e-6)


def base_rests(before: Pose, after: Pose) -> bool:
    """Returns whether a base has stood still from one control period to the next."""
    metres = float(np.linalg.norm(np.subtract(after.position_m, before.position_m)))
    return metres < REST_M and angle_between(before.orientation, after.orientation) < REST_RAD
