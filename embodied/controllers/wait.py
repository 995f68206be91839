"""Wait: standing still for a while."""

from embodied.controllers.checks import check_duration
from embodied.controllers.handler import HandlerContext
from embodied.robots.robot import RobotModel
from embodied.types import Command, ControllerReport, ControllerStatus, Wait, WorldState


class WaitHandler:
    """Lets a whole number of control periods pass; the motors keep their last targets."""

    def __init__(self, context: HandlerContext) -> None:
        self._period_s = context.period_s

    @staticmethod
    def suits(_model: RobotModel, /) -> bool:
        """Returns True: every robot can wait."""
        return True

    def begin(self, intent: Wait, state: WorldState, *, seed: int) -> None:
        """Starts; the duration is rounded to control periods. Raises `IntentError`."""
        del state, seed
        check_duration(intent.duration_s, "Wait.duration_s", lowest=0.0)
        self._left = round(intent.duration_s / self._period_s)

    def tick(self, _state: WorldState) -> Command | ControllerReport:
        """Returns empty commands, then DONE."""
        self._left -= 1
        return Command() if self._left >= 0 else ControllerReport(ControllerStatus.DONE)
