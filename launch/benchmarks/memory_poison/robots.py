"""A process with some robots that write at a steady rate, or with the ten that write poison; run by `memory_poison`.

Reads its task as one line of JSON from standard input, prints `ready`, waits for a line, and prints a line of JSON at
the end.
"""

import gc
import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from embodied.geometry import Pose
from embodied.memory import BankClient, EntitySeen, Event, Outbox
from embodied.seeding import stream
from launch.benchmarks.memory_poison.links import BankAddress, connect
from launch.benchmarks.memory_poison.poison import KINDS, Poisoner

TIMEOUT_S = 60.0


class CrowdTask(msgspec.Struct, frozen=True):
    """What a process does for `duration_s`: `robots` write `events_per_s` each, or the `poisoners` write theirs.

    `nice` is by how much it lowers its priority.
    """

    address: BankAddress
    folder: str
    duration_s: float
    robots: tuple[str, ...] = ()
    events_per_s: float = 0.0
    poisoners: tuple[str, ...] = ()
    seed: int = 0
    nice: int = 0


class Written(msgspec.Struct):
    """What the robots of a process wrote: by robot the number of events; the seconds from due to acknowledged."""

    logged: dict[str, int] = {}
    latency_s: list[float] = []
    errors: list[str] = []


@dataclass(eq=False)
class _Robot:
    """One robot: its client, and what it wrote so far."""

    name: str
    client: BankClient
    logged: int = 0
    latency_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def write(self, due_s: float) -> None:
        """Logs one sighting that was due at `due_s` (`time.monotonic`), and notes when it is acknowledged."""
        self.logged += 1
        seen = EntitySeen(f"{self.name}_cup", "cup", Pose((0.01 * self.logged, 0.0, 0.0)), evidence=f"{self.logged}")
        answer = self.client.post(Event("", 0, time.time(), seen, robot=self.name))
        answer.add_done_callback(lambda future: self._note(future, due_s))

    def _note(self, answer: Future[list[int]], due_s: float) -> None:
        error = answer.exception()
        if error is None:
            self.latency_s.append(time.monotonic() - due_s)
        else:
            self.errors.append(str(error)[:200])


def main() -> None:
    """Does one task."""
    task = msgspec.json.decode(sys.stdin.readline(), type=CrowdTask)
    os.nice(task.nice)
    written = _poison(task) if task.poisoners else _write(task)
    sys.stdout.write(msgspec.json.encode(written).decode() + "\n")


def _await_start() -> None:
    gc.collect()
    gc.freeze()  # One process simulates many robots: a full collection would delay all of them at once.
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


def _write(task: CrowdTask) -> Written:
    robots = [
        _Robot(
            name,
            BankClient(
                connect(task.address, name),
                Outbox(Path(task.folder) / f"{name}.outbox", durable=False),
                writer=name,
                timeout_s=TIMEOUT_S,
            ),
        )
        for name in task.robots
    ]
    _await_start()
    threads = [threading.Thread(target=_write_steadily, args=(task, robot)) for robot in robots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for robot in robots:
        robot.client.flush(timeout_s=TIMEOUT_S)
        robot.client.close()
    return Written(
        logged={robot.name: robot.logged for robot in robots},
        latency_s=[seconds for robot in robots for seconds in robot.latency_s],
        errors=[error for robot in robots for error in robot.errors],
    )


def _write_steadily(task: CrowdTask, robot: _Robot) -> None:
    period_s = 1.0 / task.events_per_s
    start_s = time.monotonic() + float(stream(task.seed, "memory_poison", robot.name).uniform(0.0, period_s))
    for number in range(round(task.duration_s * task.events_per_s)):
        due_s = start_s + number * period_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        robot.write(due_s)


def _poison(task: CrowdTask) -> Written:
    victims = [f"robot_{number}" for number in range(len(KINDS))]
    links = [connect(task.address, name) for name in task.poisoners]
    _await_start()
    end_s = time.monotonic() + task.duration_s
    with ThreadPoolExecutor(max_workers=len(KINDS)) as threads:
        running = [
            threads.submit(kind, Poisoner(name, link, Path(task.folder), victim, end_s))
            for kind, name, link, victim in zip(KINDS, task.poisoners, links, victims, strict=True)
        ]
    ended = zip(KINDS, [one.exception() for one in running], strict=True)
    return Written(errors=[f"{kind.__name__}: {error!r:.200}" for kind, error in ended if error is not None])


if __name__ == "__main__":
    main()
