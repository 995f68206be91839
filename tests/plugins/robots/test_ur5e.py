"""A robot of other makers, two files joined by a model file: a UR5e arm with a Robotiq 2F-85 gripper plays a task."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.installing import PACKAGE as PACKAGE_FOLDER
from tests.plugins.installing import command, install_outside_lab

MODEL_FILE = PACKAGE_FOLDER / "outside_lab" / "ur5e_robotiq_2f_85.json"
PACKAGE = "airo-models==0.0.12"
EPISODES, NEEDED = 50, 0.9


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the package that has the URDF files, from the registry; skips where it cannot be had."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{PACKAGE} could not be installed: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_a_ur5e_with_a_robotiq_gripper_plays_put_block_back_as_the_expert(site, tmp_path):
    command = [
        sys.executable, "-m", "launch.evaluate", "suite.tasks=[put_block_back]", "policy=[expert]", "tier=strict",
        f"suite.put_block_back.robot={MODEL_FILE}", f"episodes={EPISODES}", "compute=inline",
        f"output={tmp_path / 'out'}",
    ]  # fmt: skip
    path = os.pathsep.join([str(site), str(Path.cwd())])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in (tmp_path / "out" / "episodes.jsonl").read_text().splitlines()]
    assert len(rows) == EPISODES
    assert sum(row["outcome"] == "success" for row in rows) >= NEEDED * EPISODES


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_an_installed_package_gives_the_robot_by_name_and_it_plays_on_ray(site, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    install_outside_lab(own)
    settings = ("suite.tasks=put_block_back", "policy=expert", "episodes=2", "videos=0", "compute.workers=1")
    robot, output = "suite.put_block_back.robot=ur5e_robotiq_2f_85", tmp_path / "out"
    done = command("evaluate", *settings, robot, f"output={output}", paths=(site, own), limit_s=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "outside-lab" in json.loads((output / "results.json").read_text())["run"]["plugins"]
    rows = [json.loads(line) for line in (output / "episodes.jsonl").read_text().splitlines()]
    assert {row["outcome"] for row in rows} == {"success"}


def test_without_the_package_of_its_files_the_robot_is_refused_by_name():
    command = [
        sys.executable, "-c",
        "from embodied.robots.catalogue import robot_model\n"
        "from embodied.errors import RobotModelError\n"
        "import sys\n"
        "try:\n    robot_model(sys.argv[1])\nexcept RobotModelError as error:\n    print(error)",
        str(MODEL_FILE),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if not done.stdout:
        pytest.skip("airo-models is installed here")
    assert "installed Python package" in done.stdout
    assert "'airo_models'" in done.stdout
