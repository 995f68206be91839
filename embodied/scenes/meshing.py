"""Converts shapes to triangles, for renderers and viewers."""

from pathlib import Path

import numpy as np

from embodied.errors import PathError
from embodied.paths import confined
from embodied.scenes.mesh_files import TriangleMesh, read_mesh
from embodied.scenes.scene import Box, Cylinder, Mesh, Shape, Sphere

CYLINDER_SIDES = 24
SPHERE_RINGS = 12

_BOX_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_BOX_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def triangulate(shape: Shape, *, asset_root: Path | None = None) -> TriangleMesh:
    """Returns the surface of `shape` in its own frame; round shapes are polyhedra inscribed in them.

    A `Mesh` is read from `asset_root` and nowhere else. Raises `PathError` for a mesh without a root, outside it or
    missing, and `SceneError` for one that cannot be read.
    """
    if isinstance(shape, Box):
        return _mesh(_BOX_CORNERS * shape.size_m, np.concatenate([_BOX_QUADS[:, :3], _BOX_QUADS[:, [0, 2, 3]]]))
    if isinstance(shape, Cylinder):
        return _cylinder(shape.radius_m, shape.height_m)
    if isinstance(shape, Sphere):
        return _sphere(shape.radius_m)
    return _from_file(shape, asset_root)


def _from_file(shape: Mesh, asset_root: Path | None) -> TriangleMesh:
    if asset_root is None:
        raise PathError(
            "A scene with meshes must come with an asset root.", value=shape.file, remedy="Set the asset root."
        )
    mesh = read_mesh(confined(asset_root, shape.file)).mesh
    return _mesh(mesh.vertices * np.asarray(shape.scale), mesh.faces)


def _cylinder(radius_m: float, height_m: float) -> TriangleMesh:
    around = np.arange(CYLINDER_SIDES)
    angle = 2 * np.pi * around / CYLINDER_SIDES
    ring = np.stack([radius_m * np.cos(angle), radius_m * np.sin(angle), np.full(CYLINDER_SIDES, height_m / 2)], axis=1)
    centre = np.array([0.0, 0.0, height_m / 2])
    # Low ring, high ring, centre of the bottom, centre of the top.
    vertices = np.concatenate([ring * [1, 1, -1], ring, [-centre, centre]])
    following = (around + 1) % CYLINDER_SIDES
    low, next_low, high, next_high = around, following, around + CYLINDER_SIDES, following + CYLINDER_SIDES
    bottom, top = np.full_like(around, 2 * CYLINDER_SIDES), np.full_like(around, 2 * CYLINDER_SIDES + 1)
    corners = [(low, next_low, next_high), (low, next_high, high), (bottom, next_low, low), (top, high, next_high)]
    return _mesh(vertices, np.concatenate([np.stack(corner, axis=1) for corner in corners]))


def _sphere(radius_m: float) -> TriangleMesh:
    sides = 2 * SPHERE_RINGS
    polar = np.pi * np.arange(1, SPHERE_RINGS) / SPHERE_RINGS
    angle = 2 * np.pi * np.arange(sides) / sides
    unit = np.stack(
        [
            np.outer(np.sin(polar), np.cos(angle)),
            np.outer(np.sin(polar), np.sin(angle)),
            np.outer(np.cos(polar), np.ones(sides)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = radius_m * np.concatenate([unit, [[0, 0, 1], [0, 0, -1]]])
    index = np.arange(len(unit)).reshape(SPHERE_RINGS - 1, sides)
    following = np.roll(index, -1, axis=1)
    upper, lower, next_upper, next_lower = index[:-1], index[1:], following[:-1], following[1:]
    north, south = np.full(sides, len(unit)), np.full(sides, len(unit) + 1)
    faces = [
        np.stack([upper, lower, next_lower], axis=-1).reshape(-1, 3),
        np.stack([upper, next_lower, next_upper], axis=-1).reshape(-1, 3),
        np.stack([north, index[0], following[0]], axis=-1),
        np.stack([south, following[-1], index[-1]], axis=-1),
    ]
    return _mesh(vertices, np.concatenate(faces))


def _mesh(vertices: np.ndarray, faces: np.ndarray) -> TriangleMesh:
    return TriangleMesh(vertices.astype(np.float32), faces.astype(np.int32))
