"""The door to demonstrations, as one command on real physics."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from embodied.archive import file_sha256
from embodied.evaluation.dataset_index import read_dataset
from embodied.evaluation.episode_list import read_list
from embodied.trajectories import read_trajectory
from embodied.types import Outcome
from launch.collect import counted
from launch.lists import FOLDER

COMMAND = [sys.executable, "-m", "launch.collect", "suite.tasks=[put_block_back]", "suite.put_block_back.camera_px=32"]
LIMIT_S = 240


def run(*settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *settings], capture_output=True, text=True, timeout=LIMIT_S, check=False)


def demonstrations(folder: Path) -> dict[str, bytes]:
    files = [*folder.rglob("*.npz"), folder / "dataset.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected")
    done = run("demos=3", "compute=inline", f"output={folder}")
    assert done.returncode == 0, done.stderr
    assert "put_block_back/strict: 3 demonstrations, 0 failures of policy expert" in done.stdout
    assert str(folder / "dataset.json") in done.stdout
    return folder


def test_a_demonstration_holds_all_that_training_needs(collected):
    dataset = read_dataset(collected)
    assert (dataset.complete, len(dataset.files)) == (True, 3)
    for file in dataset.files:
        path = collected / file.file
        assert file_sha256(path) == file.sha256
        trajectory = read_trajectory(path)
        assert trajectory.label.outcome is Outcome.SUCCESS
        assert trajectory.label.split == "train"
        assert trajectory.label.instruction.startswith("move the block")
        assert len(trajectory.observations) == len(trajectory.intents) + 1 == file.observations
        for observation in trajectory.observations:
            assert set(observation.images) == {"front", "left_shoulder", "right_shoulder", "wrist"}
            for image in observation.images.values():
                assert image.rgb.shape == (32, 32, 3)
                assert image.rgb.std() > 0
                assert (image.depth_m > 0.05).mean() > 0.5
        assert [observation.time_s for observation in trajectory.observations] == list(range(file.observations))
        tools = [observation.proprio[7:10] for observation in trajectory.observations]
        # A keyframe ends where its intent asked for, but for placement noise while the block is held.
        asked = [intent.position_m for intent in trajectory.intents]
        np.testing.assert_allclose(tools[1:], asked, atol=0.03)


def test_an_interrupted_collection_is_finished_by_ray_in_the_same_bytes(collected, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "demos=3", "compute=inline", f"output={tmp_path}"], stderr=subprocess.PIPE, text=True
    )
    until_s = time.monotonic() + LIMIT_S
    while not list(tmp_path.rglob("*.npz")) and time.monotonic() < until_s:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, printed
    assert not read_dataset(tmp_path).complete
    assert not list(tmp_path.rglob(".*.part"))
    done = run("demos=3", "compute=local", "compute.workers=2", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert f"What policies print goes to worker-N.txt in {tmp_path / 'logs'}." in done.stderr
    assert demonstrations(tmp_path) == demonstrations(collected)


def test_a_recording_at_a_rate_is_one_setting_and_goes_on_where_it_stopped(tmp_path):
    settings = ("rate_hz=10", "recorder.cameras=[front,wrist]", "compute=inline", f"output={tmp_path}")
    assert run("demos=1", *settings).returncode == 0
    before = demonstrations(tmp_path)
    done = run("demos=2", *settings)
    assert done.returncode == 0, done.stderr
    dataset = read_dataset(tmp_path)
    assert dataset.space_names == ("ee_pose", "joint_position")
    assert {record.rate_hz for record in dataset.robots["panda"].features} == {10.0}
    first, second = dataset.files
    assert (tmp_path / first.file).read_bytes() == before[first.file]
    assert len(read_trajectory(tmp_path / second.file)) == second.observations > 50
    refused = run("demos=2", "rate_hz=5", *settings[1:])
    assert refused.returncode == 2
    assert "must hold one run" in refused.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rate_hz=7", "must divide the control rate of 20 Hz"),
        ("demoes=3", r"Did you mean '?demos"),
        ("demos=0", "demos must lie in"),
        ("policy=exprt", r"Did you mean '?expert"),
        ("episode_list=memorybench-strict-24", "must be one of train, validation"),
        ("episode_list=memorybench-strict-validation-42", r"Did you mean '?memorybench-strict-validation-24"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(tmp_path, setting, message):
    output = tmp_path / "out"
    done = run("compute=inline", f"output={output}", setting)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
    assert not output.exists()


def test_a_list_chooses_the_episodes_and_their_split(tmp_path):
    settings = ("compute=inline", f"output={tmp_path}", "episode_list=memorybench-strict-validation-24")
    done = subprocess.run(
        [*COMMAND[:3], "suite.tasks=[put_block_back]", "demos=1", *settings],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    dataset = read_dataset(tmp_path)
    listed = read_list(FOLDER / "memorybench-strict-validation-24.json")
    assert (dataset.split, dataset.files[0].seed) == ("validation", listed.tasks["put_block_back/strict"].seeds[0])


def test_one_thing_is_printed_in_the_singular():
    assert [counted(number, "failure") for number in (0, 1, 2)] == ["0 failures", "1 failure", "2 failures"]


def test_settings_that_no_part_can_have_are_refused_before_anything_is_written_or_started(tmp_path):
    output = tmp_path / "out"
    done = run("compute=local", f"output={output}", "simulator.world.physics_hz=0", "simulator.world.control_hz=20")
    assert done.returncode == 2
    assert "physics_hz" in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()


def test_the_settings_are_shown_without_starting_anything(tmp_path):
    done = run(f"output={tmp_path / 'out'}", "--cfg", "job")
    assert done.returncode == 0
    assert "demos: null" in done.stdout
    assert not (tmp_path / "out").exists()
