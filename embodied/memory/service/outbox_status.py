"""The state of an outbox for those who operate the robot, read from its file, also while a client has it open."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from embodied.memory.service.outbox_file import has_times, read_file, select


@dataclass(frozen=True, kw_only=True)
class OutboxStatus:
    """What waits in an outbox, and what it has laid aside.

    Attributes:
        name: the file's name
        events: how many events wait for the bank's answer
        parcels: in how many parcels
        waiting_bytes: their size
        oldest: the number of the oldest parcel that waits, None where nothing waits
        oldest_age_s: how long it has waited; None where nothing waits, and where an older version stored it
        laid_aside: how many parcels were refused, or altered on the disk
        laid_aside_bytes: their size
    """

    name: str
    events: int
    parcels: int
    waiting_bytes: int
    oldest: int | None
    oldest_age_s: float | None
    laid_aside: int
    laid_aside_bytes: int


def outbox_status(path: Path, *, now_s: float | None = None) -> OutboxStatus:
    """Returns the state of the outbox at `path`; `now_s` is by default the time of this machine.

    What the bank has answered within the last second may still be counted. Raises as `Outbox`.
    """
    db = read_file(path)
    try:
        return _read(db, path, time.time() if now_s is None else now_s)
    finally:
        db.close()


def _read(db: sqlite3.Connection, path: Path, now_s: float) -> OutboxStatus:
    sizes = "COUNT(*), IFNULL(SUM(LENGTH(content)), 0)"
    ((parcels, size, events),) = select(db, f"SELECT {sizes}, IFNULL(SUM(count), 0) FROM parcel")  # noqa: S608
    ((aside, aside_bytes),) = select(db, f"SELECT {sizes} FROM refused")  # noqa: S608
    stored = "stored_s" if has_times(db) else "NULL"
    first = list(select(db, f"SELECT number, {stored} FROM parcel ORDER BY number LIMIT 1"))  # noqa: S608
    oldest, stored_s = first[0] if first else (None, None)
    return OutboxStatus(
        name=path.name,
        events=int(events),
        parcels=parcels,
        waiting_bytes=int(size),
        oldest=oldest,
        oldest_age_s=now_s - stored_s if isinstance(stored_s, int) else None,
        laid_aside=aside,
        laid_aside_bytes=int(aside_bytes),
    )
