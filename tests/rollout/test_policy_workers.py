"""Policies on actors of their own: the rows of any other run, made in batches."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from embodied.errors import ConfigError, IntentError
from embodied.evaluation.controls import CONTROLS
from embodied.rollout.compute import ComputeConfig, ComputeKind
from embodied.rollout.inline import InlineCompute
from embodied.rollout.job import EpisodeJob
from embodied.rollout.ray.node import driver_code
from embodied.rollout.ray.policy_workers import Batches, PolicyWorkerLimits, hosted_policies
from embodied.rollout.worker import WorkerConfig
from embodied.types import NORMAL, Decision, Request, Wait
from tests.evaluation.notebook import CueTask, CueWorldConfig, Notebook
from tests.fakes import FakeControllerConfig, FakePolicyConfig

TASK = "bin_block/strict"


@dataclass(kw_only=True)
class SharedNotebookConfig:
    """Builds a notebook that says how large its batches are, and may fail in the way of `fault`, once."""

    folder: str
    fault: str = ""

    def build(self) -> "SharedNotebook":
        return SharedNotebook(self)


class SharedNotebook(Notebook):
    stateless = True

    def __init__(self, config: SharedNotebookConfig) -> None:
        super().__init__()
        self._config = config

    def act(self, requests):
        time.sleep(0.01)
        folder = Path(self._config.folder)
        with (folder / "batches").open("a") as file:
            file.write(f"{len(requests)} {os.getpid()}\n")
        mark = folder / "failed"
        if self._config.fault and len((folder / "batches").read_text().splitlines()) > 5 and not mark.exists():
            mark.touch()
            self._fail()
        return super().act(requests)

    def _fail(self) -> None:
        if self._config.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60.0)


def config(folder, *, fault: str = "", controls: tuple[str, ...] = ()) -> WorkerConfig:
    return WorkerConfig(
        simulator=CueWorldConfig(),
        controller=FakeControllerConfig(),
        tasks={TASK: CueTask()},
        policies={
            "notebook": SharedNotebookConfig(folder=str(folder), fault=fault),
            "expert": FakePolicyConfig(privileged=True),
        },
        controls={name: CONTROLS[name]() for name in controls},
    )


def jobs(count: int, *, policies=("notebook",), controls=()) -> list[EpisodeJob]:
    return [
        EpisodeJob(
            run="r", episode=f"{TASK}/test/{seed}", task=TASK, policy=policy, seed=seed, control=control
        )
        for seed in range(count)
        for policy in policies
        for control in (NORMAL, *controls)
    ]  # fmt: skip


def rows(compute, wanted) -> list:
    with compute:
        found = [replace(result.record, wall_s=0.0, attempt=1) for result in compute.run(wanted)]
    return sorted(found, key=lambda record: (record.policy, record.control, record.seed))


def batches(folder) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in (folder / "batches").read_text().splitlines()]


def pool(config, **settings):
    return ComputeConfig(**{"workers": 1, "policy_workers": 1, "deadline_s": 60.0, **settings}).build(config)


@pytest.mark.usefixtures("ray_session")
def test_rows_are_those_of_a_run_in_this_process(tmp_path):
    (tmp_path / "alone").mkdir()
    controls = ("wiped", "swapped")
    wanted = jobs(4, policies=("notebook",), controls=controls) + jobs(1, policies=("expert",))
    alone = rows(InlineCompute(config(tmp_path / "alone", controls=controls)), wanted)
    compute = pool(config(tmp_path, controls=controls))
    assert compute.place == "1 worker, 1 policy worker"
    assert rows(compute, wanted) == alone
    (process,) = {process for _, process in batches(tmp_path)}
    assert process != os.getpid()


LIMITS = PolicyWorkerLimits(
    actors=1, clients=4, start_deadline_s=60.0, decision_s=1.0, answer_s=60.0, max_restarts=3
)  # fmt: skip


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("fault", ["kill", pytest.param("hang", marks=pytest.mark.proof)])
def test_a_policy_worker_that_dies_or_hangs_is_started_again_and_answers_in_batches(tmp_path, fault):
    (tmp_path / "alone").mkdir()
    world = CueWorldConfig().build()
    world.reset(CueTask().sample(3).scene)
    request = Request(world.observe("arm", ("front",)), "", step=0, seed=3)
    (expected,) = SharedNotebookConfig(folder=str(tmp_path / "alone")).build().act([request])
    with hosted_policies(config(tmp_path, fault=fault), driver_code(), LIMITS) as hosted:
        assert isinstance(hosted.policies["expert"], FakePolicyConfig)
        policy = hosted.policies["notebook"].build()
        for _ in range(8):
            (decision,) = policy.act([request])
            assert (decision.intents, decision.carry) == (expected.intents, expected.carry)
        assert policy.wiped(decision.carry)["written"] is None
        with ThreadPoolExecutor(4) as clients:
            together = list(clients.map(lambda _: policy.act([request])[0], range(20)))
        assert {(one.intents, one.carry["written"]) for one in together} == {
            (expected.intents, expected.carry["written"])
        }
    assert (tmp_path / "failed").exists()
    assert max(size for size, _ in batches(tmp_path)) > 1
    assert len({process for _, process in batches(tmp_path)}) == 2


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"policy_workers": -1}, "not be negative"), ({"kind": ComputeKind.inline, "policy_workers": 1}, "no policy")],
)
def test_policy_workers_that_cannot_be_are_refused(tmp_path, settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        ComputeConfig(**settings).build(config(tmp_path))


class Echo:
    """Answers each request with a wait of as many seconds, and refuses negative ones."""

    def __init__(self) -> None:
        self.sizes = []

    def act(self, requests):
        self.sizes.append(len(requests))
        time.sleep(0.02)
        if any(request < 0 for request in requests):
            raise IntentError("Time must not run backwards.")
        return [Decision((Wait(request),)) for request in requests]


def test_a_batch_is_answered_in_its_order_and_one_bad_request_spoils_no_other():
    echo = Echo()
    group = Batches(echo.act, clients=4, window_s=0.2)
    with ThreadPoolExecutor(4) as clients:
        answers = [clients.submit(group.decide, [number]) for number in (1.0, 2.0, -1.0, 4.0)]
        found = [answer.exception() or answer.result()[0].intents[0].duration_s for answer in answers]
    assert found[:2] + found[3:] == [1.0, 2.0, 4.0]
    assert isinstance(found[2], IntentError)
    assert sorted(echo.sizes) == [1, 1, 1, 1, 4]


def test_a_request_waits_no_longer_than_the_window_and_a_lone_client_not_at_all():
    for clients, shortest_s, longest_s in ((1, 0.0, 0.25), (2, 0.3, 0.9)):
        group = Batches(Echo().act, clients=clients, window_s=0.3)
        begun_s = time.monotonic()
        group.decide([1.0])
        assert shortest_s <= time.monotonic() - begun_s < longest_s
    assert threading.active_count() < 100
