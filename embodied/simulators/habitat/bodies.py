"""The geometry of kinematic pick and place: what a tool can grasp, and what a released body comes to rest on."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from embodied.geometry import Pose, compose, rotation_matrix, transform_points, vector3
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Body, Box, Cylinder, Part, Scene, Sphere

REACH_M = 0.02  # How far a tool may be from the surface of a body that it grasps.
UNDER_M = 0.01  # How far a support may reach up into the body that rests on it.
SAMPLES = np.array([[0.0, 0.0], [0.6, 0.6], [0.6, -0.6], [-0.6, 0.6], [-0.6, -0.6]])


def graspable_at(
    scene: Scene, poses: Mapping[str, Pose], point_m: np.ndarray, *, assets: Path, without: Iterable[str]
) -> str | None:
    """Returns the graspable body nearest to a tool at `point_m` (3,), None where none is within 2 cm.

    Bodies of `scene` stand at `poses`; those that hang on joints and those in `without` are left out. Mesh files are in
    `assets`, and count as their bounding boxes.
    """
    excluded = {*without, *(joint.child for joint in scene.joints)}
    near = [
        (_distance_m(body, poses[body.name], point_m, assets), body.name)
        for body in scene.bodies
        if body.graspable and body.mass_kg > 0.0 and body.name not in excluded
    ]
    distance_m, name = min(near, default=(np.inf, ""))
    return name if distance_m <= REACH_M else None


def width_across(body: Body, body_in_tool: Pose, *, assets: Path) -> float:
    """Returns the extent in metres of `body` along a tool's y axis, in which the fingers close.

    The body is at `body_in_tool`; its mesh files are in `assets`.
    """
    return float(np.ptp(transform_points(body_in_tool.matrix, _body_vertices(body, assets))[:, 1]))


def settled(scene: Scene, poses: Mapping[str, Pose], name: str, *, assets: Path, floating: Iterable[str]) -> Pose:
    """Returns where body `name` of `scene` comes to rest when it is released at its pose among `poses`.

    It sinks straight down, without turning, until one of five points below it meets another body, or the ground at z =
    0. Bodies in `floating` carry nothing; mesh files are in `assets`.
    """
    pose = poses[name]
    own = transform_points(pose.matrix, _body_vertices(scene.body(name), assets))
    bottom_m = float(own[:, 2].min())
    middle, half = (own.max(axis=0) + own.min(axis=0))[:2] / 2, np.ptp(own, axis=0)[:2] / 2
    points = middle + SAMPLES * half
    top_m = min(0.0, bottom_m)
    for body in scene.bodies:
        if body.name != name and body.name not in floating:
            for part in body.parts:
                if part.collides:
                    corners = transform_points(compose(poses[body.name], part.pose).matrix, _vertices(part, assets))
                    heights = _heights(corners[_faces(part, assets)], points)
                    top_m = max([top_m, *heights[heights <= bottom_m + UNDER_M]])
    x, y, z = pose.position_m
    return Pose((x, y, z + top_m - bottom_m), pose.orientation)


def _heights(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the heights at which vertical lines through `points` (P, 2) meet `triangles` (F, 3, 3)."""
    first, along, across = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    determinant = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    flat = np.abs(determinant) > 1e-12  # Vertical triangles carry nothing.
    first, along, across, determinant = first[flat], along[flat], across[flat], determinant[flat]
    off = points[:, None] - first[None, :, :2]
    u = (off[..., 0] * across[:, 1] - off[..., 1] * across[:, 0]) / determinant
    v = (along[:, 0] * off[..., 1] - along[:, 1] * off[..., 0]) / determinant
    inside = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1.0 + 1e-9)
    return (first[:, 2] + u * along[:, 2] + v * across[:, 2])[inside]


def _distance_m(body: Body, pose: Pose, point_m: np.ndarray, assets: Path) -> float:
    return min(
        (_part_distance_m(part, compose(pose, part.pose), point_m, assets) for part in body.parts if part.collides),
        default=np.inf,
    )


def _part_distance_m(part: Part, pose: Pose, point_m: np.ndarray, assets: Path) -> float:
    local = rotation_matrix(pose.orientation).T @ (point_m - np.asarray(pose.position_m))
    shape = part.shape
    if isinstance(shape, Sphere):
        return max(0.0, float(np.linalg.norm(local)) - shape.radius_m)
    if isinstance(shape, Cylinder):
        out = np.array([np.hypot(local[0], local[1]) - shape.radius_m, abs(local[2]) - shape.height_m / 2])
    elif isinstance(shape, Box):
        out = np.abs(local) - np.asarray(shape.size_m) / 2
    else:
        corners = triangulate(shape, asset_root=assets).vertices
        out = np.maximum(corners.min(axis=0) - local, local - corners.max(axis=0))
    return float(np.linalg.norm(np.maximum(out, 0.0)))


@lru_cache(maxsize=2048)
def _vertices(part: Part, assets: Path) -> np.ndarray:
    return triangulate(part.shape, asset_root=assets).vertices.astype(np.float64)


@lru_cache(maxsize=2048)
def _faces(part: Part, assets: Path) -> np.ndarray:
    return triangulate(part.shape, asset_root=assets).faces


def _body_vertices(body: Body, assets: Path) -> np.ndarray:
    """Returns the vertices (V, 3) of the colliding parts of a body in its frame; its origin where none collides."""
    found = [transform_points(part.pose.matrix, _vertices(part, assets)) for part in body.parts if part.collides]
    return np.concatenate(found or [np.array([vector3((0.0, 0.0, 0.0))])])
