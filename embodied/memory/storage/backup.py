"""Backups of a bank: a checked copy as of one instant, made beside the owner that goes on writing."""

import fcntl
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from embodied.errors import DataError, PathError, StorageError
from embodied.memory.storage.bank_file import (
    check_format,
    connect,
    connect_to_read,
    fresh,
    require_database,
)
from embodied.memory.storage.files import storage_error
from embodied.memory.storage.integrity import LOST_LOG, inspect_file
from embodied.memory.storage.lock import OwnedError, Ownership
from embodied.memory.storage.session import lost_write_ahead_log
from embodied.memory.storage.tables import translated
from embodied.paths import sync_folder

PART = ".stem-part"
UNFINISHED = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(PART)}")
YOUNG_S = 60.0  # A copy is locked soon after it is made.
LAST_EVENT = "SELECT COALESCE(MAX(seq), 0) FROM event"


def back_up(path: Path, target: Path) -> int:
    """Writes all that the bank at `path` holds now to the new file `target`; returns its newest sequence number.

    Another process may own the bank and go on writing: the copy holds every event that was acknowledged before the
    call. It is checked, event by event, before it gets its name; a copy that fails leaves nothing behind.

    Raises:
        PathError: Where there is no bank, or `target` exists.
        DataError: For a file that is no bank, that is empty, or that is damaged.
        StorageError: Where a disk is full or fails.
    """
    if not path.is_file():
        raise PathError("A bank to back up must be a file that exists.", value=str(path))
    require_database(path)

    def copied(copy: Path) -> int:
        owner = _owned(path)
        try:
            return _copy(path, copy, held=owner is not None)
        finally:
            if owner is not None:
                owner.release()  # Before the copy is checked, so that an owner can start meanwhile.

    return _new_file(target, copied)


def restore(backup: Path, target: Path) -> int:
    """Writes the bank of a backup to the new file `target`; returns its newest sequence number.

    Robots send again what their outboxes hold since the backup. Raises as `back_up` does, and `OwnedError` where
    another process has the file open.
    """
    if not backup.is_file():
        raise PathError("A backup must be a file that exists.", value=str(backup))
    require_database(backup)
    if not target.parent.is_dir():
        raise _no_folder(target)
    owner = Ownership(target)
    try:
        log = target.with_name(target.name + "-wal")
        if log.exists():  # SQLite would play it into the restored file.
            raise PathError(
                "A bank must be restored without the write-ahead log of another one.",
                value=str(log),
                remedy="It belongs to the bank that was here: move it away together with that bank.",
            )
        return _new_file(target, lambda copy: _copy(backup, copy, held=True))
    finally:
        owner.release()


def _no_folder(target: Path) -> PathError:
    return PathError("A copy of a bank must lie in a folder that exists.", value=str(target.parent))


def _new_file(target: Path, write: Callable[[Path], int]) -> int:
    """Gives `target` what `write` has written to a file beside it, once that is found sound."""
    if target.exists():
        raise PathError("A copy of a bank must be a new file.", value=str(target), remedy="Choose another name.")
    if not target.parent.is_dir():
        raise _no_folder(target)
    try:
        _remove_unfinished(target.parent)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=PART)
    except OSError as error:
        raise storage_error(target, error) from error
    part = Path(name)  # Readable by its user alone, as `mkstemp` makes it.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        head = write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        inspect_file(part).refuse(target.name)
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        _remove(part)
        os.close(descriptor)
    return head


def _remove_unfinished(folder: Path) -> None:
    """Removes what copies have left whose process was killed: a copy in progress is locked."""
    for part in folder.iterdir():
        if not UNFINISHED.fullmatch(part.name) or part.is_symlink() or not part.is_file():
            continue
        with suppress(OSError), part.open("rb") as file:
            if time.time() - part.stat().st_mtime < YOUNG_S:
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(part)


def _remove(part: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)


def _owned(path: Path) -> Ownership | None:
    """Returns the ownership of a bank that no process has open, None beside its owner and on read-only media."""
    try:
        return Ownership(path)
    except (OwnedError, StorageError):
        return None


def _copy(path: Path, copy: Path, *, held: bool) -> int:
    """Copies a bank by SQLite's backup, in one read transaction; returns its newest sequence number."""
    source, target = connect_to_read(path, held=held), connect(copy)
    try:
        lost = lost_write_ahead_log(source, path)
        if fresh(source):
            raise DataError("A bank must have been written to before it is copied.", value=path.name)
        check_format(source)
        if lost:
            raise DataError("A bank must be copied whole.", value=path.name, remedy=LOST_LOG)
        source.backup(target)
        if target.execute("SELECT 1 FROM sqlite_schema WHERE name = 'session'").fetchone():
            target.execute("UPDATE session SET open = 0")
        return int(target.execute(LAST_EVENT).fetchone()[0])
    except sqlite3.Error as error:
        raise translated(error) from error
    finally:
        source.close()
        target.close()
