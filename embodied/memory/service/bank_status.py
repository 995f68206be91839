"""The state of a bank for those who operate it: how far it lags, how it grows, its leases, writers and snapshots."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from embodied.memory.storage.lock import owner_note
from embodied.memory.storage.log import EventLog
from embodied.memory.storage.row_codec import MILLI
from embodied.memory.storage.snapshots import snapshot_files
from embodied.memory.storage.tables import Tables

HOUR_S, DAY_S = 3600.0, 86_400.0
FIRST_UTC_S = 1e9  # The year 2001: clocks below it count simulated time.
MOST_LISTED = 1000  # Leases of each sort, and writers.
RUNNING, CLOSED, LEFT_OPEN, IN_MEMORY = "running", "closed", "left open", "in memory"
# A loose index scan: one step per writer, however many events it has.
_WRITERS = """
WITH RECURSIVE found (writer) AS (
    SELECT MIN(writer) FROM event
    UNION ALL SELECT (SELECT MIN(writer) FROM event WHERE writer > found.writer) FROM found WHERE found.writer NOTNULL
), known AS (SELECT writer FROM found WHERE writer NOTNULL UNION SELECT writer FROM writer_mark)
SELECT known.writer, MAX(IFNULL(newest.writer_seq, 0), IFNULL(mark.writer_seq, 0)),
    MAX(IFNULL(newest.valid_time_s, mark.valid_time_s), IFNULL(mark.valid_time_s, newest.valid_time_s)),
    newest.received_ms
FROM known
LEFT JOIN event AS newest
    ON newest.seq = (SELECT seq FROM event WHERE writer = known.writer ORDER BY writer_seq DESC LIMIT 1)
LEFT JOIN writer_mark AS mark ON mark.writer = known.writer
ORDER BY newest.seq DESC
"""
_LEASES = """
SELECT subtask, robot, (SELECT MAX(epoch) FROM lease WHERE lease.subtask = lease_open.subtask), expires_s
FROM lease_open ORDER BY expires_s
"""


@dataclass(frozen=True)
class LeaseStatus:
    """The newest lease of a subtask that has not ended; it runs out in `left_s`, or has where that is not above 0."""

    subtask: str
    robot: str
    epoch: int
    left_s: float


@dataclass(frozen=True)
class WriterStatus:
    """The last number and valid time (seconds) of a writer; `age_s` since its newest event, None where it is gone."""

    writer: str
    last_number: int
    last_time_s: float
    age_s: float | None


@dataclass(frozen=True)
class SnapshotStatus:
    """A file with the projections as of event `seq`."""

    seq: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class BankStatus:
    """The state of a bank at `now_s`, in seconds of its owner's clock.

    Attributes:
        name: the file's name
        state: `running` while a process owns it, `closed`, `left open` by an owner that was killed, or `in memory`
        owner_pid: the process that owns it, or owned it last; None where that is not known
        sealed: whether its last owner closed it sound, so that opening it needs no check of every event
        now_s: the time that ages refer to
        head: the number of the newest event
        events: how many events it holds, without those that were removed
        lag_s: the time since the newest event was received; None for an empty bank
        last_hour: how many events were received in the last hour
        last_day: how many events were received in the last 24 hours
        file_bytes: the size of the file
        wal_bytes: the size of its write-ahead log
        bytes_last_hour: how much the file grew in the last hour, from the mean size of an event
        running_leases: leases that run, those that end first before the others; at most 1,000
        stale_leases: leases that have run out while their subtasks have not ended, the newest first; at most 1,000
        running: how many leases run
        stale: how many have run out
        writers: those that wrote last before the others; at most 1,000
        writer_count: how many writers there are
        snapshots: the snapshots of its projections, oldest first
        waiting: how many calls wait for the next commit; 0 for a bank that is only read
    """

    name: str
    state: str
    owner_pid: int | None
    sealed: bool
    now_s: float
    head: int
    events: int
    lag_s: float | None
    last_hour: int
    last_day: int
    file_bytes: int
    wal_bytes: int
    bytes_last_hour: float
    running_leases: tuple[LeaseStatus, ...]
    stale_leases: tuple[LeaseStatus, ...]
    running: int
    stale: int
    writers: tuple[WriterStatus, ...]
    writer_count: int
    snapshots: tuple[SnapshotStatus, ...]
    waiting: int = 0


def bank_status(log: EventLog, path: Path | None, *, owned: bool, now_s: float | None = None) -> BankStatus:
    """Returns the state of a bank, in time of its writers, open leases and gaps, whatever its events.

    Args:
        log: the log of the bank, open or only read
        path: its file, None in memory
        owned: whether this process owns the file
        now_s: the time on the owner's clock; by default that of this machine, or, for a bank of simulated time, the
            time at which its newest event was received
    """
    tables = log.tables
    head = log.head
    (removed,) = tables.select_one("SELECT IFNULL(SUM(last_seq - first_seq + 1), 0) FROM gap") or (0,)
    newest = tables.select_one("SELECT received_ms FROM event ORDER BY seq DESC LIMIT 1")
    newest_s = None if newest is None else newest[0] / MILLI
    at_s = _now_s(newest_s) if now_s is None else now_s
    last_hour, last_day = (head - _last_before(tables, head, at_s - past_s) for past_s in (HOUR_S, DAY_S))
    file_bytes, wal_bytes = _size(path), _size(path and _wal(path))
    state, pid, sealed = _owner(tables, path, owned=owned, file_bytes=file_bytes, wal_bytes=wal_bytes)
    leases = [
        LeaseStatus(tables.names.text(subtask), tables.names.text(robot), epoch, expires_s - at_s)
        for subtask, robot, epoch, expires_s in tables.select(_LEASES)
    ]
    running = [lease for lease in leases if lease.left_s > 0.0]
    stale = [lease for lease in reversed(leases) if lease.left_s <= 0.0]
    writers = tables.select(_WRITERS)
    return BankStatus(
        name=path.name if path else "", state=state, owner_pid=pid, sealed=sealed, now_s=at_s, head=head,
        events=head - removed, lag_s=None if newest_s is None else at_s - newest_s,
        last_hour=last_hour, last_day=last_day, file_bytes=file_bytes, wal_bytes=wal_bytes,
        bytes_last_hour=last_hour * file_bytes / max(1, head - removed),
        running_leases=tuple(running[:MOST_LISTED]), stale_leases=tuple(stale[:MOST_LISTED]),
        running=len(running), stale=len(stale),
        writers=tuple(
            WriterStatus(tables.names.text(writer), number, time_s, None if ms is None else at_s - ms / MILLI)
            for writer, number, time_s, ms in writers[:MOST_LISTED]
        ),
        writer_count=len(writers), snapshots=() if path is None else _snapshots(path),
    )  # fmt: skip


def _now_s(newest_s: float | None) -> float:
    """Returns the time now; of a simulated clock, which its owner alone knows, that of the newest event."""
    return newest_s if newest_s is not None and newest_s < FIRST_UTC_S else time.time()


def _last_before(tables: Tables, head: int, time_s: float) -> int:
    """Returns the number of the last event that was received before `time_s`, 0 for none, by bisection.

    Received times ascend unless the owner's clock was set back.
    """
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        found = tables.select_one("SELECT received_ms FROM event WHERE seq >= ? ORDER BY seq LIMIT 1", middle)
        if found is not None and found[0] / MILLI < time_s:
            low = middle
        else:
            high = middle - 1
    return low


def _owner(
    tables: Tables, path: Path | None, *, owned: bool, file_bytes: int, wal_bytes: int
) -> tuple[str, int | None, bool]:
    """Returns state, owner's process and whether the file is sealed, without touching the owner's lock."""
    if path is None:
        return IN_MEMORY, os.getpid(), False
    if owned:
        return RUNNING, os.getpid(), False
    pid, note = owner_note(path)
    known = tables.select_one("SELECT 1 FROM sqlite_schema WHERE name = 'session'")  # Older files have none.
    if known and tables.select_one("SELECT 1 FROM session WHERE open"):
        return RUNNING if pid is not None and _lives(pid) else LEFT_OPEN, pid, False
    return CLOSED, pid, not wal_bytes and note.partition(" ")[0] == str(file_bytes)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # Of another user.
    return True


def _snapshots(path: Path) -> tuple[SnapshotStatus, ...]:
    return tuple(SnapshotStatus(seq, _size(file)) for seq, file in sorted(snapshot_files(path)))


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size(path: Path | None) -> int:
    if path is not None:
        with suppress(OSError):  # It may be removed meanwhile.
            return path.stat().st_size
    return 0
