"""GLB files: glTF 2.0 in one binary file (Khronos Group, glTF 2.0 Specification, 2021, chapters 3 and 4)."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embodied.geometry import Pose
from embodied.scenes.export.y_up import y_up_points, y_up_pose
from embodied.types.events import Rgba

_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_FLOAT, _UNSIGNED_INT, _UNSIGNED_SHORT, _UNSIGNED_BYTE = 5126, 5125, 5123, 5121
_VERTICES, _INDICES = 34962, 34963


@dataclass(frozen=True, eq=False)
class GlbSurface:
    """Triangles of one colour: `vertices` and unit `normals` float32 (V, 3), z up; `faces` (F, 3) of indices.

    `object_id` marks the vertices of a semantic mesh, in 0 to 65535; None leaves the mark out.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    rgba: Rgba
    object_id: int | None = None


@dataclass(frozen=True, eq=False)
class GlbNode:
    """A named thing at `pose` (z up) with its surfaces; `extras` are application data that viewers ignore."""

    name: str
    surfaces: Sequence[GlbSurface]
    pose: Pose = field(default_factory=Pose)
    extras: Mapping[str, Any] = field(default_factory=dict)


def glb_bytes(nodes: Sequence[GlbNode], *, linear_colours: bool = True) -> bytes:
    """Returns a GLB file with one node per entry of `nodes`, y up; nodes that share their surfaces share the mesh.

    The colours of this project are what a screen shows (sRGB). A glTF material holds linear light, to which they are
    converted with `linear_colours`; without, the numbers are kept, which is how Habitat's flat shading shows them.
    The same nodes give the same bytes.
    """
    file = _File(linear_colours=linear_colours)
    for node in nodes:
        file.add(node)
    return file.content()


class _File:
    """Collects the buffer and the JSON of one file."""

    def __init__(self, *, linear_colours: bool) -> None:
        self._linear = linear_colours
        self._buffer = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._materials: dict[Rgba, int] = {}
        self._meshes: list[dict[str, Any]] = []
        self._mesh_of: dict[int, tuple[Any, int]] = {}  # By the identity of surfaces, which are kept alive here.
        self._nodes: list[dict[str, Any]] = []

    def add(self, node: GlbNode) -> None:
        pose = y_up_pose(node.pose)
        entry: dict[str, Any] = {
            "name": node.name,
            "translation": list(pose.position_m),
            "rotation": list(pose.orientation),
        }
        if node.surfaces:
            entry["mesh"] = self._mesh(node)
        if node.extras:
            entry["extras"] = dict(node.extras)
        self._nodes.append(entry)

    def content(self) -> bytes:
        """Returns the header and the two chunks, each filled up to a multiple of four bytes."""
        described: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "embodied-memory"},
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self._nodes)))}],
            "nodes": self._nodes,
        }
        if self._meshes:
            described |= {
                "meshes": self._meshes,
                "materials": [self._material(rgba) for rgba in self._materials],
                "accessors": self._accessors,
                "bufferViews": self._views,
                "buffers": [{"byteLength": len(self._buffer)}],
            }
        text = json.dumps(described, separators=(",", ":"), allow_nan=False).encode()
        chunks = _chunk(_JSON, text, b" ") + (_chunk(_BIN, bytes(self._buffer), b"\0") if self._buffer else b"")
        return struct.pack("<III", _MAGIC, _VERSION, 12 + len(chunks)) + chunks

    def _mesh(self, node: GlbNode) -> int:
        if id(node.surfaces) not in self._mesh_of:
            primitives = [self._primitive(surface) for surface in node.surfaces]
            self._mesh_of[id(node.surfaces)] = (node.surfaces, len(self._meshes))
            self._meshes.append({"name": node.name, "primitives": primitives})
        return self._mesh_of[id(node.surfaces)][1]

    def _primitive(self, surface: GlbSurface) -> dict[str, Any]:
        vertices = y_up_points(np.asarray(surface.vertices, dtype=np.float32))
        normals = y_up_points(np.asarray(surface.normals, dtype=np.float32))
        bounds = {"min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()}
        attributes = {
            "POSITION": self._accessor(vertices, _FLOAT, "VEC3", **bounds),
            "NORMAL": self._accessor(normals, _FLOAT, "VEC3"),
        }
        if surface.object_id is not None:
            # Vertex data is aligned to four bytes: a mark is followed by two bytes that are skipped.
            marks = np.tile(np.array([surface.object_id, 0], dtype=np.uint16), (len(vertices), 1))
            attributes["_OBJECT_ID"] = self._accessor(marks, _UNSIGNED_SHORT, "SCALAR", stride=4)
            colours = np.tile(np.array(id_colour(surface.object_id), dtype=np.uint8), (len(vertices), 1))
            attributes["COLOR_0"] = self._accessor(colours, _UNSIGNED_BYTE, "VEC4", normalized=True)
        indices = np.asarray(surface.faces, dtype=np.uint32).reshape(-1)
        return {
            "attributes": attributes,
            "indices": self._accessor(indices, _UNSIGNED_INT, "SCALAR", target=_INDICES),
            "material": self._materials.setdefault(surface.rgba, len(self._materials)),
        }

    def _accessor(
        self, values: np.ndarray, component: int, kind: str, *, target: int = _VERTICES, stride: int = 0, **more: Any
    ) -> int:
        view = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": values.nbytes, "target": target}
        self._views.append(view | ({"byteStride": stride} if stride else {}))
        self._buffer += values.astype(values.dtype.newbyteorder("<")).tobytes()
        self._buffer += bytes(-len(self._buffer) % 4)
        entry = {"bufferView": len(self._views) - 1, "componentType": component, "count": len(values), "type": kind}
        self._accessors.append(entry | more)
        return len(self._accessors) - 1

    def _material(self, rgba: Rgba) -> dict[str, Any]:
        """Returns a dull, opaque material: images of this project ignore alpha."""
        shown = [_linear(value) if self._linear else float(value) for value in rgba[:3]]
        surface = {"baseColorFactor": [*shown, 1.0], "metallicFactor": 0.0, "roughnessFactor": 1.0}
        return {"pbrMetallicRoughness": surface}


def id_colour(object_id: int) -> tuple[int, int, int, int]:
    """Returns the colour, red to alpha in 0 to 255, that stands for an id of up to 24 bits in a semantic mesh."""
    return (object_id >> 16 & 255, object_id >> 8 & 255, object_id & 255, 255)


def _linear(value: float) -> float:
    """Returns the linear light of a component of sRGB (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _chunk(kind: int, content: bytes, filler: bytes) -> bytes:
    content += filler * (-len(content) % 4)
    return struct.pack("<II", len(content), kind) + content
