"""Reduces the triangles of robot meshes: hidden ones are dropped, visible ones are merged by Open3D."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embodied.errors import MissingDependencyError
from embodied.robots.visuals import LinkMesh

DIRECTIONS = 48
COARSE_FACTOR = 5
MIN_TRIANGLES = 12
_LIFT_M = 1e-5


def decimate(meshes: Sequence[LinkMesh], *, triangles: int) -> tuple[LinkMesh, ...]:
    """Returns `meshes` with at most about `triangles` triangles together, each facing outwards.

    Triangles that cannot be seen from outside their link are dropped. The meshes share the budget in proportion to the
    square root of their visible area. Quadric decimation after Garland and Heckbert, Surface Simplification Using
    Quadric Error Metrics, 1997. Raises `MissingDependencyError` without Open3D.
    """
    open3d = _open3d()
    # Twice: visibility is cheap on a coarse mesh, and the final budget must not be spent on invisible parts.
    coarse = _share(open3d, meshes, COARSE_FACTOR * triangles)
    links = list(dict.fromkeys(mesh.link for mesh in coarse))
    seen = [
        mesh
        for link in links
        for mesh in _outside(open3d, [mesh for mesh in coarse if mesh.link == link])
        if len(mesh.faces)
    ]
    return _share(open3d, seen, triangles)


def _share(open3d: Any, meshes: Sequence[LinkMesh], triangles: int) -> tuple[LinkMesh, ...]:
    sizes = np.array([_areas(mesh).sum() for mesh in meshes]) ** 0.5  # Fingers are small, but seen from close by.
    counts = np.array([len(mesh.faces) for mesh in meshes])
    targets = np.zeros(len(meshes))
    simple = np.zeros(len(meshes), dtype=bool)
    for _ in meshes:  # The others get what simple meshes leave of the budget.
        targets = np.where(
            simple, counts, sizes / max(sizes[~simple].sum(), 1e-12) * (triangles - counts[simple].sum())
        )
        if (simple | (targets < counts)).all():
            break
        simple |= targets >= counts
    return tuple(
        mesh if target >= len(mesh.faces) else _simplify(open3d, mesh, max(MIN_TRIANGLES, int(target)))
        for mesh, target in zip(meshes, targets, strict=True)
    )


def _simplify(open3d: Any, mesh: LinkMesh, triangles: int) -> LinkMesh:
    surface = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices.astype(np.float64)), open3d.utility.Vector3iVector(mesh.faces)
    )
    surface = surface.simplify_quadric_decimation(triangles)
    surface.remove_degenerate_triangles()
    surface.remove_unreferenced_vertices()
    vertices, faces = np.asarray(surface.vertices), np.asarray(surface.triangles)
    return LinkMesh(mesh.link, vertices.astype(np.float32), faces.astype(np.int32), mesh.rgba)


def _outside(open3d: Any, meshes: Sequence[LinkMesh]) -> list[LinkMesh]:
    """Keeps the triangles of one link that rays from outside reach, oriented towards the origin of the rays."""
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    for mesh in meshes:
        scene.add_triangles(mesh.vertices, mesh.faces.astype(np.uint32))
    kept = []
    for mesh in meshes:
        front, back = (_open_rays(scene, mesh, side) for side in (1.0, -1.0))
        faces = np.where((back > front)[:, None], mesh.faces[:, ::-1], mesh.faces)[(front > 0) | (back > 0)]
        used, index = np.unique(faces, return_inverse=True)
        kept.append(LinkMesh(mesh.link, mesh.vertices[used], index.reshape(-1, 3).astype(np.int32), mesh.rgba))
    return kept


def _open_rays(scene: Any, mesh: LinkMesh, side: float) -> np.ndarray:
    """Counts the rays (F,) that leave each triangle on one side and meet nothing."""
    corners = mesh.vertices[mesh.faces]
    normals = side * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20
    count = np.zeros(len(mesh.faces), dtype=np.int64)
    for weights in ((1 / 3, 1 / 3, 1 / 3), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)):
        start = np.einsum("fcx,c->fx", corners, np.array(weights, dtype=np.float32)) + _LIFT_M * normals
        for direction in _sphere_directions():
            # On the far side, the direction is mirrored into the half-space that the triangle faces.
            toward = direction - 2 * np.minimum(normals @ direction, 0)[:, None] * normals
            rays = np.concatenate([start, toward], axis=1).astype(np.float32)
            count += ~scene.test_occlusions(rays, nthreads=1).numpy()
    return count


def _sphere_directions() -> np.ndarray:
    """Returns DIRECTIONS unit vectors spread evenly: a Fibonacci sphere."""
    index = np.arange(DIRECTIONS) + 0.5
    z, angle = 1 - 2 * index / DIRECTIONS, np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def _areas(mesh: LinkMesh) -> np.ndarray:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def _open3d() -> Any:
    try:
        import open3d
    except (ImportError, OSError) as error:  # OSError: a system library that it links to is missing.
        raise MissingDependencyError(
            f"Low-poly robot meshes are made by Open3D, which cannot be loaded: {error}.",
            remedy="Install it: pip install open3d-cpu, and on Debian: apt-get install libusb-1.0-0 libgomp1.",
        ) from error
    return open3d
