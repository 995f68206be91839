"""Seeds, errors, paths and command specs: the ground that every room stands on."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.errors import CommandError, EmbodiedError, PathError, SceneError, UnknownNameError, unknown_name
from embodied.paths import confined, write_atomically
from embodied.robots import commands
from embodied.robots.assets import urdf_path
from embodied.robots.catalogue import robot_model, robot_names
from embodied.robots.robot import DifferentialDrive
from embodied.robots.urdf import load_urdf
from embodied.seeding import derive_seed, stream
from embodied.types import Command

PANDA = robot_model("panda")


def test_a_seed_gives_the_same_draws_in_another_process():
    code = "from embodied.seeding import stream; print(stream(7, 'layout', 3).random(4).tolist())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == str(stream(7, "layout", 3).random(4).tolist())


@given(st.integers(0, 2**62), st.text(min_size=1, max_size=8))
def test_streams_of_other_names_and_seeds_differ(seed, name):
    seeds = {derive_seed(seed), derive_seed(seed, name), derive_seed(seed + 1, name), derive_seed(seed, name, 0)}
    assert len(seeds) == 4
    assert all(0 <= value < 2**63 for value in seeds)
    assert derive_seed(seed, 1) != derive_seed(seed, "1")


def test_an_error_states_rule_value_and_remedy_also_after_crossing_a_process():
    error = CommandError("A target must be finite.", value=[1.0], remedy="Clip it.")
    assert str(error) == "A target must be finite. Got [1.0]. Clip it."
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is CommandError
    assert (str(again), again.rule, again.value, again.remedy) == (str(error), error.rule, error.value, error.remedy)


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    error = unknown_name("task", "put_blok_back", ["put_block_back", "reopen_drawer"])
    assert isinstance(error, UnknownNameError)
    assert "Did you mean 'put_block_back'" in str(error)
    assert "reopen_drawer" in str(error)


def test_paths_stay_inside_their_root_also_through_links(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("x")
    (root / "file.txt").write_text("x")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert confined(root, "file.txt") == (root / "file.txt").resolve()
    for path in ("../secret.txt", "link.txt", str(tmp_path / "secret.txt"), "missing.txt"):
        with pytest.raises(PathError):
            confined(root, path)


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<robot><link name='a'/>", "well-formed"),
        ("<sdf/>", "one <robot>"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><robot><link name='a'/></robot>", "entities"),
    ],
)
def test_a_malformed_urdf_is_refused_by_name(tmp_path, text, words):
    (tmp_path / "arm").mkdir()
    (tmp_path / "arm" / "arm.urdf").write_text(text)
    with pytest.raises(SceneError, match=words):
        load_urdf(tmp_path, "arm/arm.urdf")


def test_a_urdf_whose_mesh_is_missing_or_outside_is_refused_by_name(tmp_path):
    (tmp_path / "arm").mkdir()
    for file in ("gone.obj", "../../etc/passwd"):
        mesh = f"<visual><geometry><mesh filename='{file}'/></geometry></visual>"
        (tmp_path / "arm" / "arm.urdf").write_text(f"<robot><link name='a'>{mesh}</link></robot>")
        with pytest.raises(PathError):
            load_urdf(tmp_path, "arm/arm.urdf")


@pytest.mark.parametrize("name", robot_names())
def test_every_robot_has_the_joints_that_its_model_names(name):
    model = robot_model(name)
    text = urdf_path(model, visuals=False).read_text()
    wheels = (*model.drive.left_joints, *model.drive.right_joints) if isinstance(model.drive, DifferentialDrive) else ()
    fingers = [joint for arm in model.arms if arm.gripper for joint in arm.gripper.joints]
    for joint in (*model.joints, *wheels, *fingers):
        assert f'name="{joint}"' in text
    assert "<visual" not in text
    meshes = [Path(file) for file in re.findall(r'filename="([^"]+)"', text)]
    assert bool(meshes) == bool(model.arms)
    assert all(file.is_absolute() and file.is_file() for file in meshes)
    for arm in model.arms:
        assert len(arm.home_rad) == len(arm.lower_rad) == len(arm.joints)
        assert (np.array(arm.lower_rad) < arm.home_rad).all()
        assert (np.array(arm.upper_rad) > arm.home_rad).all()


@pytest.mark.parametrize(
    "command",
    [
        Command(np.full(7, np.nan)),
        Command(np.zeros((7, 1))),
        Command(["a"] * 7),  # type: ignore[arg-type]
        Command(np.array(PANDA.arm.upper_rad) + 0.01),
        Command(gripper=-0.1),
        Command(base_velocity=np.zeros(2)),
    ],
)
def test_a_command_outside_the_robots_specs_is_refused(command):
    with pytest.raises(CommandError):
        commands.check_command("panda", PANDA, command)


def test_commands_up_to_the_limits_are_accepted():
    commands.check_command("panda", PANDA, Command(np.array(PANDA.arm.upper_rad), 1.0))
    commands.check_command("base", robot_model("differential_base"), Command(base_velocity=np.array([-1.0, 2.0])))


def test_a_base_that_is_commanded_to_go_too_fast_is_refused():
    with pytest.raises(CommandError, match="m/s"):
        commands.check_command("base", robot_model("differential_base"), Command(base_velocity=np.array([1.1, 0.0])))


def test_every_error_of_the_project_has_one_root():
    assert issubclass(UnknownNameError, EmbodiedError)
    assert issubclass(SceneError, ValueError)


def test_a_value_of_none_is_shown_and_a_usual_remedy_is_given():
    assert "Got None." in str(CommandError("A target must be a number.", value=None))
    assert "Got" not in str(CommandError("A target must be a number."))
    assert "nothing moved" in str(CommandError("A target must be a number."))


@pytest.mark.parametrize("name", ["a\0b.obj", "x" * 5000])
def test_a_file_name_that_cannot_exist_is_refused(tmp_path, name):
    with pytest.raises(PathError, match="can exist"):
        confined(tmp_path, name)


@pytest.mark.parametrize("command", [None, "up", Command(gripper="open"), Command(gripper=1j)])  # type: ignore[arg-type]
def test_what_is_no_command_is_refused(command):
    with pytest.raises(CommandError):
        commands.check_command("panda", PANDA, command)
