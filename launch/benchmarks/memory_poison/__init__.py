"""Lets ten of a hundred robots write poison of ten kinds, and measures what the other ninety notice."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.memory import EntitySeen, open_bank
from launch.benchmark import Benchmark
from launch.benchmarks.memory import percentiles
from launch.benchmarks.memory_poison.links import served
from launch.benchmarks.memory_poison.poison import KINDS
from launch.benchmarks.memory_poison.robots import CrowdTask, Written

MOST_TIMES = 2.0


@dataclass(kw_only=True)
class MemoryPoisonConfig:
    """How many sound robots write beside the ten, in how many processes, how often, and for how long.

    `poison_nice` lowers the priority of the process of the ten, which would run on other machines: 0 leaves it.
    """

    robots: int = 90
    processes: int = 3
    events_per_s: float = 2.0
    duration_s: float = 120.0
    poison_nice: int = 10

    def check(self) -> None:
        """Raises `ConfigError` for values that are not positive; only `poison_nice` may be 0."""
        if self.poison_nice < 0 or not all(value > 0 for value in (asdict(self) | {"poison_nice": 1}).values()):
            raise ConfigError("All values of memory_poison must be positive.", value=asdict(self))


def measure(config: MemoryPoisonConfig, *, seed: int) -> dict[str, Any]:
    """Returns the acknowledgements of the sound robots without and with the ten, what was lost, and `passes`."""
    config.check()
    alone, beside = (run(config, poisoned=poisoned, seed=seed) for poisoned in (False, True))
    ratio = beside["acknowledgement"]["p99_ms"] / alone["acknowledgement"]["p99_ms"]
    return {
        "what": "memory_poison",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "settings": asdict(config),
        "kinds": [kind.__name__ for kind in KINDS],
        "alone": alone,
        "beside_poison": beside,
        "p99_ratio": round(ratio, 2),
        "passes": alone["passes"] and beside["passes"] and ratio <= MOST_TIMES,
    }


def run(config: MemoryPoisonConfig, *, poisoned: bool, seed: int) -> dict[str, Any]:
    """Returns what the sound robots wrote and what the bank holds of it, with the ten at work where `poisoned`.

    `config` says how many write how much; the times of their events are drawn from `seed`.
    """
    robots = [f"robot_{number}" for number in range(config.robots)]
    poisoners = [f"poisoner_{number}" for number in range(len(KINDS))] if poisoned else []
    with tempfile.TemporaryDirectory(prefix="memory_poison_") as folder:
        with served(Path(folder), [*robots, *poisoners]) as address:
            shared = CrowdTask(address, folder, config.duration_s, events_per_s=config.events_per_s, seed=seed)
            tasks = [
                msgspec.structs.replace(shared, robots=tuple(robots[first :: config.processes]))
                for first in range(config.processes)
            ]
            if poisoned:
                tasks.append(msgspec.structs.replace(shared, poisoners=tuple(poisoners), nice=config.poison_nice))
            *sound, last = run_processes(tasks) if poisoned else [*run_processes(tasks), Written()]
        return _compared(sound, last, Path(folder) / "bank.db")


def run_processes(tasks: Sequence[CrowdTask]) -> list[Written]:
    """Returns what each process wrote; all begin at once, when all are ready."""
    command = [sys.executable, "-m", "launch.benchmarks.memory_poison.robots"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    processes: list[Any] = [subprocess.Popen(command, text=True, **pipes) for _ in tasks]  # noqa: S603
    try:
        for process, task in zip(processes, tasks, strict=True):
            process.stdin.write(msgspec.json.encode(task).decode() + "\n")
            process.stdin.flush()
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return [msgspec.convert(json.loads(process.stdout.readline()), Written) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _compared(sound: Sequence[Written], last: Written, path: Path) -> dict[str, Any]:
    logged = {name: count for part in sound for name, count in part.logged.items()}
    with open_bank(f"sqlite:///{path}") as bank:
        problems = list(bank.verify().problems)
        found: Counter[tuple[str, str]] = Counter()
        for event in bank.changes_since(0, limit=bank.head):
            if isinstance(event.payload, EntitySeen) and event.writer in logged:
                found[event.writer, event.payload.evidence] += 1
        total = bank.head
    wanted = {(name, str(number)) for name, count in logged.items() for number in range(1, count + 1)}
    lost, foreign = sum(not found[key] for key in wanted), len(found.keys() - wanted)
    doubled = sum(count > 1 for count in found.values())
    refused = [error for part in sound for error in part.errors]
    times = [seconds for part in sound for seconds in part.latency_s]
    return {
        "logged": len(wanted),
        "acknowledged": len(times),
        "kept": total,
        "lost": lost,
        "doubled": doubled,
        "written_as_another": foreign,
        "refused": refused[:5],
        "problems": problems,
        "poison_that_ended": last.errors,
        "acknowledgement": percentiles(times),
        "passes": not (lost or doubled or foreign or refused or problems) and len(times) == len(wanted),
    }


BENCHMARK = Benchmark(
    configs={"memory_poison": MemoryPoisonConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
