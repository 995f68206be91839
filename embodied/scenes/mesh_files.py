"""Triangles from mesh files: Wavefront OBJ, with the colours of its materials, and binary STL."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from embodied.errors import SceneError
from embodied.geometry import Vector3
from embodied.paths import confined

MAX_MESH_BYTES = 64 << 20
WHITE = (1.0, 1.0, 1.0)
_STL_HEADER_BYTES = 84
_STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """A surface: `vertices` float32 (V, 3) in metres; `faces` int32 (F, 3), counter-clockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True, eq=False)
class MeshFile:
    """The content of a mesh file: its surface, and the diffuse `rgb` float32 (F, 3) of each face, white by default."""

    mesh: TriangleMesh
    rgb: np.ndarray


def read_mesh(path: Path) -> MeshFile:
    """Reads an .obj (polygons become fans; texture maps and missing material files are ignored) or a binary .stl.

    Raises `SceneError` for other formats, files that are too large, truncated or malformed, values that are not
    finite, corners that do not exist, and meshes without faces; `PathError` for a material file outside the folder.
    """
    readers = {".obj": _read_obj, ".stl": _read_stl}
    if path.suffix.lower() not in readers:
        raise SceneError("A mesh must be an .obj or a binary .stl file.", value=path.name, remedy="Convert it.")
    if path.stat().st_size > MAX_MESH_BYTES:
        raise SceneError(f"A mesh file must have at most {MAX_MESH_BYTES} bytes.", value=path.name)
    try:
        vertices, faces, rgb = readers[path.suffix.lower()](path)
    except (ValueError, IndexError, OverflowError) as error:
        if isinstance(error, SceneError):
            raise
        raise SceneError(f"A mesh file must be well-formed: {error}.", value=path.name) from error
    if len(faces) == 0:
        raise SceneError("A mesh must have at least one face.", value=path.name)
    if not np.isfinite(vertices).all():
        raise SceneError("The vertices of a mesh must be finite.", value=path.name)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise SceneError("The faces of a mesh must refer to its vertices.", value=path.name)
    return MeshFile(TriangleMesh(vertices, faces), rgb)


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    rgb: list[Vector3] = []
    colours: dict[str, Vector3] = {}
    colour = WHITE
    for word, rest in _statements(path):
        if word == "v":
            vertices.append([float(value) for value in rest.split()[:3]])
        elif word == "f":
            corners = [_corner(text, len(vertices)) for text in rest.split()]
            for second, third in pairwise(corners[1:]):
                faces.append((corners[0], second, third))
                rgb.append(colour)
        elif word == "usemtl":
            colour = colours.get(rest, WHITE)
        elif word == "mtllib" and (path.parent / rest).is_file():  # Some published robots lack material files.
            colours |= _read_colours(confined(path.parent, rest))
    return (
        np.array(vertices, dtype=np.float32).reshape(-1, 3),
        np.array(faces, dtype=np.int32).reshape(-1, 3),
        np.array(rgb, dtype=np.float32).reshape(-1, 3),
    )


def _statements(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the first word and the rest of each statement of a Wavefront file.

    A backslash at the end of a line continues it, and a byte order mark may come first. Numbers end at a comment (`#`),
    which names may contain.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        word, *rest = line.split(maxsplit=1) or [""]
        named = word in ("usemtl", "mtllib", "newmtl")
        yield word, (rest[0] if named else rest[0].partition("#")[0]).rstrip() if rest else ""


def _corner(text: str, vertex_count: int) -> int:
    index = int(text.split("/", maxsplit=1)[0])
    return index + vertex_count if index < 0 else index - 1


def _read_colours(path: Path) -> dict[str, Vector3]:
    colours: dict[str, Vector3] = {}
    name = ""
    for word, rest in _statements(path):
        if word == "newmtl":
            name = rest
        elif word == "Kd":
            red, green, blue = (min(1.0, max(0.0, float(value))) for value in rest.split()[:3])
            colours[name] = (red, green, blue)
    return colours


def _read_stl(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = path.read_bytes()
    count = int.from_bytes(data[80:_STL_HEADER_BYTES], "little")
    if len(data) != _STL_HEADER_BYTES + count * _STL_TRIANGLE.itemsize:
        raise SceneError("An .stl must be binary and complete.", value=path.name, remedy="Convert or copy it anew.")
    corners = np.frombuffer(data, _STL_TRIANGLE, count, _STL_HEADER_BYTES)["corners"].reshape(-1, 3)
    vertices, index = np.unique(corners, axis=0, return_inverse=True)
    return vertices, index.reshape(-1, 3).astype(np.int32), np.ones((count, 3), dtype=np.float32)
