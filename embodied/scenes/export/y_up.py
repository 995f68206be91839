"""The frames of GLB files and of Habitat: y up, while worlds of this project have z up.

A point (x, y, z) of ours is (x, z, -y) there: a turn by -90 degrees about x.
"""

from collections.abc import Sequence

import numpy as np

from embodied.geometry import Pose, vector3

Y_UP_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def y_up_points(points_m: np.ndarray) -> np.ndarray:
    """Returns points or directions (..., 3) of a z-up frame in the y-up frame, with their dtype and exact numbers."""
    return np.stack([points_m[..., 0], points_m[..., 2], -points_m[..., 1]], axis=-1)


def z_up_points(points_m: np.ndarray) -> np.ndarray:
    """Returns points or directions (..., 3) of a y-up frame in the z-up frame, with their dtype and exact numbers."""
    return np.stack([points_m[..., 0], -points_m[..., 2], points_m[..., 1]], axis=-1)


def y_up_pose(pose: Pose) -> Pose:
    """Returns the same placement between two y-up frames: both the parent and the child are turned."""
    x, y, z, w = pose.orientation
    return Pose(vector3(y_up_points(np.asarray(pose.position_m))), (x, z, -y, w))


def z_up_pose(position_m: Sequence[float], orientation: Sequence[float]) -> Pose:
    """Returns the pose between two z-up frames for a `position_m` and an `orientation` xyzw between y-up frames."""
    x, y, z, w = map(float, orientation)
    return Pose(vector3(z_up_points(np.asarray(position_m, dtype=np.float64))), (x, -z, y, w))
