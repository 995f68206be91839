import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.errors import PathError, SceneError
from embodied.scenes.mesh_files import TriangleMesh, read_mesh
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Box, Cylinder, Mesh, Sphere

LENGTH = st.floats(0.001, 5.0)
TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


def volume(mesh: TriangleMesh) -> float:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def assert_watertight(mesh: TriangleMesh) -> None:
    edges = np.concatenate([mesh.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    there = {(int(a), int(b)) for a, b in edges}
    assert len(there) == len(edges)
    assert there == {(b, a) for a, b in there}


def stl_bytes(mesh: TriangleMesh) -> bytes:
    triangles = [struct.pack("<12fH", 0, 0, 0, *mesh.vertices[face].ravel(), 0) for face in mesh.faces]
    return bytes(80) + struct.pack("<I", len(triangles)) + b"".join(triangles)


@given(size=st.tuples(LENGTH, LENGTH, LENGTH))
def test_a_box_is_closed_and_turned_outwards(size: tuple[float, float, float]) -> None:
    mesh = triangulate(Box(size))
    assert_watertight(mesh)
    assert volume(mesh) == pytest.approx(np.prod(size), rel=1e-5)
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx(size, rel=1e-6)


@given(radius=LENGTH, height=LENGTH)
def test_a_cylinder_is_closed_along_z_and_inscribed(radius: float, height: float) -> None:
    mesh = triangulate(Cylinder(radius, height))
    assert_watertight(mesh)
    assert 0.98 < volume(mesh) / (np.pi * radius**2 * height) < 1.0
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(height, rel=1e-6)
    assert np.linalg.norm(mesh.vertices[:, :2], axis=1).max() == pytest.approx(radius, rel=1e-6)


@given(radius=LENGTH)
def test_a_sphere_is_closed_and_inscribed(radius: float) -> None:
    mesh = triangulate(Sphere(radius))
    assert_watertight(mesh)
    assert 0.96 < volume(mesh) / (4 / 3 * np.pi * radius**3) < 1.0
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(radius, rel=1e-5)


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3\nf\t1\t3\t4\n",
        "f 1 2 \\\n3 4\n",
        "f 1 2 \\\r\n3 4\n",
        "f 1 2 3 4 # a quad\n",
        "  f  1/1 2/1 3/1 4/1  \n",
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_wavefront_files_of_any_exporter_are_read_whole(tmp_path: Path, mark: str, faces: str) -> None:
    corners = "v 0 0 0\nv 1 0 0 # a corner\nv\t1 1 0\nv 0 1 0\n"
    (tmp_path / "square.obj").write_text(mark + corners + faces, encoding="utf-8")
    mesh = read_mesh(tmp_path / "square.obj").mesh
    sides = [mesh.vertices[mesh.faces[:, i]] - mesh.vertices[mesh.faces[:, 0]] for i in (1, 2)]
    assert np.linalg.norm(np.cross(*sides), axis=1).sum() / 2 == pytest.approx(1.0)


def test_names_of_materials_may_contain_the_sign_of_comments(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl Material #25\nKd 1 0 0\n")
    (tmp_path / "m.obj").write_text("mtllib m.mtl\nusemtl Material #25\n" + TETRAHEDRON)
    assert (read_mesh(tmp_path / "m.obj").rgb == (1, 0, 0)).all()


def test_arrays_have_the_promised_types() -> None:
    for shape in (Box((1, 2, 3)), Cylinder(1, 2), Sphere(1)):
        mesh = triangulate(shape)
        assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float32, np.int32)


def test_a_mesh_is_read_from_its_root_and_scaled(tmp_path: Path) -> None:
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys/t.obj").write_text(TETRAHEDRON)
    mesh = triangulate(Mesh("toys/t.obj", scale=(2.0, 3.0, 4.0)), asset_root=tmp_path)
    assert_watertight(mesh)
    assert volume(mesh) == pytest.approx(24 / 6)


def test_an_obj_and_a_binary_stl_of_one_shape_are_equal_surfaces(tmp_path: Path) -> None:
    (tmp_path / "t.obj").write_text(TETRAHEDRON)
    obj = read_mesh(tmp_path / "t.obj").mesh
    (tmp_path / "t.stl").write_bytes(stl_bytes(obj))
    stl = read_mesh(tmp_path / "t.stl").mesh
    assert_watertight(stl)
    assert stl.vertices[stl.faces] == pytest.approx(obj.vertices[obj.faces])


def test_polygons_become_fans_and_negative_corners_count_from_the_end(tmp_path: Path) -> None:
    (tmp_path / "q.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4/1/1 -3/2/1 -2//1 -1\n")
    assert read_mesh(tmp_path / "q.obj").mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_faces_take_the_diffuse_colour_of_their_material(tmp_path: Path) -> None:
    (tmp_path / "t.mtl").write_text("newmtl red\nKa 1 1 1\nKd 1 0 0.25\nnewmtl blue\nKd 0 0 1\n")
    (tmp_path / "t.obj").write_text(
        "mtllib t.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nusemtl blue\nf 1 2 3\nusemtl red\nf 1 2 3\n"
    )
    assert read_mesh(tmp_path / "t.obj").rgb.tolist() == [[1, 1, 1], [0, 0, 1], [1, 0, 0.25]]


def test_a_missing_material_file_leaves_faces_white(tmp_path: Path) -> None:
    (tmp_path / "t.obj").write_text("mtllib gone.mtl\nusemtl red\n" + TETRAHEDRON)
    assert (read_mesh(tmp_path / "t.obj").rgb == 1).all()


def test_a_material_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.mtl").write_text("newmtl a\nKd 0 0 0\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/t.obj").write_text("mtllib ../secret.mtl\n" + TETRAHEDRON)
    with pytest.raises(PathError, match="inside its root"):
        read_mesh(tmp_path / "in/t.obj")


@pytest.mark.parametrize("file", ["../t.obj", "link.obj", "toys/../../t.obj"])
def test_a_mesh_outside_its_root_is_refused(tmp_path: Path, file: str) -> None:
    root = tmp_path / "root"
    (root / "toys").mkdir(parents=True)
    (tmp_path / "t.obj").write_text(TETRAHEDRON)
    (root / "link.obj").symlink_to(tmp_path / "t.obj")
    with pytest.raises(PathError, match="inside its root"):
        triangulate(Mesh(file), asset_root=root)


def test_an_absolute_a_missing_and_a_rootless_mesh_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.obj").write_text(TETRAHEDRON)
    with pytest.raises(PathError, match="inside its root"):
        triangulate(Mesh(str(tmp_path / "t.obj")), asset_root=tmp_path)
    with pytest.raises(PathError, match=r"must exist.*'gone.obj'"):
        triangulate(Mesh("gone.obj"), asset_root=tmp_path)
    with pytest.raises(PathError, match="asset root"):
        triangulate(Mesh("t.obj"))


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("m.obj", b"v 0 0 0\nv 1 0 0\nv 0 nan 0\nf 1 2 3\n", "finite"),
        ("m.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "refer to its vertices"),
        ("m.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "refer to its vertices"),
        ("m.obj", b"v 0 0 0\n", "at least one face"),
        ("m.obj", b"v 0 zero 0\nf 1 1 1\n", "well-formed"),
        ("m.obj", b"v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "well-formed"),
        ("m.obj", b"\xff\xfe\x00", "at least one face"),
        ("m.stl", b"solid ascii\n", "binary and complete"),
        ("m.stl", bytes(80) + struct.pack("<I", 3) + bytes(50), "binary and complete"),
        ("m.dae", b"<xml/>", r"\.obj or a binary \.stl"),
    ],
)
def test_a_malformed_mesh_is_refused(tmp_path: Path, name: str, content: bytes, rule: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SceneError, match=rule):
        triangulate(Mesh(name), asset_root=tmp_path)
