"""Drive and Wait: a base velocity held for a while, and standing still."""

import numpy as np

from embodied.types import Command, Drive, Report, Verdict, Wait, WorldState


class DriveController:
    """Holds a unicycle velocity for a whole number of control periods, then stops the base."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s

    def begin(self, intent: Drive) -> None:
        """Starts; the duration is rounded to control periods, at least one."""
        self._velocity = np.array([intent.linear_mps, intent.angular_radps])
        self._left = max(1, round(intent.duration_s / self._period_s))

    def tick(self, _state: WorldState) -> Command | Report:
        """Returns the velocity, then one stop, then DONE."""
        self._left -= 1
        if self._left >= 0:
            return Command(base_velocity=self._velocity)
        return Command(base_velocity=np.zeros(2)) if self._left == -1 else Report(Verdict.DONE)


class WaitController:
    """Lets a whole number of control periods pass; the motors keep their last targets."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s

    def begin(self, intent: Wait) -> None:
        """Starts; the duration is rounded to control periods."""
        self._left = round(intent.duration_s / self._period_s)

    def tick(self, _state: WorldState) -> Command | Report:
        """Returns empty commands, then DONE."""
        self._left -= 1
        return Command() if self._left >= 0 else Report(Verdict.DONE)
