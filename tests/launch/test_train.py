"""The command line of training: what it prints, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from embodied.archive import file_sha256
from launch import cli
from launch.train import TrainConfig, train
from policies.sam2act import MemoryChoice, MemoryKind, Sam2ActConfig
from policies.training import job
from policies.training.config import AugmentationConfig, StageConfig, TrainComputeConfig, TrainingConfig
from policies.training.loop import Summary
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
    ("settings", "printed"),
    [
        (["policy=tiny_schema", "output=out"], "'data' must be given"),
        (["policy=tiny_schema", "output=out", "data=3"], "data must be a folder of demonstrations"),
        (["policy=tiny_schema", "output=out", "data=none", "policy.widht=3"], "Did you mean policy.width"),
    ],
)
def test_what_is_missing_or_misspelt_is_refused(settings, printed):
    done = enter(*settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert printed in done.stderr


def test_settings_that_do_not_fit_each_other_are_refused_before_any_worker_starts(demonstrations, tmp_path):
    setting, output = "policy.others=3", tmp_path / "out"
    done = enter("policy=tiny_schema", setting, f"data={demonstrations}", f"output={output}", "steps=6", "batch=2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("ConfigError: The settings of a policy must fit each other and the demonstrations.")
    assert f"other than the defaults are {setting}." in done.stderr
    assert not output.exists()


def test_the_command_line_offers_every_setting_of_training():
    assert {field for field in vars(TrainingConfig()) if field not in vars(TrainConfig())} == set()


def shown(*arguments: str) -> dict:
    """What `--cfg job` says of the real cli."""
    command = [sys.executable, "-m", "launch.train", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def test_two_recipes_train_a_policy_without_memory_and_then_memory_alone():
    first = shown("policy=sam2act_small", "recipe=without_memory", "data=D", "output=O", "steps=7", "--cfg", "job")
    assert (first["policy"]["memory"]["kind"], first["sampling"]["sequence_length"], first["steps"]) == ("off", 1, 7)
    then = shown("--cfg", "job", "recipe=memory", "stage.start=O/policy", "data=D", "output=P")
    config = TrainingConfig(stage=StageConfig(**then["stage"]), augmentation=AugmentationConfig(**then["augmentation"]))
    config.check()
    groups = set(Sam2ActConfig(memory=MemoryChoice(kind=MemoryKind.window)).build().parameter_groups())
    assert then["policy"]["memory"]["kind"] == "window"
    assert groups - {*config.stage.frozen} == {*config.stage.fresh} == {"memory", "moment"}
    assert config.stage.cache_features


def test_help_is_given_before_anything_is_chosen():
    done = subprocess.run(
        [sys.executable, "-m", "launch.train", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "recipe=memory" in done.stdout


def test_a_stage_starts_from_weights_in_a_relative_folder_and_records_how_they_were_made(demonstrations, tmp_path):
    common = ["policy=tiny_schema", f"data={demonstrations}", *QUICK]
    first = enter(*common, f"output={tmp_path / 'one'}")
    assert first.returncode == 0, first.stderr
    start = os.path.relpath(tmp_path / "one/policy", ROOT)
    done = enter(*common, f"output={tmp_path / 'two'}", f"stage.start={start}")
    assert done.returncode == 0, done.stderr
    story = json.loads((tmp_path / "two/policy/training.json").read_text())
    assert story["start"]["seed"] == 0
    assert story["start"]["steps"] == 6
    assert story["settings"]["start_digest"] == file_sha256(tmp_path / "one/policy/model.safetensors")


def test_workers_elsewhere_learn_where_the_first_stage_lies(monkeypatch, tmp_path):
    plans = []

    def planned(plan, compute, *, config):
        plans.append(plan)
        return Summary(plan.training.steps, plan.training.steps, 0.0)

    monkeypatch.setattr(job, "run_job", planned)
    monkeypatch.setattr(cli, "job_folder", Path)  # It asks Hydra, which has not entered.
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sight/policy"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    config = TrainConfig(
        policy=Sam2ActConfig(), data="data", output="out", compute=TrainComputeConfig(),
        stage=StageConfig(start="sight/policy"),
    )  # fmt: skip
    train(cli.Composed(config, ""))
    assert plans[0].start == folder
    assert plans[0].training.stage.start == "sight/policy", "what is written down names no folder of this machine"
