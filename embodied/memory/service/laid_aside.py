"""Parcels of an outbox that were laid aside: refused by the bank, or altered on the disk."""

import logging
import sqlite3
from pathlib import Path

from embodied.memory.service.outbox_file import read_file, select
from embodied.memory.service.parcels import LaidAside, events_or_none

logger = logging.getLogger(__name__)


def keep(db: sqlite3.Connection, number: int, content: bytes, reason: str, *, room_bytes: float) -> None:
    """Adds a parcel, inside the caller's transaction; what does not fit into `room_bytes` is dropped, oldest first.

    `db` is the outbox, `number` and `content` are those of the parcel, `reason` says why it was laid aside.
    """
    db.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", (number, content, reason))
    for other, size in list(db.execute("SELECT number, LENGTH(content) FROM refused ORDER BY number DESC")):
        room_bytes -= size
        if room_bytes < 0 and other != number:
            logger.warning("Parcel %d, which was laid aside, is dropped: there is no room for more.", other)
            db.execute("DELETE FROM refused WHERE number = ?", (other,))


def listed(db: sqlite3.Connection) -> list[LaidAside]:
    """Returns what was laid aside, oldest first."""
    found = select(db, "SELECT content, reason, number FROM refused ORDER BY number")
    return [LaidAside(number, events_or_none(content), str(reason)) for content, reason, number in found]


def read_laid_aside(path: Path) -> list[LaidAside]:
    """Returns what was laid aside in the outbox at `path`, also while a client has it open. Raises as `Outbox`."""
    db = read_file(path)
    try:
        return listed(db)
    finally:
        db.close()
