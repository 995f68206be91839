import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from embodied.archive import read_archive, write_archive
from embodied.errors import MissingDependencyError, PathError, SceneError
from embodied.robots import meshes
from embodied.robots.assets import stock_urdf_path
from embodied.robots.catalogue import robot_model
from embodied.robots.decimation import decimate
from embodied.robots.meshes import LinkMesh, visual_meshes, write_low_poly_urdf
from embodied.robots.urdf import load_urdf
from embodied.robots.visuals import link_visuals
from embodied.scenes.mesh_files import TriangleMesh
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Box, Sphere
from embodied.simulators.bullet.client import connect

TRIANGLES = 300
URDF = """<robot name="toy">
  <material name="steel"><color rgba="0.5 0.6 0.7 1"/></material>
  <link name="foot">
    <visual><origin xyz="0 0 1" rpy="0 0 1.5707963267948966"/>
      <geometry><mesh filename="package://meshes/ball.obj" scale="2 1 1"/></geometry><material name="steel"/></visual>
    <visual><geometry><box size="0.1 0.2 0.3"/></geometry>
      <material name="own"><color rgba="1 0 0 0.5"/></material></visual>
    <collision><geometry><mesh filename="meshes/ball.obj"/></geometry></collision>
    <inertial><mass value="1"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial>
  </link>
  <link name="head">
    <visual><geometry><cylinder radius="0.1" length="0.4"/></geometry></visual>
    <inertial><mass value="1"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial>
  </link>
  <joint name="neck" type="revolute"><parent link="foot"/><child link="head"/><origin xyz="0 0 2"/>
    <axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
</robot>"""


def fine_sphere(radius_m: float, rings: int = 40) -> TriangleMesh:
    """A ball of about 4 rings^2 triangles: the scene's own, each triangle cut in four where more are wanted."""
    mesh = triangulate(Sphere(radius_m))
    while len(mesh.faces) < 2 * rings**2:
        a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        flat = corners.reshape(-1, 3)
        flat = radius_m * flat / np.linalg.norm(flat, axis=1, keepdims=True)
        vertices, index = np.unique(np.round(flat, 5), axis=0, return_inverse=True)
        mesh = TriangleMesh(vertices.astype(np.float32), index.reshape(-1, 3).astype(np.int32))
    return mesh


def obj_text(mesh: TriangleMesh) -> str:
    lines = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in mesh.vertices.tolist()]
    return "\n".join([*lines, *(f"f {a + 1} {b + 1} {c + 1}" for a, b, c in mesh.faces.tolist())]) + "\n"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    (folder / "meshes").mkdir(parents=True)
    (folder / "meshes/ball.mtl").write_text("newmtl half\nKd 0.5 0.5 0.5\n")
    ball = obj_text(fine_sphere(0.2))
    (folder / "meshes/ball.obj").write_text("mtllib ball.mtl\n" + ball.replace("f ", "usemtl half\nf ", 1))
    urdf = folder / "toy.urdf"
    urdf.write_text(URDF)
    return urdf


def linked(link: str, mesh: TriangleMesh, rgba: tuple[float, float, float, float] = (1, 1, 1, 1)) -> LinkMesh:
    return LinkMesh(link, mesh.vertices, mesh.faces, rgba)


def outwardness(mesh: LinkMesh) -> np.ndarray:
    """For a mesh around the origin: positive where a face looks away from it."""
    corners = mesh.vertices[mesh.faces]
    return np.einsum(
        "fi,fi->f", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners.mean(axis=1)
    )


def assert_same(left: Sequence[LinkMesh], right: Sequence[LinkMesh]) -> None:
    assert [(mesh.link, mesh.rgba) for mesh in left] == [(mesh.link, mesh.rgba) for mesh in right]
    for one, other in zip(left, right, strict=True):
        assert np.array_equal(one.vertices, other.vertices)
        assert np.array_equal(one.faces, other.faces)


@contextmanager
def no_decimation(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decimated again")

    with monkeypatch.context() as patched:
        patched.setattr(meshes, "decimate", refuse)
        yield


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_visuals_are_placed_scaled_and_coloured_link_by_link(toy: Path) -> None:
    ball, box, cylinder = link_visuals(toy)
    assert [mesh.link for mesh in (ball, box, cylinder)] == ["foot", "foot", "head"]
    assert ball.rgba == (0.25, 0.3, 0.35, 1.0)
    assert box.rgba == (1.0, 0.0, 0.0, 0.5)
    assert cylinder.rgba == (1.0, 1.0, 1.0, 1.0)
    # Scaled by two along x, then turned by a quarter about z: long along y.
    assert np.ptp(ball.vertices, axis=0) == pytest.approx([0.4, 0.8, 0.4], abs=0.005)
    assert ball.vertices.mean(axis=0) == pytest.approx([0, 0, 1], abs=0.005)
    assert np.ptp(box.vertices, axis=0) == pytest.approx([0.1, 0.2, 0.3])
    assert np.ptp(cylinder.vertices, axis=0) == pytest.approx([0.2, 0.2, 0.4])


def test_a_missing_mesh_is_refused_by_file_and_urdf(toy: Path, tmp_path: Path) -> None:
    (toy.parent / "meshes/ball.obj").unlink()
    for call in (link_visuals, visual_meshes, write_low_poly_urdf):
        with pytest.raises(SceneError, match=r"meshes of toy\.urdf must exist.*ball\.obj.*toy\.urdf"):
            call(toy, **({} if call is link_visuals else {"cache": tmp_path}))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("<box size", "<capsule size", "mesh, box, cylinder or sphere"),
        ('size="0.1 0.2 0.3"', 'size="0.1 0.2"', "3 finite numbers"),
        ('size="0.1 0.2 0.3"', 'size="0.1 0.2 wide"', "must be numbers"),
        ('size="0.1 0.2 0.3"', 'size="0.1 0.2 -0.3"', "positive"),
        ("</robot>", "", "well-formed XML"),
        ("<robot", "<!DOCTYPE robot [<!ENTITY a 'b'>]><robot", "must not declare entities"),
        ("<geometry><cylinder", "<shape><cylinder", "well-formed XML"),
    ],
)
def test_a_malformed_urdf_is_refused(toy: Path, old: str, new: str, rule: str) -> None:
    toy.write_text(URDF.replace(old, new, 1))
    with pytest.raises(SceneError, match=rule):
        link_visuals(toy)


# --- Decimating -------------------------------------------------------------------------------------------------------


def test_hidden_triangles_go_and_the_rest_turn_outwards() -> None:
    outer, inner = fine_sphere(0.2), fine_sphere(0.1)
    inside_out = TriangleMesh(outer.vertices, outer.faces[:, ::-1].copy())
    kept = decimate([linked("a", inside_out, (1, 0, 0, 1)), linked("a", inner, (0, 1, 0, 1))], triangles=TRIANGLES)
    assert [mesh.rgba for mesh in kept] == [(1, 0, 0, 1)]
    assert 0.9 * TRIANGLES < len(kept[0].faces) <= TRIANGLES
    assert (outwardness(kept[0]) > 0).all()
    assert np.linalg.norm(kept[0].vertices, axis=1) == pytest.approx(0.2, abs=0.004)


def test_bodies_of_other_links_hide_nothing_and_simple_meshes_stay_whole() -> None:
    box = triangulate(Box((0.3, 0.3, 0.3)))  # A large share of the budget, which it leaves to the shell.
    kept = decimate([linked("shell", fine_sphere(0.2)), linked("core", box)], triangles=TRIANGLES)
    assert [mesh.link for mesh in kept] == ["shell", "core"]
    assert len(kept[1].faces) == 12
    assert 0.9 * TRIANGLES < sum(len(mesh.faces) for mesh in kept) <= TRIANGLES


def test_the_panda_keeps_its_outline_and_colours_in_4400_triangles() -> None:
    urdf = stock_urdf_path(robot_model("panda"))
    full, low = link_visuals(urdf), visual_meshes(urdf)
    assert sum(len(mesh.faces) for mesh in full) > 100_000
    assert sum(len(mesh.faces) for mesh in low) == pytest.approx(4400, abs=60)
    links = list(dict.fromkeys(mesh.link for mesh in full))
    assert list(dict.fromkeys(mesh.link for mesh in low)) == links
    for link in links:
        before, after = (np.concatenate([m.vertices for m in some if m.link == link]) for some in (full, low))
        assert after.min(axis=0) == pytest.approx(before.min(axis=0), abs=0.004), link
        assert after.max(axis=0) == pytest.approx(before.max(axis=0), abs=0.004), link
    assert {mesh.rgba for mesh in low} <= {mesh.rgba for mesh in full}
    assert {(1.0, 1.0, 1.0, 1.0), (0.251, 0.251, 0.251, 1.0)} <= {mesh.rgba for mesh in low}
    assert not any(mesh.vertices.flags.writeable or mesh.faces.flags.writeable for mesh in low)


def test_missing_open3d_names_the_packages_to_install(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(MissingDependencyError, match=r"pip install open3d-cpu.*libusb-1\.0-0"):
        visual_meshes(toy, cache=tmp_path / "cache")


# --- Keeping ----------------------------------------------------------------------------------------------------------


def test_the_second_call_reads_the_cache(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = visual_meshes(toy, triangles=TRIANGLES, cache=tmp_path / "cache")
    with no_decimation(monkeypatch):
        assert_same(visual_meshes(toy, triangles=TRIANGLES, cache=tmp_path / "cache"), made)


@pytest.mark.parametrize("change", ["mesh", "material", "urdf", "triangles"])
def test_whatever_the_meshes_depend_on_makes_them_anew(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    visual_meshes(toy, triangles=TRIANGLES, cache=tmp_path / "cache")
    if change == "mesh":
        (toy.parent / "meshes/ball.obj").write_text(obj_text(fine_sphere(0.19)))
    elif change == "material":
        (toy.parent / "meshes/ball.mtl").write_text("newmtl half\nKd 0.5 0.5 0.6\n")
    elif change == "urdf":
        toy.write_text(URDF.replace("0.1 0.2 0.3", "0.1 0.2 0.4"))
    with no_decimation(monkeypatch), pytest.raises(AssertionError, match="decimated again"):
        visual_meshes(toy, triangles=TRIANGLES - (change == "triangles"), cache=tmp_path / "cache")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _refer_to_no_vertex(path: Path) -> None:
    header, arrays = read_archive(path)
    write_archive(path, header, arrays | {"faces_0": arrays["faces_0"] + 1_000_000})


def _leave_out_a_mesh(path: Path) -> None:
    header, arrays = read_archive(path)
    write_archive(path, header, {name: array for name, array in arrays.items() if name != "faces_1"})


def _smuggle_a_pickle(path: Path) -> None:
    _, arrays = read_archive(path)
    np.savez(path, **{**arrays, "vertices_0": np.array([{"a": 1}], dtype=object)}, allow_pickle=True)


@pytest.mark.parametrize(
    "damage", [_truncate, _flip_a_byte, _empty, _refer_to_no_vertex, _leave_out_a_mesh, _smuggle_a_pickle]
)
def test_a_damaged_cache_is_made_again(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage) -> None:
    made = visual_meshes(toy, triangles=TRIANGLES, cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").rglob("*.npz")
    damage(entry)
    assert_same(visual_meshes(toy, triangles=TRIANGLES, cache=tmp_path / "cache"), made)
    with no_decimation(monkeypatch):
        assert_same(visual_meshes(toy, triangles=TRIANGLES, cache=tmp_path / "cache"), made)


def test_two_processes_at_once_get_the_same_and_leave_one_entry(toy: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_vertices_of, [(toy, tmp_path / "cache")] * 2, chunksize=1)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert len(list((tmp_path / "cache/meshes").iterdir())) == 1


def _vertices_of(paths: tuple[Path, Path]) -> list[np.ndarray]:
    urdf, cache = paths
    return [mesh.vertices for mesh in visual_meshes(urdf, triangles=TRIANGLES, cache=cache)]


# --- Writing a URDF ---------------------------------------------------------------------------------------------------


def test_the_low_poly_urdf_shows_the_same_meshes_and_keeps_the_rest(toy: Path, tmp_path: Path) -> None:
    low = visual_meshes(toy, triangles=TRIANGLES, cache=tmp_path / "cache")
    written = write_low_poly_urdf(toy, triangles=TRIANGLES, cache=tmp_path / "cache")
    assert_same([replace_rgba(mesh) for mesh in link_visuals(written)], [merged(mesh) for mesh in low])
    bullet = connect()
    try:
        robot = bullet.loadURDF(str(written))
        assert bullet.getNumJoints(robot) == 1
        assert len(bullet.getCollisionShapeData(robot, -1)) == 1
        shown = {(shape[1], tuple(round(value, 3) for value in shape[7])) for shape in bullet.getVisualShapeData(robot)}
    finally:
        bullet.disconnect()
    assert shown == {(-1, (0.25, 0.3, 0.35, 1.0)), (-1, (1.0, 0.0, 0.0, 0.5)), (0, (1.0, 1.0, 1.0, 1.0))}


def merged(mesh: LinkMesh) -> LinkMesh:
    """The mesh as the reader gives it: each place once, in order."""
    places, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return LinkMesh(mesh.link, places, index.reshape(-1)[mesh.faces].astype(np.int32), mesh.rgba)


def replace_rgba(mesh: LinkMesh) -> LinkMesh:
    return LinkMesh(mesh.link, mesh.vertices, mesh.faces, tuple(round(value, 4) for value in mesh.rgba))


def test_writing_twice_changes_nothing(toy: Path, tmp_path: Path) -> None:
    first = write_low_poly_urdf(toy, triangles=TRIANGLES, cache=tmp_path / "cache")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    assert write_low_poly_urdf(toy, triangles=TRIANGLES, cache=tmp_path / "cache") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == times


def test_a_mesh_of_a_package_is_found_in_the_folders_above_its_urdf(tmp_path):
    package = tmp_path / "share" / "toy_description"
    (package / "urdf").mkdir(parents=True)
    (package / "meshes").mkdir()
    (package / "meshes/ball.obj").write_text(obj_text(triangulate(Sphere(0.2))))
    urdf = package / "urdf" / "toy.urdf"
    urdf.write_text(URDF.replace("package://", "package://toy_description/").replace('"meshes/', '"../meshes/'))
    assert link_visuals(urdf)[0].link == "foot"
    loaded = load_urdf(tmp_path, "share/toy_description/urdf/toy.urdf")
    assert loaded.find(".//mesh").get("filename") == str((package / "meshes/ball.obj").resolve())
    urdf.write_text(URDF.replace("package://", "package://elsewhere/"))
    with pytest.raises(SceneError, match="folders above"):
        link_visuals(urdf)
    with pytest.raises(PathError):
        load_urdf(tmp_path, "share/toy_description/urdf/toy.urdf")


def volume_m3(mesh: LinkMesh) -> float:
    """Positive where the faces are counter-clockwise, seen from outside (divergence theorem)."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("scale", ["1 1 1", "1 -1 1", "-1 -1 1", "-2 -2 -2"])
def test_a_mirrored_mesh_keeps_its_outside_outside(toy, scale):
    toy.write_text(URDF.replace("2 1 1", scale))
    ball = next(mesh for mesh in link_visuals(toy) if mesh.link == "foot" and mesh.rgba[3] == 1.0)
    assert volume_m3(ball) > 0.0
