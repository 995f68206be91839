"""Meshes of scenes under names in any language: PyBullet ends the whole process at a path that it cannot read."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from embodied.errors import MissingDependencyError, PathError, SceneError
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Box
from embodied.simulators.bullet import native_paths, pixels
from embodied.simulators.rendering.choice import RendererChoice

ROOT = Path(__file__).parents[2]
FALL = """
import sys
from embodied.geometry import Pose
from embodied.scenes.scene import Body, Mesh, Part, Scene
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.world import WorldConfig
from tests.simulators.test_bullet import FLOOR, PANDA
simulator = BulletConfig(world=WorldConfig(asset_root=sys.argv[1])).build()
bodies = [FLOOR]
for number, name in enumerate(sys.argv[2:]):
    bodies.append(Body(f"cup_{number}", (Part(Mesh(name)),), Pose((1.0 + number, 1.0, 0.1)), mass_kg=0.1))
simulator.reset(Scene("meshes", tuple(bodies), robots=(PANDA,)))
for _ in range(20):
    simulator.advance({})
print(*(pose.position_m[2] for name, pose in simulator.state().pose.items() if name.startswith("cup_")))
"""


def write_cube(path):
    """Writes a cube of 10 cm as .obj or .stl."""
    path.parent.mkdir(exist_ok=True)
    mesh = triangulate(Box((0.1, 0.1, 0.1)))
    if path.suffix == ".obj":
        corners = [f"v {x} {y} {z}" for x, y, z in mesh.vertices]
        path.write_text("\n".join(corners + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in mesh.faces]))
    else:
        triangles = [struct.pack("<12fH", 0, 0, 0, *mesh.vertices[face].ravel(), 0) for face in mesh.faces]
        path.write_bytes(bytes(80) + struct.pack("<I", len(triangles)) + b"".join(triangles))


def test_meshes_under_names_of_any_language_collide(tmp_path):
    names = ["prüf/cup.obj", "чашка.obj", "cup🫖.stl", "a b.obj"]
    for name in names:
        write_cube(tmp_path / name)
    shown = subprocess.run(
        [sys.executable, "-c", FALL, str(tmp_path), *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, (shown.returncode, shown.stderr[-1000:])
    assert [float(height_m) for height_m in shown.stdout.split()] == pytest.approx([0.05] * 4, abs=0.005)


def test_a_path_that_cannot_be_made_ascii_is_refused(tmp_path, monkeypatch):
    write_cube(tmp_path / "чашка.obj")
    monkeypatch.setattr(native_paths, "cache_folder", lambda: tmp_path / "кэш")
    monkeypatch.setattr(native_paths.tempfile, "gettempdir", lambda: str(tmp_path / "врем"))
    with pytest.raises(SceneError, match="XDG_CACHE_HOME"):
        native_paths.native_path(tmp_path / "чашка.obj")


def test_a_cache_that_cannot_be_written_names_its_environment_variable(monkeypatch, tmp_path):
    mesh = tmp_path / "чашка.obj"
    mesh.write_text("v 0 0 0\n")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    with pytest.raises(PathError, match="XDG_CACHE_HOME"):
        native_paths.native_path(mesh)


def test_a_fall_back_to_tinyrenderer_is_logged_once(monkeypatch, caplog, tmp_path):
    def missing(*_, **__):
        raise MissingDependencyError("The renderer needs EGL.")

    monkeypatch.setattr(pixels, "ScenePixels", missing)
    pixels._warn_of_tiny.cache_clear()
    for _ in range(3):
        assert pixels.BulletPixels(None, RendererChoice.auto, tmp_path).name == "tiny"
    assert [record.message for record in caplog.records if "many times slower" in record.message] == [
        "Images come from TinyRenderer, which is many times slower. The renderer needs EGL."
    ]
