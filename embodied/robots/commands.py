"""Checks of commands, and the layout of `Observation.proprio`, for each robot model."""

from collections.abc import Mapping

import numpy as np

from embodied.errors import CommandError
from embodied.robots.robot import Arm, RobotModel
from embodied.types import Command, RobotState

JOINT_SLACK_RAD = 1e-3


def proprio_layout(model: RobotModel) -> tuple[str, ...]:
    """Returns the name of each entry of `Observation.proprio`, units included.

    Entries of a robot with several end effectors begin with the end effector's name, such as `left/tool_x_m`.
    """
    names: list[str] = []
    for arm in model.arms:
        prefix = "" if len(model.arms) == 1 else f"{arm.name}/"
        names += [f"{prefix}{joint}_rad" for joint in arm.joints]
        names += [f"{prefix}tool_{part}" for part in ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw")]
        if arm.gripper is not None:
            names.append(f"{prefix}gripper_opening")
    if model.drive is not None:
        names += ["base_x_m", "base_y_m", "base_yaw_rad"]
    return tuple(names)


def proprio(model: RobotModel, state: RobotState) -> np.ndarray:
    """Returns the float32 vector (Q,) that `proprio_layout` names."""
    values: list[float] = []
    for arm in model.arms:
        here = state.end_effectors[arm.name]
        values += [*state.joint_position_rad[model.columns(arm.name)], *here.tool.position_m, *here.tool.orientation]
        if arm.gripper is not None:
            values.append(here.gripper)
    if model.drive is not None:
        values += [*state.base.position_m[:2], state.base.yaw_rad]
    return np.array(values, dtype=np.float32)


def arm_command(model: RobotModel, arm: Arm, joints_rad: np.ndarray, gripper: float | None) -> Command:
    """Returns the command of one `arm` of `model`: targets `joints_rad` (J,), and the opening of its `gripper` or None.

    The other arms of the robot keep their last targets.
    """
    if len(model.arms) == 1:
        return Command(joint_position_rad=joints_rad, gripper=gripper)
    opening = None if gripper is None else {arm.name: gripper}
    return Command(joint_position_rad={arm.name: joints_rad}, gripper=opening)


def joint_targets(model: RobotModel, command: Command, last_rad: np.ndarray) -> np.ndarray:
    """Returns the targets (J,) of all arms of `model` after a checked `command`; `last_rad` (J,) are the last ones."""
    targets = last_rad.copy()
    for name, values in arm_targets(model, command).items():
        targets[model.columns(name)] = values
    return targets


def arm_targets(model: RobotModel, command: Command) -> dict[str, np.ndarray]:
    """Returns the joint targets of `command` by end effector, each (joints of the arm,); {} if it has none.

    `command` must have passed `check_command` for `model`.
    """
    wanted = command.joint_position_rad
    if wanted is None:
        return {}
    if isinstance(wanted, Mapping):
        return {name: np.asarray(values, dtype=np.float64) for name, values in wanted.items()}
    targets = np.asarray(wanted, dtype=np.float64)
    return {name: targets[model.columns(name)] for name in model.end_effectors}


def openings(model: RobotModel, command: Command) -> dict[str, float]:
    """Returns the gripper openings of `command` by end effector, {} if it has none.

    `command` must have passed `check_command` for `model`.
    """
    if command.gripper is None:
        return {}
    if isinstance(command.gripper, Mapping):
        return {name: float(opening) for name, opening in command.gripper.items()}
    return {model.end_effectors[0]: float(command.gripper)}


def check_command(robot: str, model: RobotModel, command: Command) -> None:
    """Raises `CommandError` unless `command` fits `model`: existing parts, shapes, finite values, limits.

    The message names `robot`. PyBullet accepts a NaN target and is unusable until its next reset, so commands are
    checked before they reach it.
    """
    if not isinstance(command, Command):
        raise CommandError(f"A command of {robot!r} must be a `Command`.", value=type(command).__name__)
    if command.joint_position_rad is not None:
        _check_joints(robot, model, command.joint_position_rad)
    if command.gripper is not None:
        _check_openings(robot, model, command.gripper)
    for name, error in (command.release_error or {}).items():
        _arm(robot, model, name)
        _vector(f"The release error of {name!r} of {robot!r}", error, 3)
    if command.base_velocity is not None:
        if model.drive is None:
            raise CommandError(f"Robot {robot!r} ({model.name}) has no wheels to command.")
        velocity = _vector(f"The base velocity of {robot!r}", command.base_velocity, len(model.drive.velocity_limits))
        limit = np.array(model.drive.velocity_limits)
        if (np.abs(velocity) > limit + 1e-9).any():
            raise CommandError(
                f"The base velocity of {robot!r} must stay within +-{limit.tolist()} (m/s, turning in rad/s).",
                value=velocity.tolist(),
                remedy="Clip it.",
            )


def _check_joints(robot: str, model: RobotModel, wanted: object) -> None:
    if not model.arms:
        raise CommandError(f"Robot {robot!r} ({model.name}) has no arm to command.")
    if not isinstance(wanted, Mapping):
        targets = _vector(f"Joint targets of {robot!r}", wanted, len(model.joints))
        for arm in model.arms:
            _check_limits(robot, arm, targets[model.columns(arm.name)])
        return
    for name, values in wanted.items():
        arm = _arm(robot, model, name)
        _check_limits(robot, arm, _vector(f"Joint targets of {name!r} of {robot!r}", values, len(arm.joints)))


def _check_limits(robot: str, arm: Arm, targets: np.ndarray) -> None:
    lower, upper = arm.lower_rad, arm.upper_rad
    outside = [
        not low - JOINT_SLACK_RAD <= target <= high + JOINT_SLACK_RAD
        for low, target, high in zip(lower, targets.tolist(), upper, strict=True)
    ]
    if any(outside):
        joint = int(np.argmax(outside))
        raise CommandError(
            f"The target of joint {arm.joints[joint]!r} of {robot!r} must lie in "
            f"[{lower[joint]:.4f}, {upper[joint]:.4f}] rad.",
            value=float(targets[joint]),
            remedy="Clip it, or plan within the limits.",
        )


def _check_openings(robot: str, model: RobotModel, wanted: object) -> None:
    if not any(arm.gripper is not None for arm in model.arms):
        raise CommandError(f"Robot {robot!r} ({model.name}) has no gripper to command.")
    if not isinstance(wanted, Mapping):
        if len(model.arms) > 1:
            raise CommandError(
                f"The gripper openings of {robot!r} must be given by end effector.",
                value=wanted,
                remedy=f"Send a mapping with some of: {', '.join(model.end_effectors)}.",
            )
        wanted = {model.end_effectors[0]: wanted}
    for name, value in wanted.items():
        if _arm(robot, model, name).gripper is None:
            raise CommandError(f"End effector {name!r} of {robot!r} must have a gripper to be opened or closed.")
        opening = _vector(f"The gripper opening of {robot!r}", [value], 1)[0]
        if not 0.0 <= opening <= 1.0:
            raise CommandError(f"The gripper opening of {robot!r} must lie in [0, 1].", value=value)


def _arm(robot: str, model: RobotModel, name: object) -> Arm:
    if name not in model.end_effectors:
        raise CommandError(
            f"Commands of {robot!r} must be for end effectors that it has.",
            value=name,
            remedy=f"It has: {', '.join(model.end_effectors)}.",
        )
    return model.end_effector(str(name))


def _vector(what: str, value: object, length: int) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CommandError(f"{what} must be numbers.", value=value) from error
    if array.shape != (length,):
        raise CommandError(f"{what} must have shape ({length},).", value=array.shape)
    if not np.isfinite(array).all():
        raise CommandError(f"{what} must be finite.", value=array.tolist())
    return array
