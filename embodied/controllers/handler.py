"""What carries out one kind of intent for one robot."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from embodied.controllers.settings import ControllerSettings
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import Scene
from embodied.types import Command, ControllerReport, WorldState


@dataclass(eq=False)
class MotorTargets:
    """What the motors of one robot were last commanded: None before the first command, and for parts it lacks."""

    joint_position_rad: np.ndarray | None = None
    gripper: float | None = None
    base_velocity: np.ndarray | None = None

    def record(self, command: Command) -> None:
        """Takes over the parts of `command` that are not None."""
        if command.joint_position_rad is not None:
            self.joint_position_rad = command.joint_position_rad
        if command.gripper is not None:
            self.gripper = command.gripper
        if command.base_velocity is not None:
            self.base_velocity = command.base_velocity


@dataclass(frozen=True, eq=False)
class HandlerContext:
    """What all handlers of one robot share: the scene, its name and model, the settings, and its motors' targets."""

    scene: Scene
    robot: str
    model: RobotModel
    settings: ControllerSettings
    targets: MotorTargets = field(default_factory=MotorTargets)


class Handler(Protocol):
    """Carries out one kind of intent for one robot, one intent after another; `begin` may come at any time."""

    def begin(self, intent: Any, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts on `intent`; returns a FAILED report at once where it cannot be done, else None.

        Raises `IntentError` for values of the wrong kind, size or unit, before anything has changed.
        """
        ...

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the command of the next control period, or the report that ends the intent."""
        ...


class HandlerType(Protocol):
    """A class of handlers, as it is registered for a type of intent."""

    def __call__(self, context: HandlerContext) -> Handler:
        """Returns the handler of one robot for one episode."""
        ...

    def suits(self, model: RobotModel, /) -> bool:
        """Returns whether a robot of `model` has the parts that it needs."""
        ...
