"""One robot in PyBullet: its joints by role, its motors, its state."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from embodied.errors import RobotModelError
from embodied.geometry import Pose, compose, invert
from embodied.robots.assets import collision_urdf_path, urdf_path
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import joint_targets, openings
from embodied.robots.robot import Arm, DifferentialDrive, HolonomicDrive, RobotModel
from embodied.robots.start import start_configuration
from embodied.scenes.scene import RobotPlacement
from embodied.simulators.bullet.pushed_base import PushedBase
from embodied.types import Command, EndEffectorState, RobotState

ARM_POSITION_GAIN = 0.3  # Share of the position error that the motor corrects in one physics step.
FINGER_SPEED_MPS = 0.1
HELD_FORCE_N = 5.0  # Enough to keep the fingers where they touch; the attachment carries the load.


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of the motors: joints (J,) of all arms, openings by end effector, and the base velocity.

    `fingers_m` freezes the fingers of the end effectors that hold something, by name; the others are absent.
    """

    joint_position_rad: np.ndarray
    gripper: Mapping[str, float]
    base_velocity: np.ndarray
    fingers_m: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class EndEffectorLinks:
    """Where an arm's end effector lies among the joints and links of its robot; no fingers without a gripper.

    `links` are all that do not collide with what it holds: the tool's link, the fingers, and all others beyond it.
    """

    arm: Arm
    tool_link: int
    finger_joints: tuple[int, ...]
    finger_links: tuple[int, ...]
    links: tuple[int, ...]


class BulletRobot:
    """A robot of the catalogue in one PyBullet client.

    Raises `SceneError` where a start configuration has the wrong length or lies outside the limits.
    """

    def __init__(self, bullet: Any, placement: RobotPlacement, *, visuals: bool) -> None:
        self.name = placement.name
        self.model: RobotModel = robot_model(placement.model)
        self._bullet = bullet
        start = start_configuration(placement, self.model)
        self.uid = _load(bullet, placement, self.model, visuals=visuals)
        infos = [bullet.getJointInfo(self.uid, index) for index in range(bullet.getNumJoints(self.uid))]
        joints = {info[1].decode(): info[0] for info in infos}
        self.links: dict[str, int] = {bullet.getBodyInfo(self.uid)[0].decode(): -1}
        self.links |= {info[12].decode(): info[0] for info in infos}
        drive = self.model.drive
        self._arm_joints = [joints[name] for name in self.model.joints]
        self.end_effectors = {arm.name: _end_effector(arm, joints, self.links, infos) for arm in self.model.arms}
        wheels = drive if isinstance(drive, DifferentialDrive) else None
        self._wheels_left = [joints[name] for name in wheels.left_joints] if wheels else []
        self._wheels_right = [joints[name] for name in wheels.right_joints] if wheels else []
        self._pushed = PushedBase(bullet, self.uid, drive) if isinstance(drive, HolonomicDrive) else None
        self._base_in_inertial = self._offset_of_base()
        self._centre: object = None
        self._base = Pose()
        self._prepare(start, placement.gripper)
        if len(self.model.arms) > 1:
            self._let_only_arms_collide()
        self.targets = Targets(start, dict.fromkeys(self.end_effectors, placement.gripper), self._rest())
        fingers = [joint for one in self.end_effectors.values() for joint in one.finger_joints]
        self._read_joints = [*self._arm_joints, *fingers, *self._wheels_left, *self._wheels_right]
        self._arm_motors, self._arm_gains = self._arm_constants()
        self._arm_positions: list[list[float]] = []
        self._arm_speeds: list[float] = []
        self._arm_sent: tuple[list[float], list[float]] | None = None
        self._driven: Targets | None = None
        self.release_error: Mapping[str, tuple[float, float, float]] = {}

    def aim(self, command: Command) -> None:
        """Takes over the parts of a checked command that are not None."""
        last, changes = self.targets, {}
        if command.joint_position_rad is not None:
            changes["joint_position_rad"] = joint_targets(self.model, command, last.joint_position_rad)
        if command.gripper is not None:
            wanted = openings(self.model, command)
            changes["gripper"] = {**last.gripper, **wanted}
            # Opening ends the freezing of fingers.
            opened = {name for name, opening in wanted.items() if opening > last.gripper[name]}
            changes["fingers_m"] = {name: aims for name, aims in last.fingers_m.items() if name not in opened}
        if command.base_velocity is not None:
            changes["base_velocity"] = np.array(command.base_velocity, dtype=np.float64)
        self.targets = replace(last, **changes)
        self.release_error = command.release_error or {}

    def begin_period(self, previous_rad: np.ndarray, substeps: int, period_s: float) -> None:
        """Prepares the arm's targets for `substeps` physics steps in `period_s`.

        They run evenly from `previous_rad` to the present ones.
        """
        self._step_s = period_s / substeps
        if self._arm_motors is None:
            return
        step = self.targets.joint_position_rad - previous_rad
        self._arm_speeds = (step / period_s).tolist()
        if any(self._arm_speeds):
            shares = np.arange(1, substeps + 1) / substeps
            self._arm_positions = (previous_rad + shares[:, None] * step).tolist()
        else:
            self._arm_positions = [previous_rad.tolist()] * substeps

    def drive_motors(self, substep: int) -> None:
        """Sets the motors for one physics step, `substep` from 0 on; motors keep what they were set to until then."""
        if self._arm_motors is not None:
            sent = (self._arm_positions[substep], self._arm_speeds)
            if sent != self._arm_sent:
                self._bullet.setJointMotorControlArray(*self._arm_motors, *sent, *self._arm_gains)
                self._arm_sent = sent
        if self.targets is not self._driven:
            for name, end_effector in self.end_effectors.items():
                self._drive_fingers(name, end_effector)
            self._drive_wheels()
            self._driven = self.targets
        if self._pushed is not None:
            self._pushed.push(self.targets.base_velocity, self._step_s)

    def state(self, holding: Mapping[tuple[str, str], str]) -> RobotState:
        """Returns the state of the robot now; `holding` names held bodies by robot and end effector."""
        bullet = self._bullet
        joints = bullet.getJointStates(self.uid, self._read_joints) if self._read_joints else ()
        arms = joints[: len(self._arm_joints)]
        end_effectors, start = {}, len(arms)
        for name, one in self.end_effectors.items():
            link = bullet.getLinkState(self.uid, one.tool_link, 0, 1)  # 0: no velocity, 1: forward kinematics
            tool = compose(Pose(link[4], link[5]), one.arm.tool_in_link)
            end = start + len(one.finger_joints)
            fingers = tuple(joint[0] for joint in joints[start:end])
            end_effectors[name] = EndEffectorState(
                tool, _opening(one, fingers), holding.get((self.name, name)), fingers
            )
            start = end
        return RobotState(
            joint_position_rad=np.array([joint[0] for joint in arms], dtype=np.float64),
            joint_velocity_radps=np.array([joint[1] for joint in arms], dtype=np.float64),
            base=self._base_pose(),
            end_effectors=end_effectors,
            wheels_rad=tuple(joint[0] for joint in joints[start:]),
        )

    def place(self, state: RobotState) -> None:
        """Stands as in `state`, at rest but for the arms' joint speeds; motors hold everything where it is."""
        bullet = self._bullet
        if not self.model.fixed:
            centre = compose(state.base, invert(self._base_in_inertial))
            bullet.resetBasePositionAndOrientation(self.uid, centre.position_m, centre.orientation)
            bullet.resetBaseVelocity(self.uid, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        speeds = state.joint_velocity_radps.tolist()
        for joint, angle, speed in zip(self._arm_joints, state.joint_position_rad.tolist(), speeds, strict=True):
            bullet.resetJointState(self.uid, joint, angle, speed)
        for name, one in self.end_effectors.items():
            for joint, position in zip(one.finger_joints, state.end_effectors[name].fingers, strict=True):
                bullet.resetJointState(self.uid, joint, position)
        # A state of another simulator may have no wheel angles; they then stay unchanged.
        for wheel, angle in zip([*self._wheels_left, *self._wheels_right], state.wheels_rad, strict=False):
            bullet.resetJointState(self.uid, wheel, angle)
        self.targets = Targets(
            np.array(state.joint_position_rad),
            {name: 0.0 if one.held else one.gripper for name, one in state.end_effectors.items()},
            self._rest(),
            {name: one.fingers for name, one in state.end_effectors.items() if one.held},
        )

    def freeze_fingers(self, end_effector: str) -> None:
        """Keeps the fingers of an end effector where they are until its gripper is asked to open."""
        states = self._bullet.getJointStates(self.uid, self.end_effectors[end_effector].finger_joints)
        frozen = {**self.targets.fingers_m, end_effector: tuple(state[0] for state in states)}
        self.targets = replace(self.targets, fingers_m=frozen)

    def link_poses(self) -> dict[str, Pose]:
        """Returns the world poses of the base link and of all links by name, in URDF order."""
        states = self._bullet.getLinkStates(self.uid, range(len(self.links) - 1), computeForwardKinematics=1)
        poses = (self._base_pose(), *(Pose(state[4], state[5]) for state in states))
        return dict(zip(self.links, poses, strict=True))

    def _prepare(self, start: np.ndarray, opening: float) -> None:
        bullet = self._bullet
        for joint, value in zip(self._arm_joints, start, strict=True):
            bullet.resetJointState(self.uid, joint, float(value))
        for one in self.end_effectors.values():
            if one.arm.gripper is not None:
                for joint, position in zip(one.finger_joints, one.arm.gripper.positions(opening), strict=True):
                    bullet.resetJointState(self.uid, joint, position)
                for link in one.finger_links:
                    bullet.changeDynamics(self.uid, link, lateralFriction=1.0)
        for name, link in self.links.items():
            bullet.changeDynamics(self.uid, link, linearDamping=0.0, angularDamping=0.0)
            if "caster" in name:
                bullet.changeDynamics(self.uid, link, lateralFriction=0.0)
        for wheel in [*self._wheels_left, *self._wheels_right]:
            bullet.changeDynamics(self.uid, wheel, lateralFriction=1.5)

    def _let_only_arms_collide(self) -> None:
        """Makes links of different arms collide; links of one arm never do, as in robots with one."""
        owner = self._owners()
        for first, second in itertools.combinations(self.links.values(), 2):
            across = first in owner and second in owner and owner[first] != owner[second]
            self._bullet.setCollisionFilterPair(self.uid, self.uid, first, second, int(across))

    def _owners(self) -> dict[int, str]:
        """Returns the arm that each link belongs to; links of the base and the torso are absent."""
        owner: dict[int, str] = {}
        for arm in self.model.arms:
            if arm.prefix:
                owner |= {link: arm.name for name, link in self.links.items() if name.startswith(arm.prefix)}
                continue
            moved = {self._arm_joints[self.model.columns(arm.name)][0]}
            for link in range(self._bullet.getNumJoints(self.uid)):  # Parents come before children.
                if self._bullet.getJointInfo(self.uid, link)[16] in moved:
                    moved.add(link)
            owner |= dict.fromkeys(moved, arm.name)
        return owner

    def _arm_constants(self) -> tuple[tuple[Any, ...] | None, tuple[Any, ...]]:
        """Returns what stands before and after the targets in every command to the arms' motors."""
        if not self.model.arms:
            return None, ()
        count = len(self._arm_joints)
        before = (self.uid, self._arm_joints, self._bullet.POSITION_CONTROL)
        efforts_nm = [effort for arm in self.model.arms for effort in arm.effort_limit_nm]
        return before, (efforts_nm, [ARM_POSITION_GAIN] * count, [1.0] * count)

    def _drive_fingers(self, name: str, end_effector: EndEffectorLinks) -> None:
        gripper, bullet = end_effector.arm.gripper, self._bullet
        if gripper is None:
            return
        frozen = self.targets.fingers_m.get(name)
        aims = frozen or gripper.positions(self.targets.gripper[name])
        force_n = HELD_FORCE_N if frozen else gripper.force_n
        for joint, aim, per_metre in zip(end_effector.finger_joints, aims, gripper.per_metre, strict=True):
            bullet.setJointMotorControl2(
                self.uid,
                joint,
                bullet.POSITION_CONTROL,
                targetPosition=aim,
                force=force_n / per_metre,
                maxVelocity=FINGER_SPEED_MPS * per_metre,
            )

    def _drive_wheels(self) -> None:
        drive, bullet = self.model.drive, self._bullet
        if not isinstance(drive, DifferentialDrive):
            return
        linear, angular = self.targets.base_velocity
        turn = angular * drive.track_m / 2
        for wheels, speed in ((self._wheels_left, linear - turn), (self._wheels_right, linear + turn)):
            for wheel in wheels:
                bullet.setJointMotorControl2(
                    self.uid,
                    wheel,
                    bullet.VELOCITY_CONTROL,
                    targetVelocity=speed / drive.wheel_radius_m,
                    force=drive.wheel_torque_nm,
                )

    def _rest(self) -> np.ndarray:
        """Returns the base velocity of a robot that stands still; two numbers also where it has no wheels."""
        return np.zeros(2 if self.model.drive is None else len(self.model.drive.velocity_limits))

    def _base_pose(self) -> Pose:
        centre = self._bullet.getBasePositionAndOrientation(self.uid)
        if centre != self._centre:  # The pose of a base at rest is composed once.
            self._centre, self._base = centre, compose(Pose(*centre), self._base_in_inertial)
        return self._base

    def _offset_of_base(self) -> Pose:
        # PyBullet reports a base by its centre of mass; scenes place it by its URDF frame.
        dynamics = self._bullet.getDynamicsInfo(self.uid, -1)
        return invert(Pose(dynamics[3], dynamics[4]))


def _load(bullet: Any, placement: RobotPlacement, model: RobotModel, *, visuals: bool) -> int:
    try:
        return bullet.loadURDF(
            str(urdf_path(model, visuals=True) if visuals else collision_urdf_path(model)),
            placement.base.position_m,
            placement.base.orientation,
            useFixedBase=model.fixed,
            flags=bullet.URDF_USE_SELF_COLLISION if len(model.arms) > 1 else 0,
        )
    except bullet.error as error:
        raise RobotModelError(
            f"PyBullet must be able to load the URDF of a robot: {error}.", value=model.name
        ) from error


def _end_effector(
    arm: Arm, joints: Mapping[str, int], links: Mapping[str, int], infos: Sequence[Any]
) -> EndEffectorLinks:
    gripper, tool = arm.gripper, links[arm.tool_link]
    if gripper is None:
        return EndEffectorLinks(arm, tool, (), (), (tool,))
    finger_joints = tuple(joints[name] for name in gripper.joints)
    fingers, own = tuple(links[name] for name in gripper.links), {tool, *finger_joints}
    for info in infos:  # Parents come before children.
        if info[16] in own:
            own.add(info[0])
    return EndEffectorLinks(arm, tool, finger_joints, fingers, (tool, *fingers, *sorted(own - {tool, *fingers})))


def _opening(end_effector: EndEffectorLinks, fingers: Sequence[float]) -> float:
    """Returns how far the fingers are open, 0 to 1; 0 without a gripper."""
    gripper = end_effector.arm.gripper
    return 0.0 if gripper is None else gripper.opening(fingers)
