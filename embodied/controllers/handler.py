"""The interface of handlers: each executes one kind of intent for one robot."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from embodied.controllers.settings import ControllerSettings
from embodied.robots.commands import arm_targets, openings
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import Scene
from embodied.types import Command, ControllerReport, WorldState


@dataclass(eq=False)
class MotorTargets:
    """The last commanded targets of one robot's motors; empty or None before the first command, and for missing parts.

    `joint_position_rad` holds the targets (its joints,) of each arm, and `gripper` openings, by end effector.
    """

    joint_position_rad: dict[str, np.ndarray] = field(default_factory=dict)
    gripper: dict[str, float] = field(default_factory=dict)
    base_velocity: np.ndarray | None = None

    def record(self, model: RobotModel, command: Command) -> None:
        """Takes over the parts of a command to a robot of `model` that are not None."""
        self.joint_position_rad.update(arm_targets(model, command))
        self.gripper.update(openings(model, command))
        if command.base_velocity is not None:
            self.base_velocity = command.base_velocity


@dataclass(frozen=True, eq=False)
class HandlerContext:
    """The common inputs of all handlers of one robot: the scene, its name and model, the settings, and motor targets.

    `period_s` is the control period; `asset_root` confines the scene's mesh files, "" for the public robot files.
    """

    scene: Scene
    robot: str
    model: RobotModel
    settings: ControllerSettings
    period_s: float
    asset_root: str = ""
    targets: MotorTargets = field(default_factory=MotorTargets)


class Handler(Protocol):
    """Executes one kind of intent for one robot, one intent after another; `begin` may come at any time."""

    def begin(self, intent: Any, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts on `intent` in `state`; returns a FAILED report at once where it cannot be done, else None.

        `seed` decides random searches. Raises `IntentError` for values of the wrong kind, size or unit, before anything
        has changed.
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
