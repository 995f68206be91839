"""Upright boxes around clouds: things on a table turn about the vertical only."""

from dataclasses import dataclass

import numpy as np

from embodied.geometry import Pose, Vector3, quaternion_from_yaw, rotation_matrix, transform_points, vector3

COARSE_RAD = float(np.radians(1.0))
FINE_RAD = float(np.radians(0.1))
SQUARE_RATIO = 1.1  # Sides whose ratio is below this count as equal: the longer one is then no guide to the yaw.
LEAST_SIDE_M = 1e-4
BESIDE_M = 0.03
LEVEL_M = 0.003
UNDER_SHARE = 0.9
UNDER_ROUND_SHARE = 0.5
LEAST_SUPPORT = 3
ROUND_GAIN = 0.2  # A square gains 1.0 in area when turned by 45 degrees, a disc 0.0.


@dataclass(frozen=True)
class UprightBox:
    """A box that turns about the vertical only: `pose` of its centre in the world, edge lengths `size_m`.

    Its x axis is along the longer horizontal side, so the yaw lies in [-90, 90) degrees; where the two sides are
    alike (within a tenth) the yaw lies in [-45, 45). `turned` is False where the outline is round and the yaw means
    nothing (it is then 0).
    """

    pose: Pose
    size_m: Vector3
    turned: bool = True


def fit_box(points_m: np.ndarray) -> UprightBox:
    """Returns the upright box of least footprint around `points_m` (N, 3).

    The yaw is searched over a quarter turn in steps of 1 degree, then of 0.1 degree around the best.
    """
    points = np.asarray(points_m, dtype=np.float64)
    coarse = np.arange(0.0, np.pi / 2, COARSE_RAD)
    areas = _areas(points, coarse)
    best = coarse[int(np.argmin(areas))]
    turned = bool(areas.max() >= (1.0 + ROUND_GAIN) * areas.min())
    fine = best + np.arange(-10, 11) * FINE_RAD
    yaw_rad = float(fine[int(np.argmin(_areas(points, fine)))]) if turned else 0.0
    rotation = rotation_matrix(quaternion_from_yaw(yaw_rad))
    local = points @ rotation
    low, high = local.min(axis=0), local.max(axis=0)
    size = np.maximum(high - low, LEAST_SIDE_M)
    centre = rotation @ ((low + high) / 2)
    if turned:
        yaw_rad, size = _settled(yaw_rad, size)
    return UprightBox(Pose(vector3(centre), quaternion_from_yaw(yaw_rad)), vector3(size), turned)


def support_height(points_m: np.ndarray, around_m: np.ndarray) -> float | None:
    """Returns the height of what is beside and below a thing of `points_m` (N, 3), or None where nothing is.

    `around_m` (M, 3) are points seen beside it; of those near its outline and below it, the median height counts.
    """
    low, high = points_m.min(axis=0), points_m.max(axis=0)
    near = np.all((around_m[:, :2] > low[:2] - BESIDE_M) & (around_m[:, :2] < high[:2] + BESIDE_M), axis=1)
    below = around_m[near & (around_m[:, 2] < low[2] + LEVEL_M), 2]
    return float(np.median(below)) if len(below) >= LEAST_SUPPORT else None


def lowered(box: UprightBox, bottom_m: float) -> UprightBox:
    """Returns the box with its underside at the height `bottom_m`, but no higher than it was, and the same top."""
    x, y, z = box.pose.position_m
    top_m, bottom_m = z + box.size_m[2] / 2, min(bottom_m, z - box.size_m[2] / 2)
    pose = Pose((x, y, (top_m + bottom_m) / 2), box.pose.orientation)
    return UprightBox(pose, (*box.size_m[:2], top_m - bottom_m), box.turned)


def under(box: UprightBox, bottom_m: float) -> UprightBox:
    """Returns the room between the box's underside and the height `bottom_m` that a thing standing there must fill.

    A little narrower than the box; half as wide where the outline is round, for a ball leaves the corners empty.
    """
    x, y, z = box.pose.position_m
    underside_m = z - box.size_m[2] / 2
    share = UNDER_SHARE if box.turned else UNDER_ROUND_SHARE
    pose = Pose((x, y, (underside_m + bottom_m) / 2), box.pose.orientation)
    return UprightBox(pose, (box.size_m[0] * share, box.size_m[1] * share, underside_m - bottom_m), box.turned)


def inside(box: UprightBox, points_m: np.ndarray, *, margin_m: float) -> np.ndarray:
    """Returns which of `points_m` (N, 3) lie in the box, grown by `margin_m` on every side."""
    local = (points_m - box.pose.position_m) @ rotation_matrix(box.pose.orientation)
    return np.all(np.abs(local) <= np.asarray(box.size_m) / 2 + margin_m, axis=1)


def samples(box: UprightBox, *, per_side: int) -> np.ndarray:
    """Returns `per_side`**3 points (N, 3) spread evenly through the box, in the world."""
    steps = (np.arange(per_side) + 0.5) / per_side - 0.5
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    return transform_points(box.pose.matrix, grid * box.size_m)


def _areas(points_m: np.ndarray, yaws_rad: np.ndarray) -> np.ndarray:
    along = points_m[:, :2] @ np.stack([np.cos(yaws_rad), np.sin(yaws_rad)])
    across = points_m[:, :2] @ np.stack([-np.sin(yaws_rad), np.cos(yaws_rad)])
    return np.ptp(along, axis=0) * np.ptp(across, axis=0)


def _settled(yaw_rad: float, size: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns, of the yaws that describe the same box, the one that `UprightBox` promises, and the size along it."""
    swapped = size[[1, 0, 2]]
    if max(size[:2]) < SQUARE_RATIO * min(size[:2]):
        quarters = round(yaw_rad / (np.pi / 2))
        return yaw_rad - quarters * np.pi / 2, swapped if quarters % 2 else size
    if size[1] > size[0]:
        yaw_rad, size = yaw_rad + np.pi / 2, swapped
    return yaw_rad - round(yaw_rad / np.pi) * np.pi, size
