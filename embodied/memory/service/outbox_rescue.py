"""Outboxes whose file is damaged: it is kept under another name, and what can be read of it goes into a new one.

A robot must not be kept from starting by its disk, and no parcel may disappear without a warning.
"""

import logging
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from embodied.errors import StorageError
from embodied.memory.schema.limits import LARGEST_NUMBER, MOST_SKIPPED
from embodied.memory.service.outbox_file import APPLICATION_ID, is_failure, open_file, transaction
from embodied.memory.service.outbox_salvage import PAGE_BYTES, Salvaged, holds_parcels, salvage
from embodied.memory.service.parcels import events_or_none
from embodied.memory.storage.bank_file import APPLICATION_AT, MAGIC
from embodied.memory.storage.files import require_file, storage_error
from embodied.memory.storage.write_ahead import write_ahead_damage

logger = logging.getLogger(__name__)

LARGEST_PARCEL_NUMBER = LARGEST_NUMBER - MOST_SKIPPED
MARK = b"CREATE TABLE parcel"
LARGEST_VERSION = 1000
SMALLEST_BYTES = 512  # A smaller file holds no page.
SHOWN = 200


def open_whole(path: Path | None, *, durable: bool) -> sqlite3.Connection:
    """Returns a connection to the outbox at `path` as `open_file` does; a damaged one is replaced by what is readable.

    The damaged file is kept beside it as `NAME.damaged-1` and so on. Raises `DataError` for a file of another program,
    and `StorageError` where the disk fails.
    """
    if path is None:
        return open_file(path, durable=durable)
    require_file(path)
    try:
        damage = damage_of(path) if path.exists() and path.stat().st_size and _is_outbox(path) else ""
        return _replace(path, damage, durable=durable) if damage else open_file(path, durable=durable)
    except OSError as error:
        raise storage_error(path, error) from error


def is_whole(path: Path) -> bool:
    """Returns whether nothing is wrong with the file of an outbox; raises as `damage_of`."""
    return not damage_of(path)


def damage_of(path: Path) -> str:
    """Returns what is wrong with the file of an outbox, "" for an intact one; raises `StorageError` and `OSError`."""
    found = write_ahead_damage(path)
    if found:
        return found[0]
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.text_factory = bytes
            pages = [text.decode(errors="replace") for (text,) in db.execute("PRAGMA integrity_check(5)")]
            return "; ".join(text for text in pages if text != "ok") or _damage_of_tables(db)
    except (sqlite3.Error, UnicodeError) as error:  # The latter of SQLite's message about damaged text.
        if isinstance(error, sqlite3.Error) and is_failure(error):
            raise StorageError("The disk under an outbox must be readable.", value=str(error)) from error
        return str(error)


def _damage_of_tables(db: sqlite3.Connection) -> str:
    """Returns what keeps an outbox from being used although SQLite finds no damage."""
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if names and not {b"parcel", b"refused", b"writer"} <= names:
        return "a table is missing"
    if not names:
        return ""
    db.execute("SELECT number, count, content, digest FROM parcel LIMIT 1").fetchall()
    db.execute("SELECT number, content, reason FROM refused LIMIT 1").fetchall()
    db.execute("SELECT name, last FROM writer LIMIT 1").fetchall()
    ((application,), (version,)) = (db.execute(f"PRAGMA {of}").fetchone() for of in ("application_id", "user_version"))
    if application != APPLICATION_ID or not 0 <= version <= LARGEST_VERSION:
        return "the marks of its format are altered"
    last = db.execute("SELECT MAX(number) FROM parcel UNION ALL SELECT seq FROM sqlite_sequence").fetchall()
    if any(type(number) is not int or number > LARGEST_PARCEL_NUMBER for (number,) in last if number is not None):
        return "no numbers are left for parcels"
    return ""


def _is_outbox(path: Path) -> bool:
    """Returns whether a file is an outbox, damaged or not; one of another program must never be moved."""
    content, log = (_head(part) for part in (path, path.with_name(path.name + "-wal")))
    application = int.from_bytes(content[APPLICATION_AT : APPLICATION_AT + 4], "big")
    if application == APPLICATION_ID or MARK in content or (MARK in log and not application):
        return True
    return (len(content) < SMALLEST_BYTES and MAGIC.startswith(content[: len(MAGIC)])) or holds_parcels(path)


def _head(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.read(16 * PAGE_BYTES)


def _replace(path: Path, damage: str, *, durable: bool) -> sqlite3.Connection:
    kept = _set_aside(path)
    with tempfile.TemporaryDirectory(prefix="stem-", dir=path.parent) as folder:
        for suffix in ("", "-wal"):  # SQLite would merge the two.
            part = kept.with_name(kept.name + suffix)
            if part.exists():
                shutil.copyfile(part, Path(folder) / (path.name + suffix))
        found = salvage(kept, Path(folder) / path.name)
    db = open_file(path, durable=durable)
    try:
        with transaction(db):
            _write(db, found)
    except BaseException:
        db.close()
        raise
    logger.warning(
        "The outbox %s was damaged: %s Its file is kept as %s; %d parcels were read from it and are sent, others that "
        "it may have held are lost.", path, damage[:SHOWN], kept.name, len(found.parcels),
    )  # fmt: skip
    return db


def _set_aside(path: Path) -> Path:
    """Renames the file and its write-ahead log; returns the new path."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", ""):  # The log first: SQLite would play one that is left into the next file.
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(kept.with_name(kept.name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return kept


def _write(db: sqlite3.Connection, found: Salvaged) -> None:
    """Writes what was read into a new outbox, in the caller's transaction; parcels get numbers above all old ones."""
    refused = {number: one for number, one in found.refused.items() if 0 < number <= LARGEST_PARCEL_NUMBER}
    old = [number for number in (*found.parcels, *refused) if 0 < number <= LARGEST_PARCEL_NUMBER]
    first = max(old, default=0) + 1
    for number, old_number in enumerate(sorted(found.parcels), first):
        count, content, digest = found.parcels[old_number]
        whole = count if type(count) is int else 1
        values = (number, whole, *(one if isinstance(one, bytes) else b"" for one in (content, digest)))
        db.execute("INSERT INTO parcel (number, count, content, digest) VALUES (?, ?, ?, ?)", values)
        events = events_or_none(content)
        if any(not event.writer_seq for event in events):
            db.execute("INSERT INTO unnumbered VALUES (?, ?)", (number, found.unnumbered.get(old_number, 0)))
        for event in events:
            known = found.last.get(event.writer)
            if known is not None and known < event.writer_seq <= known + MOST_SKIPPED:
                found.last[event.writer] = event.writer_seq
    db.executemany("INSERT INTO refused VALUES (?, ?, ?)", [(number, *one) for number, one in refused.items()])
    db.executemany("INSERT INTO writer VALUES (?, ?)", found.last.items())
