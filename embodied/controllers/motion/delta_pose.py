"""DeltaPose: one small Cartesian step by differential inverse kinematics."""

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.controllers.checks import check_end_effector, check_flag, check_numbers
from embodied.controllers.handler import HandlerContext
from embodied.controllers.motion.timing import timed_path
from embodied.controllers.shared_grasp import shared_grasp
from embodied.errors import IntentError
from embodied.robots.commands import arm_command
from embodied.robots.kinematics import kinematics, transform_from_pose
from embodied.robots.robot import RobotModel
from embodied.types import Command, ControllerReport, ControllerStatus, DeltaPose, WorldState


class DeltaPoseHandler:
    """Shifts and turns one arm's tool by a small step from where it is; collisions are not checked."""

    def __init__(self, context: HandlerContext) -> None:
        self._robot = context.robot
        self._model = context.model
        self._settings = context.settings
        self._period_s = context.period_s

    @staticmethod
    def suits(model: RobotModel, /) -> bool:
        """Returns whether the robot has an arm."""
        return bool(model.arms)

    def begin(self, intent: DeltaPose, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Solves for the step from the present posture; returns a FAILED report where the arm cannot make it.

        Raises `IntentError` for a step that is malformed or too long.
        """
        del seed
        self._check(intent)
        self._moving = moving = kinematics(self._model, intent.end_effector)
        here = state.robots[self._robot]
        turn = transform_from_pose(here.base).rotation.T
        joints = here.joint_position_rad[moving.columns]
        now = moving.tool_transform(joints)
        target = pin.SE3(
            pin.exp3(turn @ np.array(intent.rotation)) @ now.rotation,
            now.translation + turn @ np.array(intent.translation_m),
        )
        goal, remaining = moving.solve_near(target, joints)
        if remaining > 0.0:
            return ControllerReport(
                ControllerStatus.FAILED, f"unreachable: the step ends {remaining * 1000:.0f} mm (or mrad) short"
            )
        way = np.stack([np.clip(joints, moving.lower_rad, moving.upper_rad), goal])
        limits = self._settings.speed_limits(moving.arm)
        self._path = timed_path(moving, way, limits, self._period_s)
        self._opening = float(intent.gripper_open) if moving.arm.gripper is not None else None
        self._period = 0
        return self._refusal(state)

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the next command; the step is done once all are sent, and fails where another gripper pulls."""
        if self._period == len(self._path):
            return ControllerReport(ControllerStatus.DONE)
        report = self._refusal(state)
        if report is not None:
            return report
        self._period += 1
        return arm_command(self._model, self._moving.arm, self._path[self._period - 1], self._opening)

    def _refusal(self, state: WorldState) -> ControllerReport | None:
        closed = self._path[: 0 if self._opening else None]  # It lets go in its first period, before it moves.
        return shared_grasp(self._robot, state, self._moving, closed[-1:])

    def _check(self, intent: DeltaPose) -> None:
        check_end_effector(intent.end_effector, self._robot, self._model)
        for name, value, limit, unit in (
            ("translation_m", intent.translation_m, self._settings.longest_step_m, "m"),
            ("rotation", intent.rotation, self._settings.largest_step_rad, "rad"),
        ):
            length = float(np.linalg.norm(check_numbers(value, f"DeltaPose.{name}", 3)))
            if length > limit + 1e-9:
                raise IntentError(
                    f"DeltaPose.{name} must be at most {limit} {unit} long.",
                    value=length,
                    remedy="Split it into several steps, or use MoveTo.",
                )
        check_flag(intent.gripper_open, "DeltaPose.gripper_open")
