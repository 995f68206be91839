"""What an intent must satisfy before a controller starts on it."""

from numbers import Real

import numpy as np

from embodied.controllers.config import ControllerConfig
from embodied.errors import IntentError
from embodied.geometry import UNIT_TOLERANCE
from embodied.robots.robot import DifferentialDrive, RobotModel
from embodied.types import DeltaPose, Drive, Intent, MoveTo, Wait

FARTHEST_TARGET_M = 100.0
LONGEST_DURATION_S = 600.0


def check_intent(robot: str, model: RobotModel, intent: Intent, config: ControllerConfig) -> None:
    """Raises `IntentError` unless `model` has what `intent` needs and its values are of the right kind and size."""
    match intent:
        case MoveTo() if model.arm is not None:
            _check_move_to(intent)
        case DeltaPose() if model.arm is not None:
            _check_delta_pose(intent, config)
        case Drive() if model.drive is not None:
            _check_drive(intent, robot, model.drive)
        case Wait():
            _duration(intent.duration_s, "Wait.duration_s", lowest=0.0)
        case _:
            able = ["Wait"] + (["MoveTo", "DeltaPose"] if model.arm else []) + (["Drive"] if model.drive else [])
            raise IntentError(
                f"Robot {robot!r} ({model.name}) has no controller for {type(intent).__name__}.",
                remedy=f"It has one for: {', '.join(sorted(able))}.",
            )


def _check_move_to(intent: MoveTo) -> None:
    position = _numbers(intent.position_m, "MoveTo.position_m", 3)
    if np.abs(position).max() > FARTHEST_TARGET_M:
        raise IntentError(
            f"MoveTo.position_m must lie within {FARTHEST_TARGET_M:.0f} m of the origin.",
            value=position.tolist(),
            remedy="Give metres in the world frame.",
        )
    norm = float(np.linalg.norm(_numbers(intent.orientation, "MoveTo.orientation", 4)))
    if abs(norm - 1.0) > UNIT_TOLERANCE:
        raise IntentError(
            "MoveTo.orientation must be a unit quaternion xyzw.",
            value=tuple(intent.orientation),
            remedy=f"Its length is {norm:.4f}: divide by it.",
        )
    _flag(intent.gripper_open, "MoveTo.gripper_open")
    _flag(intent.avoid_collisions, "MoveTo.avoid_collisions")


def _check_delta_pose(intent: DeltaPose, config: ControllerConfig) -> None:
    for name, value, limit, unit in (
        ("translation_m", intent.translation_m, config.longest_step_m, "m"),
        ("rotation", intent.rotation, config.largest_step_rad, "rad"),
    ):
        length = float(np.linalg.norm(_numbers(value, f"DeltaPose.{name}", 3)))
        if length > limit + 1e-9:
            raise IntentError(
                f"DeltaPose.{name} must be at most {limit} {unit} long.",
                value=length,
                remedy="Split it into several steps, or use MoveTo.",
            )
    _flag(intent.gripper_open, "DeltaPose.gripper_open")


def _check_drive(intent: Drive, robot: str, drive: DifferentialDrive) -> None:
    for name, value, limit, unit in (
        ("linear_mps", intent.linear_mps, drive.linear_limit_mps, "m/s"),
        ("angular_radps", intent.angular_radps, drive.angular_limit_radps, "rad/s"),
    ):
        if abs(_number(value, f"Drive.{name}")) > limit + 1e-9:
            raise IntentError(
                f"Drive.{name} of {robot!r} must lie within +-{limit} {unit}.", value=value, remedy="Clip it."
            )
    _duration(intent.duration_s, "Drive.duration_s", lowest=1e-6)


def _duration(value: object, what: str, *, lowest: float) -> None:
    if not lowest <= _number(value, what) <= LONGEST_DURATION_S:
        raise IntentError(f"{what} must lie in [{lowest:g}, {LONGEST_DURATION_S:.0f}] s.", value=value)


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
        raise IntentError(f"{what} must be a finite number.", value=value)
    return float(value)


def _numbers(values: object, what: str, length: int) -> np.ndarray:
    try:
        items = list(values)  # type: ignore[call-overload]
    except TypeError as error:
        raise IntentError(f"{what} must be {length} numbers.", value=values) from error
    if len(items) != length:
        raise IntentError(f"{what} must be {length} numbers.", value=values)
    return np.array([_number(item, what) for item in items])


def _flag(value: object, what: str) -> None:
    if not isinstance(value, bool | np.bool_):
        raise IntentError(f"{what} must be True or False.", value=value)
