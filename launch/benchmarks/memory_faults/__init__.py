"""Kills the bank's owner while it writes, flips bits in its file, and checks that no loss goes undetected."""

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError, DataError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import Pose
from embodied.memory import EntitySeen, Event, PlaceDefined, RelationSet, inspect_file, open_bank
from embodied.seeding import stream
from launch.benchmark import Benchmark

SHORTEST_LIFE_S = 0.02
LONGEST_LIFE_S = 0.4


@dataclass(kw_only=True)
class MemoryFaultsConfig:
    """How many kills and flips, and how many concurrent writers append to the bank."""

    kills: int = 100
    flips: int = 200
    writers: int = 4
    seed: int = 0

    def check(self) -> None:
        """Raises `ConfigError` for counts below zero or no writers."""
        if min(self.kills, self.flips) < 0 or self.writers < 1:
            raise ConfigError("memory_faults counts must not be negative, and writers at least 1.", value=self)


@dataclass
class KillTally:
    """Counts over all kills so far; `passes` is the requirement."""

    kills: int = 0
    acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def passes(self) -> bool:
        """Whether nothing was lost or duplicated, and every bank opened intact with projections equal to a rebuild."""
        return not (self.lost or self.doubled or self.problems)


def measure(config: MemoryFaultsConfig) -> dict[str, Any]:
    """Returns the results of the kills and of the flips, with `passes` for each."""
    config.check()
    with tempfile.TemporaryDirectory(prefix="memory-faults-") as folder:
        tally = KillTally()
        for _ in range(config.kills):
            kill_once(Path(folder) / "killed.db", tally, writers=config.writers, seed=config.seed)
        outcomes = flip_bits(Path(folder), flips=config.flips, seed=config.seed)
    return {
        "what": "memory_faults",
        "cpu": cpu(),
        "versions": versions(),
        "kills": {
            "kills": tally.kills,
            "writers": config.writers,
            "acknowledged": len(tally.acknowledged),
            "lost": tally.lost,
            "doubled": tally.doubled,
            "problems": tally.problems[:20],
            "passes": tally.passes,
        },
        "flips": {**outcomes, "passes": outcomes["missed"] == 0},
    }


def kill_once(path: Path, tally: KillTally, *, writers: int, seed: int) -> None:
    """Starts a process that writes to the bank at `path`, kills it at a random time, and checks the file.

    It has `writers` threads; SIGKILL comes at a time drawn from `seed`; results are added to `tally`.
    """
    draw = stream(seed, "memory_faults", "kill", tally.kills)
    command = [sys.executable, "-m", "launch.benchmarks.memory_faults.writer", f"sqlite:///{path}", str(writers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:  # noqa: S603
        if owner.stdout is None or not owner.stdout.readline():
            tally.problems.append(f"Kill {tally.kills + 1}: the owner did not start.")
            return
        time.sleep(float(draw.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S)))
        owner.kill()
        lines = owner.stdout.read().decode().splitlines()
    tally.kills += 1
    for line in lines:
        writer, number, seq = line.split()
        tally.acknowledged[writer, int(number)] = int(seq)
    try:
        _look(path, tally)
    except DataError as error:
        tally.problems.append(f"Kill {tally.kills}: {error}")


def flip_bits(folder: Path, *, flips: int, seed: int) -> dict[str, int]:
    """Returns how many of `flips` single flipped bits in a bank's file were found, harmless, or missed.

    The bits are drawn from `seed`; files lie in `folder`. Found: opening or `verify` reports the damage. Harmless: the
    bit is unused (free space), and all events and all projections read as before. Missed: neither.
    """
    sound = folder / "sound.db"
    events = _small_bank(sound)
    size_bits = sound.stat().st_size * 8
    draw = stream(seed, "memory_faults", "flip")
    counts = {"flips": flips, "found_on_opening": 0, "found_by_verify": 0, "harmless": 0, "missed": 0}
    for bit in draw.choice(size_bits, flips, replace=False).tolist():
        flipped = folder / "flipped.db"
        shutil.copyfile(sound, flipped)
        content = bytearray(flipped.read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        flipped.write_bytes(content)
        counts[flip_outcome(flipped, events)] += 1
    return counts


def flip_outcome(path: Path, events: list[Event]) -> str:
    """Returns the outcome for a file that may be damaged, given the events that it should hold."""
    try:
        if inspect_file(path).problems:
            return "found_on_opening"
        with open_bank(f"sqlite:///{path}", thorough=False) as bank:
            if bank.verify().problems:
                return "found_by_verify"
            return "harmless" if bank.changes_since(0, limit=len(events) + 1) == events else "missed"
    except DataError:
        return "found_on_opening"


def _look(path: Path, tally: KillTally) -> None:
    with open_bank(f"sqlite:///{path}") as bank:
        tally.problems += [f"Kill {tally.kills}: {text}" for text in bank.verify().problems]
        found: dict[tuple[str, int], int] = {}
        for event in bank.changes_since(0, limit=bank.head):
            key = (event.writer, event.writer_seq)
            tally.doubled += key in found
            found[key] = event.seq
        tally.lost += sum(found.get(key) != seq for key, seq in tally.acknowledged.items())


def _small_bank(path: Path) -> list[Event]:
    """Writes a bank with content in every kind of table; returns its events."""
    draw = stream(0, "memory_faults", "bank")
    square = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))
    with open_bank(f"sqlite:///{path}") as bank:
        bank.append(Event("map", 1, 0.0, PlaceDefined("home", "site", polygon=square)))
        for number in range(1, 301):
            thing = f"object_{number % 7}"
            found = bank.where_is(thing)
            version = found.version if found else 0
            bank.append(
                Event("eye", number, float(number), EntitySeen(thing, "cube", Pose((float(draw.random()), 0.0, 0.0))))
                if number % 3
                else Event("eye", number, float(number), RelationSet(thing, "in", "home", expected_version=version))
            )
        # So that most of the file is in use, although each table has a page of its own.
        bank.append([Event("eye", number, 301.0, EntitySeen("object_0", "cube", Pose())) for number in range(301, 601)])
        return bank.changes_since(0, limit=bank.head)


BENCHMARK = Benchmark(
    configs={"memory_faults": MemoryFaultsConfig},
    measure=lambda run, config: measure(replace(config, seed=run.seed)),
)
