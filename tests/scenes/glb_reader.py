"""Reads GLB files back for tests, strictly, by the text of the specification alone."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPES = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
Z_UP_FROM_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass
class ReadSurface:
    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    colour: list[float]
    ids: np.ndarray | None
    id_colours: np.ndarray | None


@dataclass
class ReadNode:
    name: str
    matrix: np.ndarray
    surfaces: list[ReadSurface]
    extras: dict[str, Any]

    @property
    def world(self):
        """All vertices in the z-up world."""
        vertices = np.concatenate([surface.vertices for surface in self.surfaces]).astype(float)
        return (vertices @ self.matrix[:3, :3].T + self.matrix[:3, 3]) @ Z_UP_FROM_Y_UP.T


def chunks(content):
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    found, at = [], 12
    while at < length:
        size, kind = struct.unpack_from("<I4s", content, at)
        assert size % 4 == 0
        found.append((kind, content[at + 8 : at + 8 + size]))
        at += 8 + size
    assert at == length
    return found


def read_glb(content):
    (kind, text), *rest = chunks(content)
    assert kind == b"JSON"
    described = json.loads(text)
    assert described["asset"]["version"] == "2.0"
    data = rest[0][1] if rest else b""
    assert [one[0] for one in rest] in ([], [b"BIN\0"])
    return [read_node(described, data, described["nodes"][index]) for index in described["scenes"][0]["nodes"]]


def read_node(described, data, node):
    x, y, z, w = node["rotation"]
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = node["translation"]
    primitives = described["meshes"][node["mesh"]]["primitives"] if "mesh" in node else []
    return ReadNode(
        node["name"], matrix, [read_surface(described, data, one) for one in primitives], node.get("extras", {})
    )


def read_surface(described, data, primitive):
    attributes = {name: accessor(described, data, index) for name, index in primitive["attributes"].items()}
    described_positions = described["accessors"][primitive["attributes"]["POSITION"]]
    positions = attributes["POSITION"]
    assert described_positions["min"] == positions.min(axis=0).tolist()
    assert described_positions["max"] == positions.max(axis=0).tolist()
    faces = accessor(described, data, primitive["indices"]).reshape(-1, 3)
    assert faces.max() < len(positions)
    material = described["materials"][primitive["material"]]["pbrMetallicRoughness"]
    return ReadSurface(
        positions,
        attributes["NORMAL"],
        faces,
        material["baseColorFactor"],
        attributes.get("_OBJECT_ID"),
        attributes.get("COLOR_0"),
    )


def accessor(described, data, index):
    entry = described["accessors"][index]
    view = described["bufferViews"][entry["bufferView"]]
    dtype, width = np.dtype(DTYPES[entry["componentType"]]), WIDTHS[entry["type"]]
    stride = view.get("byteStride", dtype.itemsize * width)
    assert view["byteOffset"] % 4 == 0
    assert stride % 4 == 0 or view["target"] == 34963
    assert view["byteOffset"] + view["byteLength"] <= len(data) <= described["buffers"][0]["byteLength"] + 3
    assert stride * (entry["count"] - 1) + dtype.itemsize * width <= view["byteLength"]
    values = np.ndarray(
        (entry["count"], width), dtype, data, view["byteOffset"], strides=(stride, dtype.itemsize)
    ).copy()
    return values[:, 0] if width == 1 else values
