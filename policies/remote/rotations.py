"""Rotations in the forms of servers: axis times angle, roll-pitch-yaw, quaternions; all in the world frame."""

import numpy as np

from embodied.controllers.action_spaces import rotation_to_6d
from embodied.geometry import quaternion_from_axis_angle, quaternion_from_euler, rotation_matrix

SIZES = {"rpy": 3, "axis_angle": 3, "quaternion": 4}


def axis_angle_of(orientation: np.ndarray) -> np.ndarray:
    """Returns the axis (3,) times the angle in [0, pi] rad of a unit quaternion xyzw (4,)."""
    vector, w = orientation[:3], float(orientation[3])
    if w < 0.0:
        vector, w = -vector, -w
    length = float(np.linalg.norm(vector))
    return vector * (2.0 if length < 1e-9 else 2.0 * np.arctan2(length, w) / length)


def rpy_of(orientation: np.ndarray) -> np.ndarray:
    """Returns roll, pitch and yaw (3,) in rad, about x, y and z of the world in this order, of a quaternion xyzw."""
    x, y, z, w = orientation
    roll = np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return np.array([roll, pitch, yaw])


def as_field(form: str, values: np.ndarray, size: int) -> np.ndarray:
    """Returns rotations `values` (rows, n) of `form` as a field of `size` numbers.

    The field is a quaternion xyzw for `size` 4, or the first two columns of the matrix for 6.
    """
    turns = np.stack([_quaternion(form, row) for row in values])
    if size == 4:
        return turns
    return np.stack([rotation_to_6d(rotation_matrix(turn)) for turn in turns])


def _quaternion(form: str, row: np.ndarray) -> np.ndarray:
    if form == "rpy":
        return np.array(quaternion_from_euler(*map(float, row)))
    if form == "axis_angle":
        return np.array(quaternion_from_axis_angle(row))
    return row / max(float(np.linalg.norm(row)), 1e-12)
