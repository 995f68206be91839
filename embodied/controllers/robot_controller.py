"""The controller of one robot: passes an intent to the handler of its type."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from embodied.controllers.handler import Handler, HandlerContext
from embodied.controllers.registry import HANDLERS, handled_intents
from embodied.controllers.settings import ControllerSettings
from embodied.errors import IntentError
from embodied.robots.catalogue import robot_model
from embodied.scenes.scene import Scene
from embodied.types import Command, ControllerReport, ControllerStatus, Intent, WorldState


class RobotController:
    """Turns the intents of one robot into commands; implements `protocols.Controller`.

    It has the handlers for the parts of the robot: an arm for MoveTo, wheels for Drive, none for Wait. It is cheap to
    build: geometry is shared within the process.
    """

    def __init__(
        self, scene: Scene, robot: str, settings: ControllerSettings, *, period_s: float, asset_root: str = ""
    ) -> None:
        model = robot_model(scene.robot(robot).model)
        self._context = HandlerContext(scene, robot, model, settings, period_s, asset_root)
        self._handlers: Mapping[type, Handler] = {
            intent: HANDLERS[intent](self._context) for intent in HANDLERS if intent in self.handles
        }
        self._active: Handler | None = None

    @property
    def handles(self) -> frozenset[type]:
        """The types of intents that it carries out."""
        return handled_intents(self._context.model)

    def begin(self, intent: Intent, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts on `intent`; returns a FAILED report at once where it cannot be done, else None.

        `state` is the present one. Raises `IntentError` for values of the wrong kind, size or unit, and for intents
        that the robot has no handler for. `seed` only matters where a path has to be searched for. An intent that is
        still running ends without a report.
        """
        self._active = None
        handler = self._handlers.get(type(intent))
        if handler is None:
            able = ", ".join(sorted(kind.__name__ for kind in self._handlers))
            raise IntentError(
                f"Robot {self._context.robot!r} ({self._context.model.name}) has no controller for "
                f"{type(intent).__name__}.",
                remedy=f"It has one for: {able}.",
            )
        report = handler.begin(intent, state, seed=seed)
        self._active = handler if report is None else None
        return report

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the command of the next control period, or the report that ends the intent.

        A base that an earlier intent left rolling is stopped, unless the intent moves the base itself.
        """
        if self._active is None:
            raise IntentError("A tick must follow a `begin` that did not fail.", remedy="Begin an intent first.")
        outcome = self._active.tick(state)
        if isinstance(outcome, ControllerReport):
            self._active = None
            return outcome
        if outcome.base_velocity is None:
            stop = self.hold().base_velocity
            outcome = outcome if stop is None else replace(outcome, base_velocity=stop)
        self._context.targets.record(self._context.model, outcome)
        return outcome

    def cancel(self) -> ControllerReport:
        """Ends the running intent, if any, with a CANCELLED report. `hold` then keeps the robot still."""
        self._active = None
        return ControllerReport(ControllerStatus.CANCELLED)

    def hold(self) -> Command:
        """Returns the command that keeps the robot still while it has no intent.

        The arm and the gripper keep their last targets; a base that was left rolling is stopped.
        """
        rolling = self._context.targets.base_velocity
        if rolling is None or not rolling.any():
            return Command()
        stop = Command(base_velocity=np.zeros_like(rolling))
        self._context.targets.record(self._context.model, stop)
        return stop
