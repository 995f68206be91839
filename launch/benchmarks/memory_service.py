"""Load test of the memory bank's service: many clients at a steady rate, and the latency of acknowledgements."""

import gc
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import Pose
from embodied.memory import BankClient, Event, Link, Outbox, RobotReported, open_bank
from embodied.seeding import stream
from launch.benchmark import Benchmark
from launch.benchmarks.memory import percentiles

WANTED_P99_MS = 50.0
TIMEOUT_S = 60.0
START_DELAY_S = 10.0  # Time for processes to start and import.
OBJECT_STORE_MB = 128


@dataclass(kw_only=True)
class MemoryLoadConfig:
    """The load: clients, events per second of each, duration, and the number of processes beside the owner's."""

    clients: int = 50
    events_per_s: float = 20.0
    duration_s: float = 120.0
    processes: int = 2

    def check(self) -> None:
        """Raises `ConfigError` for values that are not positive."""
        if not all(value > 0 for value in asdict(self).values()):
            raise ConfigError("All values of the memory load must be positive.", value=asdict(self))


def measure(config: MemoryLoadConfig, *, seed: int) -> dict[str, Any]:
    """Returns how many events were appended and kept, and percentiles of the time to acknowledgement (milliseconds).

    The owner is an actor on a private Ray, each process of clients another; every client has its outbox in a file.
    Events are due at even intervals whether or not earlier ones are acknowledged, and the latency counts from the time
    at which an event was due: a client that falls behind makes the figures worse.
    """
    config.check()
    with tempfile.TemporaryDirectory(prefix="memory_load_") as folder:
        url = f"sqlite:///{Path(folder) / 'bank.db'}"
        done, owner_cpu_s = _run_crowd(config, url, folder, seed)
        with open_bank(url) as bank:
            kept, problems = bank.head, bank.verify().problems
    late = [seconds for part, _ in done for seconds in part]
    logged = config.clients * round(config.events_per_s * config.duration_s)
    times = percentiles(late)
    return {
        "what": "memory_load",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "settings": asdict(config),
        "logged": logged,
        "acknowledged": len(late),
        "kept": kept,
        "problems": list(problems),
        "acknowledgement": times,
        "cpu_ms_per_event": {
            "owner": round(1000 * owner_cpu_s / logged, 3),
            "clients": round(1000 * sum(cpu_s for _, cpu_s in done) / logged, 3),
        },
        "wanted_p99_ms": WANTED_P99_MS,
        "passes": logged == len(late) == kept and not problems and times["p99_ms"] <= WANTED_P99_MS,
    }


def _run_crowd(
    config: MemoryLoadConfig, url: str, folder: str, seed: int
) -> tuple[list[tuple[list[float], float]], float]:
    """Returns the results of `_run_clients` of each process, and the CPU seconds of the owner."""
    import ray

    from embodied.memory.service.ray_service import Host, hosted
    from embodied.rollout.ray.cluster import local_cluster

    with local_cluster(cpus=config.processes, object_store_mb=OBJECT_STORE_MB), hosted(Host(url)) as link:
        crowd: Any = ray.remote(num_cpus=1)(_run_clients)
        shares = [range(first, config.clients, config.processes) for first in range(config.processes)]
        start_s = time.time() + START_DELAY_S
        owner = psutil.Process(link.pid())
        before_s = _cpu_s(owner)
        done = ray.get([crowd.remote(config, link, list(share), (seed, start_s, folder)) for share in shares])
        return done, _cpu_s(owner) - before_s


def _run_clients(
    config: MemoryLoadConfig, link: Link, numbers: Sequence[int], run: tuple[int, float, str]
) -> tuple[list[float], float]:
    """Returns the seconds from due to acknowledged of each event of these clients, and the CPU seconds.

    One thread per client appends.
    """
    seed, start_s, folder = run
    # One process simulates many robots: a full garbage collection would delay all of them at once, as it
    # would not with a process for each. Imported modules are never garbage.
    gc.collect()
    gc.freeze()
    cpu_s = time.process_time()
    late: list[float] = []
    threads = [
        threading.Thread(target=_run_client, args=(config, link, _Client(number, seed, start_s, folder), late))
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return late, time.process_time() - cpu_s


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@dataclass(frozen=True)
class _Client:
    number: int
    seed: int
    start_s: float
    folder: str

    @property
    def robot(self) -> str:
        return f"robot_{self.number}"


def _run_client(config: MemoryLoadConfig, link: Link, who: _Client, late: list[float]) -> None:
    random = stream(who.seed, "load", who.number)
    period_s = 1.0 / config.events_per_s
    offset_s = float(random.uniform(0.0, period_s))  # Robots are not synchronised.
    outbox = Outbox(Path(who.folder) / f"{who.robot}.outbox", limit=100_000, durable=False)
    with BankClient(link, outbox, writer=who.robot, timeout_s=TIMEOUT_S) as client:
        waiting: deque[Future[Any]] = deque()
        for step in range(round(config.events_per_s * config.duration_s)):
            due_s = who.start_s + offset_s + step * period_s
            time.sleep(max(0.0, due_s - time.time()))
            pose = Pose((float(random.uniform(0.0, 40.0)), float(random.uniform(0.0, 25.0)), 0.0))
            event = Event(who.robot, 0, due_s, RobotReported(pose, battery=1.0), robot=who.robot)
            answer = client.post(event)
            answer.add_done_callback(lambda _, due_s=due_s: late.append(time.time() - due_s))
            waiting.append(answer)
            while waiting and waiting[0].done():
                waiting.popleft().result()
        for answer in waiting:
            answer.result(TIMEOUT_S)


BENCHMARK = Benchmark(
    configs={"memory_service": MemoryLoadConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
