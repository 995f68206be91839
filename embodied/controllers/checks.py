"""Checks of the values in an intent, shared by the handlers."""

from numbers import Real

import numpy as np

from embodied.errors import IntentError
from embodied.geometry import UNIT_TOLERANCE, Quaternion
from embodied.robots.robot import RobotModel
from embodied.specs import FARTHEST_TARGET_M

LONGEST_DURATION_S = 600.0


def check_end_effector(name: object, robot: str, model: RobotModel) -> None:
    """Raises `IntentError` unless `name` is an end effector of `robot`, or "" where `model` has only one."""
    if not (name in model.end_effectors or (name == "" and len(model.arms) == 1)):
        raise IntentError(
            f"An intent of {robot!r} ({model.name}) must name one of its end effectors, unless it has only one.",
            value=name,
            remedy=f"It has: {', '.join(model.end_effectors)}.",
        )


def check_position(value: object, what: str, length: int = 3) -> np.ndarray:
    """Returns `length` metres in the world frame. Raises `IntentError` unless they are finite and within 100 m.

    `value` is the position, `what` its name in messages.
    """
    position = check_numbers(value, what, length)
    if np.abs(position).max() > FARTHEST_TARGET_M:
        raise IntentError(
            f"{what} must lie within {FARTHEST_TARGET_M:.0f} m of the origin.",
            value=position.tolist(),
            remedy="Give metres in the world frame.",
        )
    return position


def check_orientation(value: Quaternion, what: str) -> None:
    """Raises `IntentError` unless `value` is a unit quaternion xyzw."""
    norm = float(np.linalg.norm(check_numbers(value, what, 4)))
    if abs(norm - 1.0) > UNIT_TOLERANCE:
        raise IntentError(
            f"{what} must be a unit quaternion xyzw.",
            value=tuple(value),
            remedy=f"Its length is {norm:.4f}: divide by it.",
        )


def check_duration(value: object, what: str, *, lowest: float) -> None:
    """Raises `IntentError` unless `value` is a number of seconds from `lowest` to 600.

    `what` is its name in messages.
    """
    if not lowest <= check_number(value, what) <= LONGEST_DURATION_S:
        raise IntentError(f"{what} must lie in [{lowest:g}, {LONGEST_DURATION_S:.0f}] s.", value=value)


def check_number(value: object, what: str) -> float:
    """Returns `value` as a float. Raises `IntentError` unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
        raise IntentError(f"{what} must be a finite number.", value=value)
    return float(value)


def check_numbers(values: object, what: str, length: int) -> np.ndarray:
    """Returns `values` as an array (length,). Raises `IntentError` unless they are `length` finite numbers.

    `what` is their name in messages.
    """
    try:
        items = list(values)  # type: ignore[call-overload]
    except TypeError as error:
        raise IntentError(f"{what} must be {length} numbers.", value=values) from error
    if len(items) != length:
        raise IntentError(f"{what} must be {length} numbers.", value=values)
    return np.array([check_number(item, what) for item in items])


def check_flag(value: object, what: str) -> None:
    """Raises `IntentError` unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise IntentError(f"{what} must be True or False.", value=value)
