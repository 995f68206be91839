"""A robot that moves by kinematics alone: joints follow their targets, and a base drives as it is asked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from embodied.geometry import Pose, compose, invert, multiply_quaternions, pose_from_matrix, quaternion_from_yaw
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import joint_targets, openings
from embodied.robots.kinematics import configuration, kinematics, link_transforms
from embodied.robots.robot import Arm, DifferentialDrive, RobotModel
from embodied.robots.start import start_configuration
from embodied.scenes.scene import RobotPlacement
from embodied.simulators.attachment import Grip
from embodied.types import Command, EndEffectorState, RobotState

FINGER_SPEED_MPS = 0.1
Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class RobotInstant:
    """All that decides how a robot goes on. It is never changed: every change makes another.

    `joints_rad`, `speeds_radps` and `targets_rad` (J,) of all arms; `openings` and `aims` are present and wanted
    openings by end effector; `grips` what they hold, `Grip.body_in_link` being the body in the tool frame, and
    `touching` the openings at which their fingers touch it.
    """

    joints_rad: np.ndarray
    speeds_radps: np.ndarray
    targets_rad: np.ndarray
    base: Pose
    base_velocity: tuple[float, ...]
    openings: Mapping[str, float]
    aims: Mapping[str, float]
    grips: Mapping[str, Grip] = field(default_factory=dict)
    touching: Mapping[str, float] = field(default_factory=dict)


class KinematicRobot:
    """One robot of a scene. Raises `UnknownNameError` and `SceneError` as the catalogue and `start_configuration`."""

    def __init__(self, placement: RobotPlacement) -> None:
        self.name = placement.name
        self.model: RobotModel = robot_model(placement.model)
        self._placement = placement
        self._start = start_configuration(placement, self.model)
        limits = [limit for arm in self.model.arms for limit in arm.velocity_limit_radps]
        self._speed_limits = np.array(limits, dtype=np.float64)

    def start(self) -> RobotInstant:
        """Returns the robot as the scene places it."""
        drive = self.model.drive
        openings_ = {arm.name: self._placement.gripper for arm in self.model.arms if arm.gripper is not None}
        return RobotInstant(
            joints_rad=self._start,
            speeds_radps=np.zeros_like(self._start),
            targets_rad=self._start,
            base=self._placement.base,
            base_velocity=(0.0,) * (0 if drive is None else len(drive.velocity_limits)),
            openings=openings_,
            aims=openings_,
        )

    def aimed(self, now: RobotInstant, command: Command) -> RobotInstant:
        """Returns `now` with the targets of a checked `command`; parts that are None keep theirs."""
        changed = replace(now, aims={**now.aims, **openings(self.model, command)})
        if command.joint_position_rad is not None:
            changed = replace(changed, targets_rad=joint_targets(self.model, command, now.targets_rad))
        if command.base_velocity is not None:
            velocity = np.asarray(command.base_velocity, dtype=np.float64).tolist()
            changed = replace(changed, base_velocity=tuple(velocity))
        return changed

    def moved(self, now: RobotInstant, period_s: float, is_free: Callable[[Point], bool]) -> RobotInstant:
        """Returns the robot one control period of `period_s` after `now`.

        A base does not enter a point (x, y) that `is_free` refuses, unless it stands on such a point already: then it
        may leave it.
        """
        most = self._speed_limits * period_s
        off = now.targets_rad - now.joints_rad
        joints = np.where(np.abs(off) <= most, now.targets_rad, now.joints_rad + np.clip(off, -most, most))
        return replace(
            now,
            joints_rad=joints,
            speeds_radps=(joints - now.joints_rad) / period_s,
            base=self._driven(now, period_s, is_free),
            openings={name: self._opened(now, self.model.end_effector(name), period_s) for name in now.openings},
        )

    def tool(self, now: RobotInstant, end_effector: str) -> Pose:
        """Returns the world pose of the tool frame of an `end_effector`."""
        solver = kinematics(self.model, end_effector)
        return compose(now.base, solver.tool(now.joints_rad[self.model.columns(end_effector)]))

    def links(self, now: RobotInstant) -> dict[str, Pose]:
        """Returns the world poses of all links by name, always in the same order; wheels do not turn."""
        values = configuration(self.model, now.joints_rad, now.openings)
        placed = link_transforms(self.model, values)
        return {name: compose(now.base, pose_from_matrix(link.homogeneous)) for name, link in placed.items()}

    def state(self, now: RobotInstant) -> RobotState:
        """Returns the state that tasks and policies see."""
        ends = {}
        for arm in self.model.arms:
            grip, opening = now.grips.get(arm.name), now.openings.get(arm.name, 0.0)
            fingers = () if arm.gripper is None else arm.gripper.positions(opening)
            held = None if grip is None else grip.body
            ends[arm.name] = EndEffectorState(self.tool(now, arm.name), opening, held, fingers)
        return RobotState(now.joints_rad.copy(), now.speeds_radps.copy(), now.base, ends)

    def placed(self, state: RobotState, poses: Mapping[str, Pose]) -> RobotInstant:
        """Returns the robot as in a written `state`, at rest, holding the bodies that it holds there at their `poses`.

        Joints keep their speeds as facts; targets are where everything is.
        """
        ends = state.end_effectors
        held = {name: one.held for name, one in ends.items() if one.held is not None}
        return replace(
            self.start(),
            joints_rad=np.array(state.joint_position_rad, dtype=np.float64),
            speeds_radps=np.array(state.joint_velocity_radps, dtype=np.float64),
            targets_rad=np.array(state.joint_position_rad, dtype=np.float64),
            base=state.base,
            openings={arm.name: ends[arm.name].gripper for arm in self.model.arms if arm.gripper is not None},
            aims={
                arm.name: 0.0 if arm.name in held else ends[arm.name].gripper
                for arm in self.model.arms
                if arm.gripper is not None
            },
            grips={name: Grip(body, compose(invert(ends[name].tool), poses[body])) for name, body in held.items()},
            touching={name: ends[name].gripper for name in held},
        )

    def _opened(self, now: RobotInstant, arm: Arm, period_s: float) -> float:
        if arm.gripper is None:
            return 0.0
        aim = max(now.aims[arm.name], now.touching.get(arm.name, 0.0))
        most = FINGER_SPEED_MPS * period_s / arm.gripper.stroke_m
        present = now.openings[arm.name]
        return aim if abs(aim - present) <= most else present + math.copysign(most, aim - present)

    def _driven(self, now: RobotInstant, period_s: float, is_free: Callable[[Point], bool]) -> Pose:
        if not any(now.base_velocity):
            return now.base
        sideways = 0.0 if isinstance(self.model.drive, DifferentialDrive) else now.base_velocity[1]
        forward, turn_rad = now.base_velocity[0], now.base_velocity[-1] * period_s
        # Along an arc the mean heading is that of its middle, and the chord is shorter than the arc.
        heading = now.base.yaw_rad + turn_rad / 2
        chord_s = period_s * float(np.sinc(turn_rad / (2 * np.pi)))
        x, y, z = now.base.position_m
        there = (
            x + chord_s * (forward * math.cos(heading) - sideways * math.sin(heading)),
            y + chord_s * (forward * math.sin(heading) + sideways * math.cos(heading)),
        )
        if there != (x, y) and not is_free(there) and is_free((x, y)):
            there = (x, y)
        return Pose((*there, z), multiply_quaternions(quaternion_from_yaw(turn_rad), now.base.orientation))
