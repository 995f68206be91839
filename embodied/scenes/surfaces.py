"""Triangles made ready for shading: normals that are smooth over gentle bends and split at creases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embodied.errors import SceneError

CREASE_RAD = 0.6
VERTEX = np.dtype([("position", "<f4", 3), ("normal", "i1", 4), ("part", "<u4")])


@dataclass(frozen=True, eq=False)
class ShadedSurface:
    """`vertices` float32 (V, 3); `normals` int8 (V, 3), unit vectors times 127; `faces` (F, 3)."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


def shaded_surface(vertices: np.ndarray, faces: np.ndarray) -> ShadedSurface:
    """Returns the surface of `vertices` (V, 3) and `faces` (F, 3) with a normal at every corner.

    A corner's normal is the mean, weighted by their angles, of the faces around its vertex that bend by at most
    `CREASE_RAD` against its own (Thuermer and Wuethrich, Computing Vertex Normals from Polygonal Facets, 1998).
    Raises `SceneError` for arrays of wrong shape or content.
    """
    vertices, faces = _checked(vertices, faces)
    corners = vertices[faces].astype(np.float64)
    flat = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    toward_next, toward_last = (_unit(np.roll(corners, shift, axis=1) - corners) for shift in (-1, 1))
    angles = np.arccos(np.clip(np.einsum("fci,fci->fc", toward_next, toward_last), -1.0, 1.0)).ravel()
    vertex_of = faces.ravel()
    corner, other = _pairs_around_vertices(vertex_of, len(vertices))
    gentle = np.einsum("pi,pi->p", flat[corner // 3], flat[other // 3]) >= np.cos(CREASE_RAD)
    corner, other = corner[gentle], other[gentle]
    weighted = angles[other, None] * flat[other // 3]
    normals = np.stack([np.bincount(corner, weighted[:, axis], minlength=len(vertex_of)) for axis in range(3)], axis=1)
    rounded = np.rint(127 * _unit(normals)).astype(np.int64)
    # Corners that agree in vertex and normal become one; both are packed into one integer, which sorts faster.
    codes = (vertex_of << 24) + ((rounded + 127) << np.array([16, 8, 0])).sum(axis=1)
    _, first, index = np.unique(codes, return_index=True, return_inverse=True)
    return ShadedSurface(vertices[vertex_of[first]], rounded[first].astype(np.int8), index.reshape(-1, 3))


def joined(surfaces: Sequence[ShadedSurface]) -> tuple[np.ndarray, np.ndarray]:
    """Returns one array of `VERTEX`, `part` counting the surfaces, and one uint32 array of its corners."""
    counts = [len(surface.vertices) for surface in surfaces]
    vertices = np.zeros(sum(counts), dtype=VERTEX)
    vertices["part"] = np.repeat(np.arange(len(surfaces)), counts)
    indices = []
    start = 0
    for surface, count in zip(surfaces, counts, strict=True):
        vertices["position"][start : start + count] = surface.vertices
        vertices["normal"][start : start + count, :3] = surface.normals
        indices.append((surface.faces + start).astype(np.uint32).ravel())
        start += count
    return vertices, np.concatenate(indices) if indices else np.zeros(0, dtype=np.uint32)


def _pairs_around_vertices(vertex_of: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns all ordered pairs of corners that share a vertex, each with itself included."""
    by_vertex = np.argsort(vertex_of, kind="stable")
    counts = np.bincount(vertex_of, minlength=vertex_count)
    starts = np.cumsum(counts) - counts
    repeats = counts[vertex_of]
    corner = np.repeat(np.arange(len(vertex_of)), repeats)
    within = np.arange(len(corner)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return corner, by_vertex[np.repeat(starts[vertex_of], repeats) + within]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)


def _checked(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = np.asarray(vertices, dtype=np.float32), np.asarray(faces, dtype=np.int64)
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or faces.ndim != 2 or faces.shape[1:] != (3,):
        raise SceneError("Triangles must be vertices (V, 3) and faces (F, 3).", value=(vertices.shape, faces.shape))
    if not np.isfinite(vertices).all():
        raise SceneError("The vertices of a mesh must be finite.")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise SceneError("The faces of a mesh must refer to its vertices.", value=(int(faces.min()), int(faces.max())))
    return vertices, faces
