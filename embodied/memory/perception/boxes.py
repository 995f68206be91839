"""Upright boxes around clouds: things on a table turn about the vertical only."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from embodied.geometry import Pose, Vector3, quaternion_from_yaw, rotation_matrix, vector3

COARSE_RAD = float(np.radians(1.0))
FINE_RAD = float(np.radians(0.1))
SQUARE_RATIO = 1.1  # Sides whose ratio is below this count as equal: the longer one then does not determine the yaw.
LEAST_SIDE_M = 1e-4
ROUND_GAIN = 0.2  # A square gains 1.0 in area when turned by 45 degrees, a disc 0.0.


@dataclass(frozen=True)
class UprightBox:
    """A box that turns about the vertical only: `pose` of its centre in the world, edge lengths `size_m`.

    Its x axis is along the longer horizontal side, so the yaw lies in [-90, 90) degrees; where the two sides are equal
    (within a tenth) the yaw lies in [-45, 45). `turned` is False where the outline is round and the yaw has no meaning
    (it is then 0).
    """

    pose: Pose
    size_m: Vector3
    turned: bool = True

    @cached_property
    def world_from_box(self) -> np.ndarray:
        """The rotation (3, 3) from the axes of the box to those of the world."""
        return rotation_matrix(self.pose.orientation)

    @cached_property
    def heading(self) -> tuple[float, float]:
        """The cosine and the sine of its yaw."""
        return float(self.world_from_box[0, 0]), float(self.world_from_box[1, 0])

    @cached_property
    def centre_m(self) -> np.ndarray:
        """The position (3,) of its centre in the world."""
        return np.array(self.pose.position_m)

    @cached_property
    def half_m(self) -> np.ndarray:
        """Half of its edge lengths (3,)."""
        return np.array(self.size_m) / 2


def fit_box(points_m: np.ndarray) -> UprightBox:
    """Returns the upright box of least footprint around `points_m` (N, 3).

    The yaw is searched over a quarter turn in steps of 1 degree, then of 0.1 degree around the best.
    """
    points = np.asarray(points_m, dtype=np.float64)
    areas = _areas(points, _COARSE_AXES)
    best = _COARSE_RAD[int(np.argmin(areas))]
    turned = bool(areas.max() >= (1.0 + ROUND_GAIN) * areas.min())
    fine = best + np.arange(-10, 11) * FINE_RAD
    yaw_rad = float(fine[int(np.argmin(_areas(points, _axes(fine))))]) if turned else 0.0
    rotation = rotation_matrix(quaternion_from_yaw(yaw_rad))
    local = points @ rotation
    low, high = local.min(axis=0), local.max(axis=0)
    size = np.maximum(high - low, LEAST_SIDE_M)
    centre = rotation @ ((low + high) / 2)
    if turned:
        yaw_rad, size = _settled(yaw_rad, size)
    return UprightBox(Pose(vector3(centre), quaternion_from_yaw(yaw_rad)), vector3(size), turned)


def inside(box: UprightBox, points_m: np.ndarray, *, margin_m: float) -> np.ndarray:
    """Returns which of `points_m` (N, 3) lie in `box`, grown by `margin_m` on every side."""
    local = (points_m - box.centre_m) @ box.world_from_box
    return np.logical_and.reduce(np.abs(local) <= box.half_m + margin_m, axis=1)


def contains(box: UprightBox, point_m: Vector3, *, margin_m: float) -> bool:
    """Returns whether `point_m` lies in `box`, grown by `margin_m` on every side: `inside` of a single point."""
    height_m = abs(point_m[2] - box.pose.position_m[2])
    return height_m <= box.size_m[2] / 2 + margin_m and covers(box, point_m, margin_m=margin_m)


def covers(box: UprightBox, point_m: Vector3, *, margin_m: float) -> bool:
    """Returns whether `point_m` lies over, in or under the outline of `box`, grown by `margin_m` on every side."""
    x, y = point_m[0] - box.pose.position_m[0], point_m[1] - box.pose.position_m[1]
    length, width = box.size_m[0] / 2 + margin_m, box.size_m[1] / 2 + margin_m
    if abs(x) + abs(y) > 2 * (length + width):  # Most are far away.
        return False
    cosine, sine = box.heading
    return abs(x * cosine + y * sine) <= length and abs(y * cosine - x * sine) <= width


def _axes(yaws_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the horizontal axes (2, N) of boxes that are turned by N yaws."""
    cosine, sine = np.cos(yaws_rad), np.sin(yaws_rad)
    return np.stack([cosine, sine]), np.stack([-sine, cosine])


def _areas(points_m: np.ndarray, axes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    along, across = (points_m[:, :2] @ axis for axis in axes)
    return (along.max(axis=0) - along.min(axis=0)) * (across.max(axis=0) - across.min(axis=0))


_COARSE_RAD = np.arange(0.0, np.pi / 2, COARSE_RAD)
_COARSE_AXES = _axes(_COARSE_RAD)


def _settled(yaw_rad: float, size: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns, of the yaws that describe the same box, the one that `UprightBox` defines, and the size along it."""
    swapped = size[[1, 0, 2]]
    if max(size[:2]) < SQUARE_RATIO * min(size[:2]):
        quarters = round(yaw_rad / (np.pi / 2))
        return yaw_rad - quarters * np.pi / 2, swapped if quarters % 2 else size
    if size[1] > size[0]:
        yaw_rad, size = yaw_rad + np.pi / 2, swapped
    return yaw_rad - round(yaw_rad / np.pi) * np.pi, size
