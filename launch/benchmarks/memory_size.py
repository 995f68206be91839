"""How large a memory bank grows, and how long rebuilding its projections takes."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import Pose, quaternion_from_yaw
from embodied.memory import (
    Bank,
    EntitySeen,
    Event,
    Interaction,
    Payload,
    RelationEnded,
    RelationSet,
    RobotReported,
    SkillEnded,
    open_bank,
)
from embodied.seeding import stream
from launch.benchmark import Benchmark

BATCH = 1000
WANTED = {"mib_per_million_events": 150.0, "rebuild_s": 30.0, "rebuild_from_snapshot_s": 2.0}
SKILL_S = 8.0
# The numbers of states and of sightings in a hundred events of a robot; the last six carry a thing.
STATES, SIGHTINGS = 64, 30


@dataclass(kw_only=True)
class MemorySizeConfig:
    """The number of events, robots and things."""

    events: int = 1_000_000
    robots: int = 50
    things: int = 500

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive."""
        if min(asdict(self).values()) < 1 or self.things < self.robots:
            raise ConfigError("memory_size needs positive counts, and a thing for each robot.", value=asdict(self))


def measure(config: MemorySizeConfig, *, seed: int) -> dict[str, Any]:
    """Returns mebibytes per million events without vectors, and seconds per rebuild: of the whole log, of a snapshot.

    Robots drive about, log their planar poses and the things they see, and sometimes carry one of their own.
    """
    config.check()
    with tempfile.TemporaryDirectory(prefix="memory_size_") as folder:
        path = Path(folder) / "bank.db"
        started_s = time.perf_counter()
        with open_bank(f"sqlite:///{path}") as bank:
            for events in _batches(config, seed):
                bank.append(events)
        written_s = time.perf_counter() - started_s
        mib = path.stat().st_size / 2**20
        _without_snapshots(path)
        with open_bank(f"sqlite:///{path}", thorough=False) as bank:
            whole_s, whole_from = _rebuild_s(bank)
            bank.write_snapshot()
            snapshot_s, snapshot_from = _rebuild_s(bank)
            problems = list(bank.verify().problems)
    reached = dict(
        zip(WANTED, (round(mib * 1e6 / config.events, 1), round(whole_s, 2), round(snapshot_s, 2)), strict=True)
    )
    passes = {name: value <= WANTED[name] for name, value in reached.items()}
    return {
        "what": "memory_size",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "settings": asdict(config),
        "events_per_s_written": round(config.events / written_s),
        "rebuilt_from": {"whole": whole_from, "snapshot": snapshot_from},
        "problems": problems,
        "wanted": WANTED,
        "reached": reached,
        "passes": passes | {"sound": not problems, "from": whole_from == 0 < snapshot_from},
    }


def _batches(config: MemorySizeConfig, seed: int) -> Iterator[list[Event]]:
    """Yields the events in batches; robots log in turn, all at the same rate."""
    random = stream(seed, "memory size")
    pending: list[Event] = []
    robots = [_robot(number, config, random) for number in range(config.robots)]
    for number in range(config.events):
        turn, robot = divmod(number, config.robots)
        payload = next(robots[robot])
        name = f"robot_{robot}"
        pending.append(Event(name, turn + 1, 0.05 * turn, payload, robot=name, task="shift"))
        if len(pending) == BATCH:
            yield pending
            pending = []
    if pending:
        yield pending


def _robot(number: int, config: MemorySizeConfig, random: np.random.Generator) -> Iterator[Payload]:
    """Yields the events of one robot without end; thing `number` is the one it carries."""
    own, turn = f"thing_{number}", 0
    while True:
        for _ in range(STATES):
            yield RobotReported(_pose(random), battery=float(round(random.uniform(), 3)), status="driving")
        for _ in range(SIGHTINGS):
            thing = int(random.integers(config.robots, config.things)) if config.things > config.robots else number
            yield EntitySeen(f"thing_{thing}", "box", _pose(random), confidence=0.9)
        began_s = 5.0 * turn
        yield RelationSet(own, "held_by", f"robot_{number}", expected_version=4 * turn)
        yield RelationEnded(own, "held_by", f"robot_{number}", expected_version=4 * turn + 1)
        yield RelationSet(own, "on", f"shelf_{turn % 7}", expected_version=4 * turn + 2)
        yield RelationEnded(own, "on", f"shelf_{turn % 7}", expected_version=4 * turn + 3)
        yield Interaction("pick_place", own, began_s, began_s + 1.0, began_s + 3.0, began_s + 4.0)
        yield SkillEnded("pick_place", success=bool(random.integers(2)), context="box", duration_s=SKILL_S)
        turn += 1


def _pose(random: np.random.Generator) -> Pose:
    x_m, y_m, yaw_rad = random.uniform((0.0, 0.0, -np.pi), (40.0, 25.0, np.pi))
    return Pose((round(float(x_m), 3), round(float(y_m), 3), 0.0), quaternion_from_yaw(float(yaw_rad)))


def _rebuild_s(bank: Bank) -> tuple[float, int]:
    """Returns the seconds that a rebuild took, and the number of the event after which it started."""
    started_s = time.perf_counter()
    start = bank.rebuild()
    return time.perf_counter() - started_s, start


def _without_snapshots(path: Path) -> None:
    for other in path.parent.iterdir():
        if other != path and other.suffix not in ("-wal", "-shm"):
            shutil.rmtree(other) if other.is_dir() else other.unlink()


BENCHMARK = Benchmark(
    configs={"memory_size": MemorySizeConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
