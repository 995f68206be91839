"""Kills the owner of a bank, its robots, Ray's head, and all at once, and checks that nothing is lost or doubled."""

import os
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.memory import EntitySeen, open_bank
from embodied.seeding import stream
from launch.benchmark import Benchmark
from launch.benchmarks.memory_kills.site import Site

BUSY_S = (1.0, 3.0)  # How long all write before a kill.
RETURN_S = 5.0
WAIT_S = 90.0


class Target(StrEnum):
    """What a trial kills with SIGKILL: the owner's process, robots' programs, Ray's head, or all of them."""

    OWNER = "owner"
    ROBOTS = "robots"
    HEAD = "head"
    ALL = "all"


@dataclass(kw_only=True)
class MemoryKillsConfig:
    """How many trials of each kind, how many robots write, and how long the head is away.

    In `long_trials` of those that kill the head it is away for `long_s`, in the others for `short_s`.
    """

    trials: int = 25
    robots: int = 4
    short_s: float = 5.0
    long_s: float = 60.0
    long_trials: int = 5

    def check(self) -> None:
        """Raises `ConfigError` for negative values, or no robots."""
        if min(asdict(self).values()) < 0 or self.robots < 1:
            raise ConfigError("memory_kills values must not be negative, and robots at least 1.", value=asdict(self))


@dataclass(frozen=True)
class Trial:
    """What is killed, for which time, and how long all robots have written before."""

    target: Target
    number: int
    busy_s: float


@dataclass
class KillsTally:
    """Counts over all trials; `passes` is the requirement."""

    stored: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    moved: int = 0
    refused: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    returns_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        """Whether nothing was lost, doubled or moved, no robot's program ended, and writing soon went on each time."""
        late = [seconds for times in self.returns_s.values() for seconds in times if seconds > RETURN_S]
        return not (self.lost or self.doubled or self.moved or self.refused or self.ended or self.problems or late)


def measure(config: MemoryKillsConfig, *, seed: int) -> dict[str, Any]:
    """Returns what was lost or doubled over all trials, how soon writing went on, and `passes`."""
    config.check()
    tally = KillsTally()
    with tempfile.TemporaryDirectory(prefix="memory_kills_") as folder:
        with Site(Path(folder), robots=config.robots) as site:
            for target in Target:
                for number in range(config.trials):
                    busy_s = float(stream(seed, "memory_kills", target.value, number).uniform(*BUSY_S))
                    _try_once(config, site, tally, Trial(target, number, busy_s))
            site.settle()
            printed, tally.ended = site.printed(), [*tally.ended, *site.ended()]
        compare(printed, Path(folder) / "bank.db", tally)
    return {
        "what": "memory_kills",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "settings": asdict(config),
        **asdict(tally),
        "returns_s": {
            target: {"trials": len(times), "median": sorted(times)[len(times) // 2], "max": max(times)}
            for target, times in tally.returns_s.items()
        },
        "passes": tally.passes,
    }


def _try_once(config: MemoryKillsConfig, site: Site, tally: KillsTally, trial: Trial) -> None:
    """Kills a target while all robots write, brings it back, and adds to `tally` how soon all robots were answered."""
    target = trial.target
    time.sleep(trial.busy_s)
    if target in (Target.ROBOTS, Target.ALL):
        site.kill_robots()
    if target == Target.OWNER:
        site.kill_owner()
    elif target in (Target.HEAD, Target.ALL):
        site.kill_head()
        time.sleep(config.long_s if trial.number < config.long_trials else config.short_s)
        site.start_host()
    if target in (Target.ROBOTS, Target.ALL):
        site.start_robots()
    returned_s = time.monotonic()
    answered_s = site.await_answers(since_s=returned_s, timeout_s=WAIT_S)
    if answered_s is None:
        tally.problems.append(f"{target} {trial.number}: no answer for {WAIT_S} s")
    else:
        tally.returns_s.setdefault(target.value, []).append(round(answered_s - returned_s, 2))
    tally.ended += [f"{target} {trial.number}: {robot}" for robot in site.ended()]


def compare(printed: list[str], path: Path, tally: KillsTally) -> None:
    """Adds to `tally` how the bank at `path` differs from what robots have `printed`."""
    with open_bank(f"sqlite:///{path}") as bank:
        tally.problems += bank.verify().problems
        found: dict[str, int] = {}
        times: Counter[str] = Counter()
        for event in bank.changes_since(0, limit=bank.head):
            if isinstance(event.payload, EntitySeen):
                found[event.payload.evidence] = event.seq
                times[event.payload.evidence] += 1
    tally.doubled += sum(count > 1 for count in times.values())
    for line in printed:
        match line.split():
            case ["stored", name]:
                tally.stored += 1
                tally.lost += name not in found
            case ["acknowledged", name, seq]:
                tally.acknowledged += 1
                tally.lost += name not in found
                tally.moved += found.get(name) not in (None, int(seq))
            case ["refused", *_]:
                tally.refused.append(line[:200])


BENCHMARK = Benchmark(
    configs={"memory_kills": MemoryKillsConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
