"""Training as a job: killed and gone on with, in one process and on Ray, it comes out the same."""

import io
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from time import monotonic, sleep
from types import SimpleNamespace

import msgspec
import psutil
import pytest
import torch

from embodied.errors import DataError, EmbodiedError, PluginError
from embodied.rollout.ray.node import driver_code
from launch.benchmarks.training_faults import TrainingFaultsConfig, measure
from policies.training import job, progress
from policies.training.config import LogConfig, SamplingConfig, TrainingConfig
from policies.training.learner import TrainingError
from policies.training.loop import train
from policies.training.plan import TrainingPlan
from policies.training.process_group import ProcessGroup, ProcessStoppedError
from policies.weights import read_tensors
from tests.policies.training.demonstrations import two_tasks
from tests.policies.training.learners import TinyConfig

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TINY_COMMAND = (sys.executable, str(HERE / "tiny_train.py"))
LIMIT_S = 550

pytestmark = pytest.mark.timeout(600)  # About 20 s of work on a quiet machine, most of it imports in fresh processes.


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
    logged = measure(config, seed=3, command=TINY_COMMAND)
    assert logged["passes"], logged


def test_what_an_interrupt_makes_of_ray_train_is_an_interrupt_again_and_its_handler_goes():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), job._interrupts():
        signal.signal(signal.SIGINT, lambda *_: None)
        raise SystemExit(1)
    assert signal.getsignal(signal.SIGINT) is before


class Screen(io.StringIO):
    """A terminal, or a file that stands for one."""

    def __init__(self, *, terminal):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_a_waiting_caller_learns_how_far_it_has_come_up_to_the_end(tmp_path, monkeypatch, caplog, terminal):
    screen = Screen(terminal=terminal)
    monkeypatch.setattr(progress.sys, "stderr", screen)
    monkeypatch.setattr(progress, "EVERY_S", 0.01)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    caplog.set_level("INFO")

    def wait_for(printed):
        until = monotonic() + 10.0
        while printed not in screen.getvalue() + caplog.text and monotonic() < until:
            sleep(0.01)

    with progress.progress(tmp_path, 60):
        wait_for("0/60" if terminal else "")
        for step in (10, 60):
            with (tmp_path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, "loss": 2.5}) + "\n")
            wait_for("" if terminal else f"{step} of 60, loss 2.5")
    logged = screen.getvalue() if terminal else caplog.text
    assert ("60/60" if terminal else "Step 10 of 60, loss 2.5.") in logged
    assert "loss 2.5" in logged
    assert "nan" not in logged


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
    logged = json.loads((jobs / "logged.json").read_text())
    assert logged["two"] == 20
    assert (jobs / "died").exists()
    alone, shared = tensors(jobs / "inline"), tensors(jobs / "two")
    for name, tensor in alone.items():
        assert torch.allclose(tensor, shared[name], atol=1e-5), name
    for ours, theirs in zip(rows(jobs / "inline"), rows(jobs / "two"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_nothing_of_ray_is_left_behind(jobs):
    assert not (jobs / "one/.ray").exists()
    leftovers = [process for process in psutil.process_iter(["cmdline"]) if str(jobs) in str(process.info["cmdline"])]
    assert leftovers == []


def test_what_a_worker_refuses_reaches_the_driver_in_the_same_words(demonstrations, tmp_path, monkeypatch):
    """An error that a caller may mend must not look like a death to Ray, which would start again and again."""
    place = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr("ray.train.get_context", lambda: place)
    monkeypatch.setattr("ray.train.torch.get_device", lambda: "cpu")
    training = TrainingConfig(steps=5, batch=2)
    plan = TrainingPlan(
        family="tiny", policy=TinyConfig(nan=True), training=training, folders=(demonstrations,), output=tmp_path
    )
    job._work({job.PLAN: plan, job.CODE: driver_code()})
    outcome = msgspec.json.decode((tmp_path / job.RAY_FOLDER / job.OUTCOME).read_bytes(), type=job.RunReport)
    logged = job._error_from(outcome.error)
    assert isinstance(logged, TrainingError)
    assert str(logged).startswith("The loss of a step must be finite. Got 'nan at step 0 on ")
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_a_worker_whose_code_differs_from_the_drivers_is_refused_before_the_first_step(
    demonstrations, tmp_path, monkeypatch
):
    place = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr("ray.train.get_context", lambda: place)
    monkeypatch.setattr("ray.train.torch.get_device", lambda: "cpu")
    training = TrainingConfig(steps=5, batch=2, log=LogConfig(tensorboard=False))
    plan = TrainingPlan(
        family="tiny", policy=TinyConfig(), training=training, folders=(demonstrations,), output=tmp_path
    )
    code = driver_code()
    edited = replace(code, identity={**code.identity, "policies": "SHA-256 of an edited clone"})
    job._work({job.PLAN: plan, job.CODE: edited})
    outcome = msgspec.json.decode((tmp_path / job.RAY_FOLDER / job.OUTCOME).read_bytes(), type=job.RunReport)
    refused = job._error_from(outcome.error)
    assert isinstance(refused, PluginError)
    assert "policies: SHA-256 " in str(refused)
    assert "SHA-256 of an edited clone on the driver" in str(refused)
    assert not (tmp_path / "metrics.jsonl").exists()
    job._work({job.PLAN: plan, job.CODE: code})
    outcome = msgspec.json.decode((tmp_path / job.RAY_FOLDER / job.OUTCOME).read_bytes(), type=job.RunReport)
    assert (outcome.error, outcome.summary[0]) == (None, 5)


class Threads(ProcessGroup):
    """Workers that are threads of this process; gradients are not averaged."""

    def total(self, values):
        HEARD[self.rank] = list(values)
        MEETING.wait()
        logged = [sum(own) for own in zip(*HEARD, strict=True)]
        MEETING.wait()
        return logged

    def wrapped(self, network):
        return network


HEARD = [[], []]
MEETING = Barrier(2, timeout=60)


def test_when_one_worker_cannot_go_on_the_others_stop_without_waiting(tmp_path):
    two_tasks(tmp_path / "data", episodes=4)
    training = TrainingConfig(
        steps=50, batch=2, sampling=SamplingConfig(held_out=0.25), log=LogConfig(tensorboard=False)
    )
    plan = TrainingPlan(
        family="tiny", policy=TinyConfig(), training=training, folders=(tmp_path / "data",), output=tmp_path / "out"
    )
    path = tmp_path / "data/press/strict/1.npz"
    path.write_bytes(path.read_bytes().replace(b"intrinsics", b"extrinsics"))  # In the batches of one at a time.

    def work(rank):
        with pytest.raises(EmbodiedError) as raised:
            train(plan, Threads(rank=rank, workers=2))
        return raised.value

    with ThreadPoolExecutor(2) as both:
        errors = list(both.map(work, range(2)))
    assert {type(error) for error in errors} == {DataError, ProcessStoppedError}
    assert "press/strict/1.npz, step" in next(str(error) for error in errors if isinstance(error, DataError))
