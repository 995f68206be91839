"""How an owner left a bank's file: closed, or killed, and then whether the file has all that was acknowledged.

An owner marks the file itself as open, in a row that it resets when it closes. While it runs it keeps the number and
the digest of its newest acknowledged event in its lock. After a kill the newest events are in the write-ahead log. If
that is missing, it was either played into the file, by any SQLite program, or left behind when the file was copied.
"""

import sqlite3
from pathlib import Path

from embodied.memory.storage.lock import owner_note

OPEN = "open"


def end_note(seq: int, digest: bytes) -> str:
    """Returns the note of a running owner: the newest acknowledged event, and the digest of the log up to it."""
    return f"{OPEN} {seq} {digest.hex()}"


def is_left_open(note: str) -> bool:
    """Returns whether a note is that of an owner that was killed, or that closed a file it had not checked."""
    return note.partition(" ")[0] == OPEN


def marked_open(db: sqlite3.Connection) -> bool:
    """Returns whether the file is marked as open; one that was made before there were marks is not."""
    known = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'session'").fetchone()
    return bool(known and db.execute("SELECT 1 FROM session WHERE open").fetchone())


def log_bytes(path: Path) -> int:
    """Returns the size of the write-ahead log beside a file, 0 where there is none."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        return 0


def lost_write_ahead_log(db: sqlite3.Connection, path: Path) -> bool:
    """Returns whether acknowledged events are missing in the file `path`, since it lacks its write-ahead log.

    `db` is a connection that has read nothing yet: SQLite makes an empty log at the first reading.
    """
    return not log_bytes(path) and marked_open(db) and not _has_end(db, owner_note(path)[1])


def _has_end(db: sqlite3.Connection, note: str) -> bool:
    """Returns whether the log has the event that the note of a running owner names."""
    if not is_left_open(note):
        return False
    _, seq, digest = [*note.split(), "", ""][:3]
    if not seq.isdecimal():
        return False
    found = db.execute("SELECT digest FROM event WHERE seq = ?", (int(seq),)).fetchone()
    return seq == "0" or (found is not None and isinstance(found[0], bytes) and found[0].hex() == digest)
