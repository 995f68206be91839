"""What a command must satisfy, and what `Observation.proprio` holds: shapes, bounds and layouts by robot model."""

import numpy as np

from embodied.errors import CommandError
from embodied.robots.robot import RobotModel
from embodied.types import Command, RobotState

JOINT_SLACK_RAD = 1e-3


def proprio_layout(model: RobotModel) -> tuple[str, ...]:
    """Returns the name of each entry of `Observation.proprio`, units included."""
    names: list[str] = []
    if model.arm is not None:
        names += [f"{joint}_rad" for joint in model.arm.joints]
        names += ["tool_x_m", "tool_y_m", "tool_z_m", "tool_qx", "tool_qy", "tool_qz", "tool_qw"]
    if model.gripper is not None:
        names.append("gripper_opening")
    if model.drive is not None:
        names += ["base_x_m", "base_y_m", "base_yaw_rad"]
    return tuple(names)


def proprio(model: RobotModel, state: RobotState) -> np.ndarray:
    """Returns the float32 vector (Q,) that `proprio_layout` names."""
    values: list[float] = []
    if model.arm is not None and state.tool is not None:
        values += [*state.joint_position_rad, *state.tool.position_m, *state.tool.orientation]
    if model.gripper is not None:
        values.append(state.gripper)
    if model.drive is not None:
        values += [*state.base.position_m[:2], state.base.yaw_rad]
    return np.array(values, dtype=np.float32)


def check_command(robot: str, model: RobotModel, command: Command) -> None:
    """Raises `CommandError` unless `command` fits `model`: parts that exist, shapes, finite values, limits.

    PyBullet takes a NaN target without complaint and stays poisoned until it is reset, so this comes first.
    """
    if not isinstance(command, Command):
        raise CommandError(f"What {robot!r} is sent must be a `Command`.", value=type(command).__name__)
    if command.joint_position_rad is not None:
        if model.arm is None:
            raise CommandError(f"Robot {robot!r} ({model.name}) has no arm to command.")
        target = _vector(f"Joint targets of {robot!r}", command.joint_position_rad, len(model.arm.joints))
        low, high = np.array(model.arm.lower_rad), np.array(model.arm.upper_rad)
        outside = (target < low - JOINT_SLACK_RAD) | (target > high + JOINT_SLACK_RAD)
        if outside.any():
            joint = int(np.argmax(outside))
            raise CommandError(
                f"The target of joint {model.arm.joints[joint]!r} of {robot!r} must lie in "
                f"[{low[joint]:.4f}, {high[joint]:.4f}] rad.",
                value=float(target[joint]),
                remedy="Clip it, or plan within the limits.",
            )
    if command.gripper is not None:
        if model.gripper is None:
            raise CommandError(f"Robot {robot!r} ({model.name}) has no gripper to command.")
        opening = _vector(f"The gripper opening of {robot!r}", [command.gripper], 1)[0]
        if not 0.0 <= opening <= 1.0:
            raise CommandError(f"The gripper opening of {robot!r} must lie in [0, 1].", value=command.gripper)
    if command.base_velocity is not None:
        if model.drive is None:
            raise CommandError(f"Robot {robot!r} ({model.name}) has no wheels to command.")
        velocity = _vector(f"The base velocity of {robot!r}", command.base_velocity, 2)
        limit = np.array([model.drive.linear_limit_mps, model.drive.angular_limit_radps])
        if (np.abs(velocity) > limit + 1e-9).any():
            raise CommandError(
                f"The base velocity of {robot!r} must stay within +-{limit.tolist()} (m/s, rad/s).",
                value=velocity.tolist(),
                remedy="Clip it.",
            )


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
