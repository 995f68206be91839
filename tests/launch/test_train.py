"""The door to training: what it says, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launch.train import TrainConfig
from policies.training.config import TrainingConfig
from tests.policies.training.demonstrations import two_tasks

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "tests/policies/training/tiny_train.py"]
QUICK = ["steps=6", "batch=2", "compute=inline", "compute.threads_per_worker=1", "log.tensorboard=false"]


def enter(*settings):
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [*COMMAND, *settings], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    return two_tasks(tmp_path_factory.mktemp("demonstrations"), episodes=3)


def test_one_command_trains_and_says_where_the_policy_lies(demonstrations, tmp_path):
    output = tmp_path / "out"
    done = enter("policy=tiny_schema", f"data={demonstrations}", f"output={output}", *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 of 6 steps, ")
    assert f"Policy: {output / 'policy'}" in done.stdout
    assert yaml.safe_load((output / "config.yaml").read_text())["steps"] == 6
    settings = ["policy=tiny_schema", f"data=[{demonstrations}]", f"output={output}", *QUICK, "seed=1"]
    refused = enter(*settings)
    assert refused.returncode == 2
    assert "must hold one run" in refused.stderr
    assert "seed was 0, is 1" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["policy=tiny_schema", "output=out"], "'data' must be given"),
        (["policy=tiny_schema", "output=out", "data=3"], "data must be a folder of demonstrations"),
        (["policy=tiny_schema", "output=out", "data=none", "policy.widht=3"], "Did you mean policy.width"),
    ],
)
def test_what_is_missing_or_misspelt_is_refused(settings, said):
    done = enter(*settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_door_offers_every_setting_of_training():
    assert {field for field in vars(TrainingConfig()) if field not in vars(TrainConfig())} == set()
