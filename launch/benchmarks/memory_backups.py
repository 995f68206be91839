"""Makes backups of a bank while robots write to it, and checks what each holds and what restoring it loses."""

import os
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    Event,
    Link,
    Outbox,
    UnreachableError,
    back_up,
    open_bank,
    restore,
)
from embodied.seeding import stream
from launch.benchmark import Benchmark

WAITING = 3  # Events that each robot writes into its outbox while the bank is away.
LONGEST_PAUSE_S = 0.1


@dataclass(kw_only=True)
class MemoryBackupsConfig:
    """How many backups are made, and how many robots write meanwhile."""

    backups: int = 50
    robots: int = 8

    def check(self) -> None:
        """Raises `ConfigError` for counts below 1."""
        if min(asdict(self).values()) < 1:
            raise ConfigError("memory_backups counts must be at least 1.", value=asdict(self))


@dataclass
class BackupTally:
    """Counts over all backups so far; `passes` is the requirement."""

    backups: int = 0
    events: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def passes(self) -> bool:
        """Whether each backup was sound, and neither it nor the bank restored from it lacked an event."""
        return not self.lost and not self.problems


class Acknowledged:
    """The events that the bank has acknowledged, by robot and number; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seq: dict[tuple[str, int], int] = {}

    def add(self, robot: str, number: int, seq: int) -> None:
        """Adds event `number` of a `robot`, which the bank stored as `seq`."""
        with self._lock:
            self._seq[robot, number] = seq

    def copy(self) -> dict[tuple[str, int], int]:
        """Returns the sequence numbers so far."""
        with self._lock:
            return dict(self._seq)


def measure(config: MemoryBackupsConfig, *, seed: int) -> dict[str, Any]:
    """Returns what all backups held, and `passes`. Raises `ConfigError`."""
    config.check()
    tally = BackupTally()
    with tempfile.TemporaryDirectory(prefix="memory_backups_") as folder:
        _back_up_a_busy_bank(config, Path(folder), tally, seed=seed)
    return {
        "what": "memory_backups",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "settings": asdict(config),
        **asdict(tally),
        "passes": tally.passes,
    }


def _back_up_a_busy_bank(config: MemoryBackupsConfig, folder: Path, tally: BackupTally, *, seed: int) -> None:
    acknowledged, stopped = Acknowledged(), threading.Event()
    with open_bank(f"sqlite:///{folder}/run.db") as bank, BankService(bank) as service:
        threads = [
            threading.Thread(target=_write, args=(service, f"robot_{number}", acknowledged, stopped))
            for number in range(config.robots)
        ]
        for thread in threads:
            thread.start()
        draw = stream(seed, "memory_backups")
        try:
            for number in range(config.backups):
                stopped.wait(float(draw.uniform(0.0, LONGEST_PAUSE_S)))
                known = acknowledged.copy()
                backup = folder / f"backup_{number}.db"
                back_up(folder / "run.db", backup)
                check_backup(backup, known, tally)
                check_restored(backup, folder / f"restored_{number}", tally)
                backup.unlink()
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
    tally.events = len(acknowledged.copy())


def _write(service: BankService, robot: str, acknowledged: Acknowledged, stopped: threading.Event) -> None:
    """Logs sightings until `stopped`, one after another."""
    with BankClient(service, Outbox(None), writer=robot) as client:
        number = 0
        while not stopped.wait(0.005):
            number += 1
            seq = client.log(EntitySeen(f"cup_{number % 7}", "cup", Pose((0.1 * number, 0.0, 0.0))), robot=robot)
            acknowledged.add(robot, number, seq)


def check_backup(backup: Path, known: dict[tuple[str, int], int], tally: BackupTally) -> None:
    """Opens a `backup` and adds to `tally` what it lacks of the `known` events, which were acknowledged before it."""
    tally.backups += 1
    with open_bank(f"sqlite:///{backup}") as bank:
        tally.problems += [f"{backup.name}: {text}" for text in bank.verify().problems]
        found = {(event.writer, event.writer_seq): event.seq for event in bank.changes_since(0, limit=bank.head)}
    tally.lost += sum(found.get(key) != seq for key, seq in known.items())


def check_restored(backup: Path, folder: Path, tally: BackupTally) -> None:
    """Restores a `backup` in a new `folder`, and adds to `tally` what it lacks of events that waited in an outbox.

    Each robot's outbox holds events that it wrote when no bank could be reached.
    """
    folder.mkdir()
    held = restore(backup, folder / "run.db")
    robots, away = ("robot_0", "newcomer"), cast(Link, _Away())
    for robot in robots:
        with BankClient(away, Outbox(folder / f"{robot}.outbox"), writer=robot) as client:
            for number in range(WAITING):
                client.post(Event("", 0, time.time(), EntitySeen(f"{robot}_{number}", "cup", Pose())))
            client.close(timeout_s=0.0)
    with open_bank(f"sqlite:///{folder}/run.db") as bank, BankService(bank) as service:
        for robot in robots:
            with BankClient(service, Outbox(folder / f"{robot}.outbox"), writer=robot) as client:
                client.flush()
        written = [event.payload for event in bank.changes_since(held)]
        found = [payload.entity for payload in written if isinstance(payload, EntitySeen)]
        tally.problems += [f"restored {backup.name}: {text}" for text in bank.verify().problems]
    wanted = [f"{robot}_{number}" for robot in robots for number in range(WAITING)]
    tally.lost += len(set(wanted) - set(found)) + (len(found) - len(set(found)))


class _Away:
    """A link to a bank that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise UnreachableError("The bank must be running.", value="not running", remedy="Start it.")


BENCHMARK = Benchmark(
    configs={"memory_backups": MemoryBackupsConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
