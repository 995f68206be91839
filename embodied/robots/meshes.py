"""Low-poly visuals of robots, made once from their own meshes and kept in the user's cache."""

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from embodied.archive import read_archive, write_archive
from embodied.errors import DataError, SceneError
from embodied.paths import cache_folder, caching, write_cached
from embodied.robots.decimation import decimate
from embodied.robots.visuals import LinkMesh, link_visuals, mesh_path, parse_urdf

__all__ = ["TRIANGLES", "LinkMesh", "visual_meshes", "write_low_poly_urdf"]

TRIANGLES = 4400
_RECIPE = "2"  # Part of every key: raise it when the same sources would give other meshes.


def visual_meshes(urdf: Path, *, triangles: int = TRIANGLES, cache: Path | None = None) -> tuple[LinkMesh, ...]:
    """Returns the visuals in `urdf` with about `triangles` triangles in all, one mesh per link and colour.

    They are computed once and kept in `cache` (the user's, by default), keyed by the content of the URDF and its
    meshes. Several processes may do so at once, and a damaged entry is computed again. The arrays are read-only. Raises
    `SceneError` for a URDF or mesh that is missing or malformed, `MissingDependencyError` without Open3D,
    `PathError` for a cache that cannot be written.
    """
    if triangles < 1:
        raise SceneError("A robot must be given at least one triangle.", value=triangles)
    path = (cache or cache_folder()) / "meshes" / f"{urdf.stem}-{_key(urdf, triangles)}.npz"
    meshes = _load(path)
    if meshes is None:
        _store(path, decimate(link_visuals(urdf), triangles=triangles))
        meshes = _load(path)
    if meshes is None:
        raise DataError("The cache of meshes must be readable once written.", value=str(path))
    return meshes


def write_low_poly_urdf(urdf: Path, *, triangles: int = TRIANGLES, cache: Path | None = None) -> Path:
    """Returns a copy of `urdf` in `cache` whose visuals are `visual_meshes`, as .obj files with one colour each.

    The visuals have about `triangles` triangles. Everything else is kept; paths of collision meshes become absolute.
    Raises as `visual_meshes` does.
    """
    meshes = visual_meshes(urdf, triangles=triangles, cache=cache)
    folder = (cache or cache_folder()) / "meshes" / f"{urdf.stem}-{_key(urdf, triangles)}"
    robot = parse_urdf(urdf)
    for link in robot.findall("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        for mesh in link.iter("mesh"):
            mesh.set("filename", str(mesh_path(mesh, urdf).resolve()))
        for index, mesh in enumerate(mesh for mesh in meshes if mesh.link == link.get("name")):
            path = folder / f"{mesh.link}-{index}.obj"
            write_cached(path, _obj(mesh))
            _add_visual(link, path, mesh)
    path = folder / urdf.name
    write_cached(path, ElementTree.tostring(robot))
    return path


def _key(urdf: Path, triangles: int) -> str:
    """Returns the digest of everything that the meshes depend on."""
    digest = hashlib.sha256(f"{_RECIPE} {triangles}".encode())
    files = [urdf]
    for mesh in parse_urdf(urdf).iterfind("link/visual/geometry/mesh"):
        path = mesh_path(mesh, urdf)
        files += [path, *sorted(path.parent.glob("*.mtl"))]
    for path in dict.fromkeys(files):
        content = path.read_bytes()
        digest.update(f"{len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


def _store(path: Path, meshes: tuple[LinkMesh, ...]) -> None:
    header = json.dumps({"links": [mesh.link for mesh in meshes], "rgba": [mesh.rgba for mesh in meshes]})
    arrays = {f"vertices_{index}": mesh.vertices for index, mesh in enumerate(meshes)}
    arrays |= {f"faces_{index}": mesh.faces for index, mesh in enumerate(meshes)}
    with caching(path):
        write_archive(path, header.encode(), arrays)


def _load(path: Path) -> tuple[LinkMesh, ...] | None:
    """Returns an entry of the cache, None if it is missing or damaged."""
    try:
        text, arrays = read_archive(path)
        header = json.loads(text)
        meshes = tuple(
            LinkMesh(link, arrays[f"vertices_{index}"], arrays[f"faces_{index}"], tuple(rgba))
            for index, (link, rgba) in enumerate(zip(header["links"], header["rgba"], strict=True))
        )
    except (DataError, ValueError, KeyError):
        return None
    return meshes if all(_sound(mesh) for mesh in meshes) else None


def _sound(mesh: LinkMesh) -> bool:
    vertices, faces = mesh.vertices, mesh.faces
    return (
        (vertices.dtype, faces.dtype) == (np.float32, np.int32)
        and vertices.ndim == faces.ndim == 2
        and vertices.shape[1] == faces.shape[1] == 3
        and bool(np.isfinite(vertices).all())
        and (len(faces) == 0 or (faces.min() >= 0 and faces.max() < len(vertices)))
        and len(mesh.rgba) == 4
    )


def _obj(mesh: LinkMesh) -> bytes:
    vertices = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.vertices.tolist()]
    faces = [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    return ("\n".join([*vertices, *faces]) + "\n").encode()


def _add_visual(link: ElementTree.Element, path: Path, mesh: LinkMesh) -> None:
    visual = ElementTree.SubElement(link, "visual")
    ElementTree.SubElement(ElementTree.SubElement(visual, "geometry"), "mesh", filename=str(path.resolve()))
    material = ElementTree.SubElement(visual, "material", name=path.stem)
    ElementTree.SubElement(material, "color", rgba=" ".join(f"{value:.6g}" for value in mesh.rgba))
