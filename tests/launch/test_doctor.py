"""The doctor names what a machine lacks, each with its remedy, and fails only for what is needed."""

from pathlib import Path

import pytest

from embodied.errors import MissingDependencyError
from embodied.simulators.bullet.pixels import BulletPixels
from embodied.simulators.rendering import gl_context
from embodied.simulators.rendering.choice import RendererChoice
from launch import doctor


def test_every_check_has_a_finding_and_what_is_missing_has_a_remedy():
    found = list(doctor.findings())
    assert [one.name for one in found] == [
        "rendering", "Ray", "shared memory", "cores", "GPU", "habitat-sim", "write access",
    ]  # fmt: skip
    assert all(one.remedy or one.state == "ok" for one in found)


def test_without_opengl_it_warns_of_the_slow_renderer_and_fails(monkeypatch, capsys):
    def refuse():
        raise MissingDependencyError("No EGL.", remedy="Install libegl1.")

    monkeypatch.setattr(gl_context, "create_context", refuse)
    monkeypatch.setattr("sys.argv", ["doctor"])
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert ended.value.code == doctor.FAILED
    out = capsys.readouterr().out
    assert "Install libegl1." in out
    assert "TinyRenderer" in out


def test_a_folder_that_cannot_be_written_and_little_shared_memory_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.Path, "cwd", lambda: tmp_path / "gone")
    assert doctor.writing().state == doctor.NEEDED
    monkeypatch.setattr(doctor, "LEAST_SHARED_MB", 10**9)
    assert "--shm-size" in doctor.shared_memory().remedy


def test_a_simulator_that_falls_back_to_the_slow_renderer_warns(monkeypatch, caplog):
    def refuse(self):
        raise MissingDependencyError("No EGL.", remedy="Install libegl1.")

    monkeypatch.setattr(BulletPixels, "_start_opengl", refuse)
    assert BulletPixels(None, RendererChoice.auto, Path()).name == "tiny"
    assert "TinyRenderer" in caplog.text
    assert "Install libegl1." in caplog.text
