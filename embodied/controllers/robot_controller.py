"""The controller of one robot: checks an intent and hands it to the part that can carry it out."""

from typing import Protocol

from embodied.controllers.config import ControllerConfig
from embodied.controllers.drive import DriveController, WaitController
from embodied.controllers.intents import check_intent
from embodied.controllers.motion.delta_pose import DeltaPoseController
from embodied.controllers.motion.move_to import KeyframeController
from embodied.errors import IntentError
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics
from embodied.scenes.scene import Scene
from embodied.types import Command, ControllerReport, DeltaPose, Drive, Intent, MoveTo, Wait, WorldState


class _Ticking(Protocol):
    def tick(self, state: WorldState, /) -> Command | ControllerReport: ...


class RobotController:
    """Turns the intents of one robot into commands; implements `protocols.Controller`.

    MoveTo and DeltaPose need an arm, Drive needs wheels, Wait needs nothing. Cheap to make: geometry is shared
    within the process.
    """

    def __init__(self, scene: Scene, robot: str, config: ControllerConfig) -> None:
        self._robot = robot
        self._model = robot_model(scene.robot(robot).model)
        self._config = config
        self._active: _Ticking | None = None
        self._drive = DriveController(robot, config)
        self._wait = WaitController(config.period_s)
        if self._model.arm is not None:
            moving = kinematics(self._model)
            self._keyframe = KeyframeController(scene, robot, moving, config)
            self._delta_pose = DeltaPoseController(robot, moving, config)

    def begin(self, intent: Intent, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts on `intent`; returns a FAILED report at once where it cannot be done, else None.

        Raises `IntentError` for values of the wrong kind, size or unit, and for intents that the robot has no
        controller for. `seed` only matters where a path has to be searched for.
        """
        self._active = None
        check_intent(self._robot, self._model, intent, self._config)
        report = None
        match intent:
            case MoveTo():
                self._active = self._keyframe
                report = self._keyframe.begin(intent, state, seed=seed)
            case DeltaPose():
                self._active = self._delta_pose
                report = self._delta_pose.begin(intent, state)
            case Drive():
                self._active = self._drive
                self._drive.begin(intent)
            case Wait():
                self._active = self._wait
                self._wait.begin(intent)
        if report is not None:
            self._active = None
        return report

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the command of the next control period, or the report that ends the intent."""
        if self._active is None:
            raise IntentError("A tick must follow a `begin` that did not fail.", remedy="Begin an intent first.")
        outcome = self._active.tick(state)
        if isinstance(outcome, ControllerReport):
            self._active = None
        return outcome
