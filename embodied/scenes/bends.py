"""The points around obstacles at which shortest paths of a round base may bend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embodied.scenes.clearance import ordered
from embodied.scenes.occupancy import half_planes

ARC_STEP_RAD = np.radians(12.0)
TANGENT_SLACK_RAD = np.radians(0.5)


@dataclass(frozen=True, eq=False)
class Bends:
    """Bend points of the plan: `points_m` (V, 2), unit `normals` (V, 2) away from the obstacle, `half_angles_rad` (V,).

    A shortest path that bends at a point arrives and leaves within its half angle of the tangent there.
    """

    points_m: np.ndarray
    normals: np.ndarray
    half_angles_rad: np.ndarray

    def __len__(self) -> int:
        return len(self.points_m)

    def of(self, chosen: np.ndarray) -> "Bends":
        """Returns those that `chosen` (bool (V,) or indices) selects."""
        return Bends(self.points_m[chosen], self.normals[chosen], self.half_angles_rad[chosen])

    def tangent(self, bend: np.ndarray | int, others_m: np.ndarray) -> np.ndarray:
        """Returns bool (...): whether a path from each of `others_m` (..., 2) may bend at its `bend` (...)."""
        offsets = others_m - self.points_m[bend]
        across = np.abs((offsets * self.normals[bend]).sum(axis=-1))
        limit = np.sin(np.minimum(self.half_angles_rad[bend] + TANGENT_SLACK_RAD, np.pi / 2))
        return across <= limit * np.hypot(offsets[..., 0], offsets[..., 1]) + 1e-9


def bends_around(outlines: Sequence[np.ndarray], radius_m: float) -> Bends:
    """Returns the bend points of a disc of `radius_m` around convex `outlines`, corners (N, 2) in any order.

    Around each corner the disc's centre moves on an arc. It is replaced by the corners of a polygon around the arc, one
    per 12 degrees at most, which makes it longer by 0.4 % at most.
    """
    points, normals, half_angles = [], [], []
    for outline in outlines:
        for corner, first_rad, turn_rad in _corners(outline):
            count = max(1, int(np.ceil(turn_rad / ARC_STEP_RAD))) if radius_m > 0.0 else 1
            half = turn_rad / count / 2
            at = first_rad + half * (2 * np.arange(count) + 1)
            normal = np.stack([np.cos(at), np.sin(at)], axis=1)
            reach = radius_m / np.cos(half) if radius_m > 0.0 else 0.0
            points.append(corner + reach * normal)
            normals.append(normal)
            half_angles.append(np.full(count, half))
    if not points:
        return Bends(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    return Bends(np.concatenate(points), np.concatenate(normals), np.concatenate(half_angles))


def without_covered(outlines: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the `outlines` that do not lie within another one, such as all but the objects on a table."""
    low = np.array([outline.min(axis=0) for outline in outlines]).reshape(-1, 2)
    high = np.array([outline.max(axis=0) for outline in outlines]).reshape(-1, 2)
    within = np.all((low[:, None] >= low[None]) & (high[:, None] <= high[None]), axis=2)
    np.fill_diagonal(within, val=False)
    kept = np.ones(len(outlines), dtype=bool)
    for inner in np.argsort(np.prod(high - low, axis=1), kind="stable").tolist():
        for outer in np.flatnonzero(within[inner] & kept).tolist():
            normals, offsets = half_planes(outlines[outer])
            if (outlines[inner] @ normals.T + offsets).max() <= 1e-9:
                kept[inner] = False
                break
    return [outline for outline, is_kept in zip(outlines, kept, strict=True) if is_kept]


def _corners(outline: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
    """Returns every corner of the hull with the direction (rad) of the normal before it and the turn (rad) at it."""
    corners = ordered(outline)
    corners = corners[np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1) > 1e-9]
    if len(corners) < 2:
        return [(outline[0], 0.0, 2 * np.pi)]
    edges = np.roll(corners, -1, axis=0) - corners
    normal_rad = np.arctan2(-edges[:, 0], edges[:, 1])
    before = np.roll(normal_rad, 1)
    turns = (normal_rad - before) % (2 * np.pi)
    return list(zip(corners, before.tolist(), turns.tolist(), strict=True))
