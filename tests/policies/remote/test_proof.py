"""Remote policies at full size: servers that are killed and stalled, and a server of another project."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import venv
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.evaluation.controls import CONTROLS
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.plan import Evaluation
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.inline import InlineCompute
from embodied.rollout.worker import WorkerConfig
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.memorybench.suite import MEMORYBENCH
from embodied.tasks.registry import build_task
from policies.learned import LearnedPolicyConfig
from policies.remote.config import RemotePolicyConfig
from tests.policies.remote.requests import played

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]

WEIGHTS = "sam2act_plus-memorybench"
ROOT = Path(__file__).parents[3]
OPENPI_SERVER = """
import sys
import numpy as np
from openpi_client.base_policy import BasePolicy
from openpi_server.websocket_policy_server import WebsocketPolicyServer

class Adds(BasePolicy):
    def infer(self, obs):
        return {"actions": np.full((10, 7), float(obs["observation/state"].mean()) % 0.1)}

WebsocketPolicyServer(Adds(), "127.0.0.1", int(sys.argv[1]), {"name": "adds"}).serve_forever()
"""


def plan(policy, *, episodes: int, controls: tuple[str, ...] = (), tasks: tuple[str, ...] = tuple(MEMORYBENCH.tasks)):
    worker = WorkerConfig(
        simulator=BulletConfig(),
        controller=ControllerConfig(),
        tasks={
            f"{name}/strict": build_task(MEMORYBENCH.tasks[name], name, tier="strict", options={}) for name in tasks
        },
        policies={"policy": policy},
        controls={name: CONTROLS[name]() for name in controls},
    )
    return Evaluation(suite="memorybench", tier="strict", worker=worker, episodes=episodes, seed=3, salt="proof")


def rows(folder: Path, evaluation: Evaluation, compute: ComputeConfig | None = None) -> list[dict]:
    """Plays an evaluation, in this process by default, and returns its rows without what may differ, by episode."""
    worker = evaluation.worker
    chosen = InlineCompute(worker) if compute is None else compute.build(worker)
    evaluate(evaluation, compute=chosen, output=folder, config="", videos=0)
    found = [json.loads(line) for line in (folder / "episodes.jsonl").read_bytes().splitlines()]
    kept = [{key: row[key] for key in row if key not in ("run", "wall_s", "attempt")} for row in found]
    return sorted(kept, key=lambda row: (row["task"], row["seed"], row.get("control", "")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens at {port}")


class ServerProcess:
    """`launch.serve` in a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.start()

    def start(self) -> None:
        words = [sys.executable, "-m", "launch.serve", "policy=sam2act_plus", f"port={self.port}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(words, cwd=self._folder, env=environment, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextmanager
def served(folder: Path):
    folder.mkdir()
    server = ServerProcess(folder)
    try:
        wait_for(server.port)
        yield server
    finally:
        server.kill()


def learned() -> LearnedPolicyConfig:
    return LearnedPolicyConfig(weights=WEIGHTS).pinned()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The rows of 24 episodes of each task, decided in the process of the simulator."""
    return rows(tmp_path_factory.mktemp("here") / "out", plan(learned(), episodes=24))


@pytest.mark.parametrize("workers", [0, 4])
def test_the_rows_of_a_served_policy_are_those_of_the_policy_in_the_process(here, tmp_path, workers):
    compute = ComputeConfig(workers=workers) if workers else None
    with served(tmp_path / "server") as server:
        there = rows(tmp_path / "there", plan(RemotePolicyConfig(url=server.url).pinned(), episodes=24), compute)
    assert here == there


def test_the_rows_of_a_policy_on_policy_workers_are_those_of_the_policy_in_the_process(here, tmp_path):
    compute = ComputeConfig(workers=4, policy_workers=1)
    assert here == rows(tmp_path / "there", plan(learned(), episodes=24), compute)


def test_controls_through_the_socket_give_the_rows_of_controls_in_the_process(tmp_path):
    controls = ("off", "wiped", "swapped")
    here = rows(tmp_path / "here", plan(learned(), episodes=4, controls=controls))
    with served(tmp_path / "server") as server:
        there = plan(RemotePolicyConfig(url=server.url).pinned(), episodes=4, controls=controls)
        assert here == rows(tmp_path / "there", there)


def test_a_server_that_is_killed_ten_times_and_stalled_for_a_minute_loses_no_episode(tmp_path):
    here = rows(tmp_path / "here", plan(learned(), episodes=24, tasks=("put_block_back",)))
    with served(tmp_path / "server") as server:
        done = threading.Event()
        kills = []

        file = tmp_path / "there" / "episodes.jsonl"

        def disturb() -> None:
            """Disturbs the server in the midst of every second episode."""
            for number in range(11):
                while not file.exists() or len(file.read_bytes().splitlines()) < 2 * number:
                    if done.wait(0.2):
                        return
                done.wait(1.0)
                if number == 5:
                    server.process.send_signal(signal.SIGSTOP)
                    done.wait(60.0)
                    server.process.send_signal(signal.SIGCONT)
                    continue
                server.kill()
                kills.append(time.monotonic())
                server.start()

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            remote = RemotePolicyConfig(url=server.url, answer_timeout_s=10.0, outage_s=120.0).pinned()
            there = rows(tmp_path / "there", plan(remote, episodes=24, tasks=("put_block_back",)))
        finally:
            done.set()
            thread.join()
    assert len(kills) == 10
    assert len(there) == len(here)
    assert sum(a == b for a, b in zip(here, there, strict=True)) >= 0.95 * len(here)


def test_a_server_of_another_project_controls_the_robot(tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "openpi-server"], check=True, timeout=900)
    (tmp_path / "server.py").write_text(OPENPI_SERVER)
    port = free_port()
    server = subprocess.Popen([python, tmp_path / "server.py", str(port)])
    try:
        wait_for(port)
        config = RemotePolicyConfig(url=f"ws://127.0.0.1:{port}", identity="adds")
        policy = config.build()
        decisions = played(policy, 100)
        assert len(decisions) == 100
        values = decisions[7].intents[0].values
        assert values.shape == (5, 7) and np.isfinite(values).all()
        found = rows(tmp_path / "rows", plan(config.pinned(), episodes=2, tasks=("put_block_back",)))
        assert {row["outcome"] for row in found} <= {"failure", "timeout"}
    finally:
        server.kill()
        server.wait()
