"""DeltaPose: one small Cartesian step by differential inverse kinematics."""

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.controllers.config import ControllerConfig
from embodied.controllers.motion.timing import timed_path
from embodied.robots.kinematics import Kinematics, transform_from_pose
from embodied.types import Command, ControllerReport, ControllerStatus, DeltaPose, WorldState


class DeltaPoseController:
    """Shifts and turns one arm's tool by a small step from where it is; collisions are not checked."""

    def __init__(self, robot: str, moving: Kinematics, config: ControllerConfig) -> None:
        self._robot = robot
        self._moving = moving
        self._config = config

    def begin(self, intent: DeltaPose, state: WorldState) -> ControllerReport | None:
        """Solves for the step from the present posture; returns a FAILED report where the arm cannot make it."""
        here = state.robots[self._robot]
        turn = transform_from_pose(here.base).rotation.T
        now = self._moving.tool_transform(here.joint_position_rad)
        target = pin.SE3(
            pin.exp3(turn @ np.array(intent.rotation)) @ now.rotation,
            now.translation + turn @ np.array(intent.translation_m),
        )
        goal, remaining = self._moving.solve_near(target, here.joint_position_rad)
        if remaining > 0.0:
            return ControllerReport(
                ControllerStatus.FAILED, f"unreachable: the step ends {remaining * 1000:.0f} mm (or mrad) short"
            )
        way = np.stack([np.clip(here.joint_position_rad, self._moving.lower_rad, self._moving.upper_rad), goal])
        limits = self._config.speed_limits(self._moving.arm)
        self._path = timed_path(self._moving, way, limits, self._config.period_s)
        self._opening = float(intent.gripper_open) if self._moving.robot.gripper is not None else None
        self._period = 0
        return None

    def tick(self, _state: WorldState) -> Command | ControllerReport:
        """Returns the next command; the step is done once all are sent."""
        if self._period == len(self._path):
            return ControllerReport(ControllerStatus.DONE)
        self._period += 1
        return Command(joint_position_rad=self._path[self._period - 1], gripper=self._opening)
