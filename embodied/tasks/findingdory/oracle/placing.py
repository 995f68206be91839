"""Free places for objects on the surfaces of receptacles."""

from collections.abc import Mapping

import numpy as np

from embodied.geometry import Pose, compose, quaternion_from_yaw, rotation_matrix, vector3
from embodied.scenes.house import House, HouseObject, Surface

APART_M, HEADROOM_M, LIFT_M = 0.03, 0.02, 0.0005
TRIES = 20


def free_pose(
    rng: np.random.Generator, house: House, surface: Surface, item: HouseObject, poses: Mapping[str, Pose]
) -> Pose | None:
    """Returns a pose (world) at which `item` stands on `surface`, at least 3 cm from all others; None without one.

    It is drawn with `rng`; the other objects of `house` lie at `poses`. The item keeps within the surface and its clear
    height.
    """
    length, width, height = item.size_m
    if height + HEADROOM_M > surface.clear_height_m:
        return None
    taken = [
        _on_surface(surface, poses[one.name], one)
        for one in house.objects
        if one.name != item.name and one.name in poses
    ]
    taken = [one for one in taken if one is not None]
    for _ in range(TRIES):
        yaw = float(rng.uniform(-np.pi, np.pi))
        half = _half_extents(length, width, yaw)
        spare = np.array(surface.size_m) / 2 - half
        draw = rng.uniform(-1.0, 1.0, 2)
        if spare.min() < 0.0:
            continue
        x, y = (draw * spare).tolist()
        apart = [np.abs(np.array([x, y]) - at) >= half + other + APART_M for at, other in taken]
        if all(one.any() for one in apart):
            local = Pose((x, y, height / 2 + LIFT_M), quaternion_from_yaw(yaw))
            placed = compose(surface.pose, local)
            return Pose(vector3([round(value, 5) for value in placed.position_m]), placed.orientation)
    return None


def _on_surface(surface: Surface, pose: Pose, item: HouseObject) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the middle and half extents, in the frame of `surface`, of an `item` at `pose` on it; None if not on it.

    What reaches into its clear height counts, wherever it stands.
    """
    local = rotation_matrix(surface.pose.orientation).T @ np.subtract(pose.position_m, surface.pose.position_m)
    half = _half_extents(item.size_m[0], item.size_m[1], pose.yaw_rad - surface.pose.yaw_rad)
    above = -item.size_m[2] / 2 < local[2] < surface.clear_height_m + item.size_m[2] / 2
    beside = (np.abs(local[:2]) > np.array(surface.size_m) / 2 + half).any()
    return None if beside or not above else (local[:2], half)


def _half_extents(length_m: float, width_m: float, yaw_rad: float) -> np.ndarray:
    cos, sin = abs(np.cos(yaw_rad)), abs(np.sin(yaw_rad))
    return np.array([length_m * cos + width_m * sin, length_m * sin + width_m * cos]) / 2
