"""Load test of the memory bank's service: many clients at a steady rate, and the latency of acknowledgements."""

import gc
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from multiprocessing import get_context
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
from launch.benchmarks.memory_poison.links import BankAddress, connect, served

WANTED_P99_MS = 50.0
TIMEOUT_S = 60.0
START_DELAY_S = 10.0  # Time for processes to start and import.
BURST_DELAY_S = 1.0
OBJECT_STORE_MB = 128


@dataclass(kw_only=True)
class MemoryLoadConfig:
    """The load: clients, events per second of each, duration, and the number of processes beside the owner's.

    Afterwards each client writes `burst_events` events at once, as after an outage; 0 leaves that out.
    """

    clients: int = 50
    events_per_s: float = 20.0
    duration_s: float = 120.0
    processes: int = 2
    burst_events: int = 200

    def check(self) -> None:
        """Raises `ConfigError` for values that are not positive; only `burst_events` may be 0."""
        if self.burst_events < 0 or not all(value > 0 for value in (asdict(self) | {"burst_events": 1}).values()):
            raise ConfigError("All values of the memory load must be positive.", value=asdict(self))


@dataclass(frozen=True)
class _Load:
    """What each client writes: so many `events`, one per `period_s`."""

    events: int
    period_s: float


@dataclass(frozen=True)
class _Done:
    """What a crowd of clients has measured.

    `late_s` holds the seconds from due to acknowledged of each event, `burst_s` those of the burst; CPU in seconds.
    """

    late_s: list[float]
    burst_s: list[float]
    owner_cpu_s: float
    clients_cpu_s: float


# Runs all clients with a load that starts after a delay in seconds; returns what `_run_clients` does, of each process.
_Crowd = Callable[[_Load, float], list[tuple[list[float], float]]]


def measure(config: MemoryLoadConfig, *, seed: int) -> dict[str, Any]:
    """Returns how many events were appended and kept, and percentiles of the time to acknowledgement (milliseconds).

    The owner is an actor on a private Ray, each process of clients another; every client has its outbox in a file.
    Events are due at even intervals whether or not earlier ones are acknowledged, and the latency counts from the time
    at which an event was due: a client that falls behind makes the figures worse. `burst` is the rate at which events
    of all clients are acknowledged that are all due at once. `socket` has the same figures of a bank that a process of
    its own serves over websockets, where each client has a connection and a credential.
    """
    config.check()
    on_ray, on_socket = (_measure_link(config, run, seed) for run in (_run_on_ray, _run_on_socket))
    return {
        "what": "memory_load",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "settings": asdict(config),
        **on_ray,
        "socket": on_socket,
        "wanted_p99_ms": WANTED_P99_MS,
        "passes": on_ray["passes"] and on_socket["passes"],
    }


def _measure_link(
    config: MemoryLoadConfig, run: Callable[[MemoryLoadConfig, Path, int], _Done], seed: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="memory_load_") as name:
        folder = Path(name)
        done = run(config, folder, seed)
        with open_bank(_url(folder)) as bank:
            kept, problems = bank.head, bank.verify().problems
    steady = config.clients * round(config.events_per_s * config.duration_s)
    logged, acknowledged = steady + config.clients * config.burst_events, len(done.late_s) + len(done.burst_s)
    times = percentiles(done.late_s)
    burst = {"events": len(done.burst_s), "events_per_s": round(len(done.burst_s) / max(done.burst_s, default=1.0), 1)}
    return {
        "logged": logged,
        "acknowledged": acknowledged,
        "kept": kept,
        "problems": list(problems),
        "acknowledgement": times,
        "burst": burst,
        "cpu_ms_per_event": {
            "owner": round(1000 * done.owner_cpu_s / steady, 3),
            "clients": round(1000 * done.clients_cpu_s / steady, 3),
        },
        "passes": logged == acknowledged == kept and not problems and times["p99_ms"] <= WANTED_P99_MS,
    }


def _run_on_ray(config: MemoryLoadConfig, folder: Path, seed: int) -> _Done:
    """Runs the load with an owner and clients on a private Ray."""
    import ray

    from embodied.memory.service.ray_service import Host, hosted
    from embodied.rollout.ray.cluster import local_cluster

    with (
        local_cluster(cpus=config.processes, object_store_mb=OBJECT_STORE_MB),
        hosted(Host(_url(folder))) as link,
    ):
        remote: Any = ray.remote(num_cpus=1)(_run_clients)

        def crowd(load: _Load, delay_s: float) -> list[tuple[list[float], float]]:
            run = _Run(seed, time.time() + delay_s, folder)
            return ray.get([remote.remote(load, link, share, run) for share in _shares(config)])

        return _run_loads(config, crowd, link.pid())


def _run_on_socket(config: MemoryLoadConfig, folder: Path, seed: int) -> _Done:
    """Runs the load with an owner that serves websockets, and clients in processes without Ray."""
    names = [_robot(number) for number in range(config.clients)]
    before = {process.pid for process in psutil.Process().children()}
    with served(folder, names) as address, ProcessPoolExecutor(config.processes, get_context("spawn")) as pool:
        owner = next(process.pid for process in psutil.Process().children() if process.pid not in before)

        def crowd(load: _Load, delay_s: float) -> list[tuple[list[float], float]]:
            run = _Run(seed, time.time() + delay_s, folder)
            return list(
                pool.map(_run_clients, *zip(*((load, address, one, run) for one in _shares(config)), strict=True))
            )

        return _run_loads(config, crowd, owner)


def _run_loads(config: MemoryLoadConfig, crowd: _Crowd, owner: int) -> _Done:
    """Runs the steady load and the burst; `owner` is the process that owns the bank."""
    process = psutil.Process(owner)
    before_s = _cpu_s(process)
    done = crowd(_Load(round(config.events_per_s * config.duration_s), 1.0 / config.events_per_s), START_DELAY_S)
    owner_cpu_s = _cpu_s(process) - before_s
    burst = crowd(_Load(config.burst_events, 0.0), BURST_DELAY_S) if config.burst_events else []
    return _Done(
        [seconds for part, _ in done for seconds in part],
        [seconds for part, _ in burst for seconds in part],
        owner_cpu_s,
        sum(cpu_s for _, cpu_s in done),
    )


@dataclass(frozen=True)
class _Run:
    """The seed of a run, when its events begin to be due (seconds of UTC), and the folder of bank and outboxes."""

    seed: int
    start_s: float
    folder: Path


def _shares(config: MemoryLoadConfig) -> list[range]:
    """Returns the numbers of the clients of each process."""
    return [range(first, config.clients, config.processes) for first in range(config.processes)]


def _run_clients(
    load: _Load, owner: Link | BankAddress, numbers: Sequence[int], run: _Run
) -> tuple[list[float], float]:
    """Returns the seconds from due to acknowledged of each event of these clients, and the CPU seconds.

    One thread per client appends. They share one link to an `owner` on Ray; at an address each has one of its own.
    """
    # One process simulates many robots: a full garbage collection would delay all of them at once, as it
    # would not with a process for each. Imported modules are never garbage.
    gc.collect()
    gc.freeze()
    cpu_s = time.process_time()
    late_s: list[float] = []
    threads = [threading.Thread(target=_run_client, args=(load, owner, number, run, late_s)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return late_s, time.process_time() - cpu_s


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _robot(number: int) -> str:
    return f"robot_{number}"


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'bank.db'}"


def _run_client(load: _Load, owner: Link | BankAddress, number: int, run: _Run, late_s: list[float]) -> None:
    robot, random = _robot(number), stream(run.seed, "load", number)
    offset_s = float(random.uniform(0.0, load.period_s))  # Robots are not synchronised.
    outbox = Outbox(run.folder / f"{robot}.outbox", limit=100_000, durable=False)
    with ExitStack() as kept:
        link = kept.enter_context(closing(connect(owner, robot))) if isinstance(owner, BankAddress) else owner
        client = kept.enter_context(BankClient(link, outbox, writer=robot, timeout_s=TIMEOUT_S))
        waiting: deque[Future[Any]] = deque()
        for step in range(load.events):
            due_s = run.start_s + offset_s + step * load.period_s
            time.sleep(max(0.0, due_s - time.time()))
            pose = Pose((float(random.uniform(0.0, 40.0)), float(random.uniform(0.0, 25.0)), 0.0))
            event = Event(robot, 0, due_s, RobotReported(pose, battery=1.0), robot=robot)
            answer = client.post(event)
            answer.add_done_callback(lambda _, due_s=due_s: late_s.append(time.time() - due_s))
            waiting.append(answer)
            while waiting and waiting[0].done():
                waiting.popleft().result()
        for answer in waiting:
            answer.result(TIMEOUT_S)


BENCHMARK = Benchmark(
    configs={"memory_service": MemoryLoadConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
