"""Forward and inverse kinematics of robots (pinocchio)."""

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.errors import RobotModelError, SceneError
from embodied.geometry import Pose, pose_from_matrix
from embodied.robots.assets import urdf_path
from embodied.robots.robot import Arm, RobotModel
from embodied.seeding import stream

POSITION_TOLERANCE_M = 1e-5
ROTATION_TOLERANCE_RAD = 1e-5
ITERATIONS = 60
SEEDS = 24
_DAMPING = 1e-6
_LONGEST_STEP_RAD = 0.6


class Kinematics:
    """One arm of a robot model. All poses are in the base frame: compose with the base's pose for the world.

    `end_effector` names the arm, "" for the only one; `columns` are its entries in a joint vector of the whole robot.
    Holds scratch memory, so one instance serves one thread; `kinematics` shares instances within a process.
    Raises `SceneError` for a model without an arm, or whose joints are not in its URDF, and as
    `RobotModel.end_effector` does.
    """

    def __init__(self, model: RobotModel, end_effector: str = "") -> None:
        if not model.arms:
            raise SceneError("Kinematics need a robot with an arm.", value=model.name)
        self.robot = model
        self.arm = model.end_effector(end_effector)
        self.columns = model.columns(end_effector)
        self.lower_rad = np.array(self.arm.lower_rad)
        self.upper_rad = np.array(self.arm.upper_rad)
        self.home_rad = np.array(self.arm.home_rad)
        self.tree = robot_tree(model)
        self.configuration_index = [self.tree.joints[self.tree.getJointId(name)].idx_q for name in self.arm.joints]
        self.tool_joint, self.joint_from_tool = _tool_placement(self.tree, self.arm)
        self._arm_model, self._tool_frame = _arm_model(self.tree, self.arm)
        self._arm_scratch = self._arm_model.createData()
        self._random_seeds = stream(0, "inverse kinematics", model.name).uniform(
            self.lower_rad, self.upper_rad, (SEEDS, len(self.home_rad))
        )

    def tool(self, joints_rad: np.ndarray) -> Pose:
        """Returns the pose of the tool frame at `joints_rad` (J,)."""
        return pose_from_matrix(self.tool_transform(joints_rad).homogeneous)

    def tool_transform(self, joints_rad: np.ndarray) -> pin.SE3:
        """Returns the transform of the tool frame at `joints_rad` (J,); the caller may keep it."""
        pin.forwardKinematics(self._arm_model, self._arm_scratch, joints_rad)
        return pin.updateFramePlacement(self._arm_model, self._arm_scratch, self._tool_frame).copy()

    def solve_near(self, target: pin.SE3, seed_rad: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns the joint angles reached from `seed_rad` (J,) within limits, and how far they are from `target`.

        The remaining error is 0.0 within tolerance, else metres plus radians.
        Levenberg-Marquardt with the damping tied to the error: T. Sugihara, "Solvability-unconcerned inverse
        kinematics by the Levenberg-Marquardt method", IEEE T-RO 27(5), 2011; projected onto the joint limits.
        """
        model, scratch, frame = self._arm_model, self._arm_scratch, self._tool_frame
        lower, upper = self.lower_rad.tolist(), self.upper_rad.tolist()
        joints = np.clip(seed_rad, self.lower_rad, self.upper_rad)
        remaining = np.inf
        for _ in range(ITERATIONS):
            pin.computeJointJacobians(model, scratch, joints)
            error = pin.log6(pin.updateFramePlacement(model, scratch, frame).actInv(target)).vector
            x, y, z, around_x, around_y, around_z = error.tolist()
            metres, radians = math.sqrt(x * x + y * y + z * z), math.sqrt(around_x**2 + around_y**2 + around_z**2)
            if metres <= POSITION_TOLERANCE_M and radians <= ROTATION_TOLERANCE_RAD:
                return joints, 0.0
            remaining = metres + radians
            jacobian = pin.getFrameJacobian(model, scratch, frame, pin.LOCAL)
            damped = jacobian.T @ jacobian
            damped.flat[:: len(joints) + 1] += 0.5 * float(error @ error) * 0.1 + _DAMPING
            step = np.linalg.solve(damped, jacobian.T @ error).tolist()
            share = min(1.0, _LONGEST_STEP_RAD / max(1e-12, *map(abs, step)))
            before = joints.tolist()  # Python floats: NumPy is slower for so few.
            after = [
                min(max(joint + share * change, low), high)
                for joint, change, low, high in zip(before, step, lower, upper, strict=True)
            ]
            if max(abs(new - old) for new, old in zip(after, before, strict=True)) < 1e-9:
                break  # Stuck at limits or at a local minimum; another seed may do.
            joints = np.array(after)
        return joints, remaining

    def solutions(self, target: pin.SE3) -> Iterator[tuple[np.ndarray, float]]:
        """Yields joint angles and remaining error, as `solve_near`, from each seed of a fixed list, home first.

        This is a pure function of `target`. If the present joints were a seed, postures would leak what the robot did
        before.
        """
        yield self.solve_near(target, self.home_rad)
        for seed in self._random_seeds:
            yield self.solve_near(target, seed)

    def inverse(self, tool: Pose) -> np.ndarray | None:
        """Returns the canonical joint angles (J,) for a tool pose in the base frame, or None where none was found."""
        target = transform_from_pose(tool)
        return next((joints for joints, remaining in self.solutions(target) if remaining == 0.0), None)


def kinematics(model: RobotModel, end_effector: str = "") -> Kinematics:
    """Returns this process's kinematics of one arm of `model`, "" for the only one; the first call parses its URDF.

    Raises as `Kinematics` does.
    """
    only = model.end_effectors[0] if len(model.arms) == 1 else ""
    return _shared(model, end_effector or only)


@lru_cache(maxsize=32)
def _shared(model: RobotModel, end_effector: str) -> Kinematics:
    return Kinematics(model, end_effector)


@lru_cache(maxsize=16)
def robot_tree(model: RobotModel) -> pin.Model:
    """Returns pinocchio's model of the whole robot, arm, fingers and wheels; treat it as read-only.

    Raises `SceneError` where the URDF lacks a joint or link that `model` names.
    """
    try:
        tree = pin.buildModelFromUrdf(str(urdf_path(model, visuals=False)))
    except ValueError as error:
        raise RobotModelError("pinocchio must be able to read the URDF of a robot.", value=model.name) from error
    grippers = [arm.gripper for arm in model.arms if arm.gripper is not None]
    named = [*model.joints, *(joint for gripper in grippers for joint in gripper.joints)]
    missing = [joint for joint in named if not tree.existJointName(joint)]
    missing += [arm.tool_link for arm in model.arms if not tree.existFrame(arm.tool_link)]
    if missing:
        raise SceneError(
            f"The URDF of {model.name!r} must have the joints and links that the model names.",
            value=missing,
            remedy="Correct the model.",
        )
    return tree


def configuration(model: RobotModel, joints_rad: np.ndarray, openings: Mapping[str, float]) -> np.ndarray:
    """Returns pinocchio's configuration of the whole robot of `model`, wheels at zero.

    `joints_rad` (J,) are those of all arms; `openings` in [0, 1] by end effector, closed where one is missing.
    """
    tree = robot_tree(model)
    values = pin.neutral(tree)
    for name, angle in zip(model.joints, joints_rad, strict=True):
        values[tree.joints[tree.getJointId(name)].idx_q] = angle
    for arm in model.arms:
        if arm.gripper is not None:
            positions = arm.gripper.positions(openings.get(arm.name, 0.0))
            for name, position in zip(arm.gripper.joints, positions, strict=True):
                values[tree.joints[tree.getJointId(name)].idx_q] = position
    return values


def joint_transforms(model: RobotModel, values: np.ndarray) -> list[pin.SE3]:
    """Returns the transform, from the base, of every joint of `robot_tree` at a `configuration`."""
    tree = robot_tree(model)
    scratch = tree.createData()
    pin.forwardKinematics(tree, scratch, values)
    return [transform.copy() for transform in scratch.oMi]


def link_transforms(model: RobotModel, values: np.ndarray) -> dict[str, pin.SE3]:
    """Returns the transform, from the base, of every link of `model` by name at a configuration, in URDF order.

    `values` are as `configuration` returns them.
    """
    tree = robot_tree(model)
    scratch = tree.createData()
    pin.framesForwardKinematics(tree, scratch, values)
    return {
        frame.name: scratch.oMf[index] for index, frame in enumerate(tree.frames) if frame.type == pin.FrameType.BODY
    }


def transform_from_pose(pose: Pose) -> pin.SE3:
    """Returns pinocchio's form of a pose."""
    return pin.XYZQUATToSE3(np.array([*pose.position_m, *pose.orientation]))


def _tool_placement(whole: pin.Model, arm: Arm) -> tuple[int, pin.SE3]:
    link = whole.frames[whole.getFrameId(arm.tool_link)]
    return int(link.parentJoint), link.placement * transform_from_pose(arm.tool_in_link)


def _arm_model(whole: pin.Model, arm: Arm) -> tuple[pin.Model, int]:
    locked = [whole.getJointId(name) for name in list(whole.names)[1:] if name not in arm.joints]
    reduced = pin.buildReducedModel(whole, locked, pin.neutral(whole))
    if tuple(reduced.names)[1:] != arm.joints:
        raise SceneError("An arm's joints must be listed from base to tool.", value=arm.joints)
    link_id = reduced.getFrameId(arm.tool_link)
    link = reduced.frames[link_id]
    placement = link.placement * transform_from_pose(arm.tool_in_link)
    tool = pin.Frame("tool", link.parentJoint, link_id, placement, pin.FrameType.OP_FRAME)
    return reduced, reduced.addFrame(tool, False)
