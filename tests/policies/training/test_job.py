"""Training as a job: killed and gone on with, in one process and on Ray, it comes out the same."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from launch.benchmarks.training_faults import TrainingFaultsConfig, measure
from policies.weights import read_tensors
from tests.policies.training.demonstrations import two_tasks

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TINY_DOOR = (sys.executable, str(HERE / "tiny_train.py"))
LIMIT_S = 550

pytestmark = pytest.mark.timeout(600)  # About 30 s of work, most of it imports in fresh processes.


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    return two_tasks(tmp_path_factory.mktemp("demonstrations"))


@pytest.fixture(autouse=True)
def found_by_others(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_training_that_is_killed_and_started_again_ends_as_if_it_had_not_been(demonstrations):
    config = TrainingFaultsConfig(
        kills=2, policy="tiny_schema", data=str(demonstrations), steps=250, batch=2, checkpoint_every=10
    )
    told = measure(config, seed=3, command=TINY_DOOR)
    assert told["passes"], told


@pytest.fixture(scope="module")
def jobs(demonstrations, tmp_path_factory):
    """One Ray for all jobs, since it takes seconds to start; in a process of its own, since Ray Train warns."""
    output = tmp_path_factory.mktemp("jobs")
    command = [sys.executable, str(HERE / "ray_jobs.py"), str(demonstrations), str(output)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return output


def tensors(output):
    return read_tensors(output / "policy/model.safetensors")


def rows(output):
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "wall"} for line in lines]


def test_one_worker_on_ray_gives_what_this_process_gives_bit_for_bit(jobs):
    assert (jobs / "one/policy/model.safetensors").read_bytes() == (
        jobs / "inline/policy/model.safetensors"
    ).read_bytes()
    assert rows(jobs / "one") == rows(jobs / "inline")


def test_two_workers_share_a_batch_and_restart_after_one_is_killed(jobs):
    told = json.loads((jobs / "told.json").read_text())
    assert told["two"] == 20
    assert (jobs / "died").exists()
    alone, shared = tensors(jobs / "inline"), tensors(jobs / "two")
    for name, tensor in alone.items():
        assert torch.allclose(tensor, shared[name], atol=1e-5), name
    for ours, theirs in zip(rows(jobs / "inline"), rows(jobs / "two"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_what_a_worker_refuses_is_told_with_step_and_files_and_not_tried_again(jobs):
    told = json.loads((jobs / "told.json").read_text())
    assert told["refused"].startswith("TrainingError: The loss of a step must be finite. Got 'nan at step 0 on ")
    assert ".npz" in told["refused"]
    assert not list((jobs / "refused/checkpoints").glob("[0-9]*"))


def test_nothing_of_ray_is_left_behind(jobs):
    assert not (jobs / "one/.ray").exists()
    leftovers = [process for process in psutil.process_iter(["cmdline"]) if str(jobs) in str(process.info["cmdline"])]
    assert leftovers == []
