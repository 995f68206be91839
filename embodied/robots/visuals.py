"""The visual surfaces of a robot, at full detail, from its URDF."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from embodied.errors import PathError, SceneError
from embodied.geometry import Pose, quaternion_from_euler, transform_points, vector3
from embodied.robots.urdf import parse_xml
from embodied.scenes.mesh_files import TriangleMesh, read_mesh
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Box, Cylinder, Rgba, Sphere

PACKAGE = "package://"
WHITE: Rgba = (1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class LinkMesh:
    """One surface of one colour: `vertices` float32 (V, 3), metres in the link's frame; `faces` int32 (F, 3)."""

    link: str
    vertices: np.ndarray
    faces: np.ndarray
    rgba: Rgba


def parse_urdf(urdf: Path) -> ElementTree.Element:
    """Reads a URDF. Raises `SceneError` for a missing file, malformed XML and declared entities."""
    try:
        text = urdf.read_bytes()
    except OSError as error:
        raise SceneError("A URDF must be a readable file.", value=str(urdf)) from error
    return parse_xml(text, str(urdf))


def mesh_path(mesh: ElementTree.Element, urdf: Path) -> Path:
    """Returns the file of a <mesh>; relative paths start at the URDF's folder.

    `package://NAME/PATH` is looked for in that folder and in those above it: as NAME/PATH, and as PATH in a folder
    called NAME. Raises `SceneError`, naming the file and the URDF, if it is missing.
    """
    name = mesh.get("filename", "")
    relative = name.removeprefix(PACKAGE)
    places = [urdf.parent / relative]
    if name.startswith(PACKAGE):
        package, _, rest = relative.partition("/")
        for folder in urdf.absolute().parents:
            places += [folder / relative, *([folder / rest] if folder.name == package else [])]
    found = next((place for place in places if place.is_file()), None) if relative else None
    if found is None:
        above = ", and in the folders above it" if name.startswith(PACKAGE) else ""
        raise SceneError(
            f"The meshes of {urdf.name} must exist.",
            value=name,
            remedy=f"Looked for {places[0]}{above}; correct {urdf}.",
        )
    return found


def link_visuals(urdf: Path) -> tuple[LinkMesh, ...]:
    """Returns the visuals of every link in the order of the URDF, one `LinkMesh` per link and colour.

    The colour of a mesh is the product of its <material> and of the diffuse colour in its material file.
    Raises `SceneError` for a malformed URDF, and for a mesh that is missing, of another format or malformed.
    """
    robot = parse_urdf(urdf)
    palette = _palette(robot)
    found: list[LinkMesh] = []
    for link in robot.findall("link"):
        by_colour: dict[Rgba, list[TriangleMesh]] = {}
        for visual in link.findall("visual"):
            for rgba, mesh in _coloured(visual, palette, urdf):
                by_colour.setdefault(rgba, []).append(mesh)
        for rgba, meshes in by_colour.items():
            mesh = _joined(meshes)
            found.append(LinkMesh(link.get("name", ""), mesh.vertices, mesh.faces, rgba))
    return tuple(found)


def _palette(robot: ElementTree.Element) -> dict[str, Rgba]:
    # A material may be defined at the top level or inside the link that uses it first.
    return {
        material.get("name", ""): _rgba(colour.get("rgba", ""))
        for material in robot.iter("material")
        if (colour := material.find("color")) is not None
    }


def _rgba(text: str) -> Rgba:
    red, green, blue, alpha = _numbers(text, 4, "1 1 1 1")
    return (red, green, blue, alpha)


def _numbers(text: str | None, count: int, default: str) -> list[float]:
    try:
        values = [float(word) for word in (text or default).split()]
    except ValueError as error:
        raise SceneError("The values of a URDF must be numbers here.", value=text) from error
    if len(values) != count or not np.isfinite(values).all():
        raise SceneError(f"A URDF must give {count} finite numbers here.", value=text)
    return values


def _coloured(visual: ElementTree.Element, palette: dict[str, Rgba], urdf: Path) -> Iterator[tuple[Rgba, TriangleMesh]]:
    material = visual.find("material")
    tint = WHITE
    if material is not None:
        own = material.find("color")
        tint = _rgba(own.get("rgba", "")) if own is not None else palette.get(material.get("name", ""), WHITE)
    placed = _origin(visual).matrix
    for rgb, mesh in _surfaces(visual, urdf):
        red, green, blue = (round(float(a * b), 4) for a, b in zip(rgb, tint, strict=False))
        moved = transform_points(placed, mesh.vertices.astype(np.float64)).astype(np.float32)
        yield (red, green, blue, tint[3]), TriangleMesh(moved, mesh.faces)


def _origin(visual: ElementTree.Element) -> Pose:
    origin = visual.find("origin")
    if origin is None:
        return Pose()
    roll, pitch, yaw = _numbers(origin.get("rpy"), 3, "0 0 0")
    return Pose(vector3(_numbers(origin.get("xyz"), 3, "0 0 0")), quaternion_from_euler(roll, pitch, yaw))


def _surfaces(visual: ElementTree.Element, urdf: Path) -> Iterator[tuple[np.ndarray, TriangleMesh]]:
    geometry = visual.find("geometry")
    shape = None if geometry is None else next(iter(geometry), None)
    if shape is None:
        raise SceneError("A visual of a URDF must have a geometry.", value=str(urdf))
    if shape.tag != "mesh":
        yield np.ones(3), triangulate(_primitive(shape))
        return
    path = mesh_path(shape, urdf)
    try:
        file = read_mesh(path)
    except PathError as error:
        raise SceneError(f"The material file of {path} must lie beside it.", value=error.value) from error
    scale = np.array(_numbers(shape.get("scale"), 3, "1 1 1"), dtype=np.float32)
    vertices = file.mesh.vertices * scale
    # A mirror turns the order of corners round: they stay counter-clockwise, seen from outside.
    faces = file.mesh.faces[:, ::-1] if np.prod(scale) < 0.0 else file.mesh.faces
    for rgb in np.unique(file.rgb, axis=0):
        yield rgb, TriangleMesh(vertices, faces[(file.rgb == rgb).all(axis=1)])


def _primitive(shape: ElementTree.Element) -> Box | Cylinder | Sphere:
    if shape.tag == "box":
        return Box(vector3(_numbers(shape.get("size"), 3, "")))
    if shape.tag == "cylinder":
        return Cylinder(*_numbers(shape.get("radius"), 1, ""), *_numbers(shape.get("length"), 1, ""))
    if shape.tag == "sphere":
        return Sphere(*_numbers(shape.get("radius"), 1, ""))
    raise SceneError("A visual of a URDF must be a mesh, box, cylinder or sphere.", value=shape.tag)


def _joined(meshes: list[TriangleMesh]) -> TriangleMesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
    # Drop unused vertices and merge equal ones: faces must share vertices to be decimated without cracks.
    used, index = np.unique(faces, return_inverse=True)
    vertices = np.concatenate([mesh.vertices for mesh in meshes])[used]
    places, merged = np.unique(vertices, axis=0, return_inverse=True)
    return TriangleMesh(places, merged.reshape(-1)[index].reshape(-1, 3).astype(np.int32))
