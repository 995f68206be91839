"""The file of a bank: its format, its settings, and the checks before anything is written to it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from embodied.errors import DataError, StorageError
from embodied.memory.projections.blocks import Blocks
from embodied.memory.projections.containment import ContainmentTables
from embodied.memory.projections.embodiment import Embodiment
from embodied.memory.projections.interactions import Interactions
from embodied.memory.projections.inverted_index import InvertedIndex
from embodied.memory.projections.projection import PROJECTIONS_VERSION, Projection
from embodied.memory.projections.spatial import Spatial
from embodied.memory.projections.temporal import Temporal
from embodied.memory.projections.withdrawals import Withdrawals
from embodied.memory.storage.files import create_private, require_file, storage_error
from embodied.memory.storage.names import SCHEMA as NAME_SCHEMA
from embodied.memory.storage.names import Names
from embodied.memory.storage.open_file import Mark, OpenFile, mark_of
from embodied.memory.storage.posix_locks import (
    LockKeepingConnection,
    connect_keeping_locks,
    is_connected,
    opened_to_read,
)
from embodied.memory.storage.tables import DATABASE_ERRORS, Tables, translated
from embodied.memory.storage.tombstones import SCHEMA as GAP_SCHEMA

APPLICATION_ID = 0x5354454D  # "STEM", in the header of the SQLite file.
FORMAT_VERSION = 1
PROJECTIONS: tuple[Projection, ...] = (
    InvertedIndex(), Spatial(), ContainmentTables(), Temporal(), Embodiment(), Interactions(), Withdrawals(), Blocks(),
)  # fmt: skip
EVENT_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY, writer INTEGER NOT NULL, writer_seq INTEGER NOT NULL, valid_time_s REAL NOT NULL,
    received_ms INTEGER NOT NULL, robot INTEGER NOT NULL, task INTEGER NOT NULL, cause BLOB,
    schema_version INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, bulk BLOB, digest BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS event_writer ON event (writer, writer_seq);
CREATE TABLE IF NOT EXISTS projections (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS session (open INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clock (simulated INTEGER NOT NULL);
"""
CACHE_KIB = 64 * 1024
BUSY_S = 30.0  # How long SQLite waits for a lock of another connection.
# The header of an SQLite file (sqlite.org/fileformat2.html, 1.3): its first bytes, and the offsets of fields.
MAGIC = b"SQLite format 3\0"
HEADER_BYTES, WRITE_VERSION_AT, APPLICATION_AT = 100, 18, 68
WRITES_AHEAD = 2


def open_tables(path: Path | None) -> Tables:
    """Returns the tables of a bank's file (None: in memory), created where there are none.

    Raises `DataError` for a file that is no bank, damaged, or of a newer version, before anything is written to it.
    """
    if path is not None:
        create_private(path)
    db = connect(path)
    with _closed_on_error(db):
        if not fresh(db):
            check_format(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute("PRAGMA temp_store = MEMORY")
        create_tables(db)
        if path is not None:
            _begin_session(db)
        guard = None if path is None else _guard(path)
        return Tables(db, Names(db), OpenFile(path), ending="UPDATE session SET open = 0", guard=guard)


def read_only_tables(path: Path) -> Tables:
    """Returns the tables of a bank's file as they are now, in a read transaction that lasts until they are closed.

    SQLite's write-ahead log lets other processes write meanwhile, and shows the reader none of it. Raises `DataError`
    for a file that is no bank, is of a newer version, or has no table yet, and as `translated` does.
    """
    mark = mark_of(path)
    db = connect_to_read(path)
    with _closed_on_error(db):
        db.execute("BEGIN")  # The first read below fixes what all later ones see.
        if fresh(db):
            raise DataError(
                "A memory bank must have been written to before it is read.",
                value=path.name,
                remedy="It is empty: try again once its owner has appended to it.",
            )
        check_format(db)
        tables = Tables(db, Names(db))
        if db.still:
            tables.unchanged = partial(_require_still, path, mark)
        return tables


def _require_still(path: Path, mark: Mark | None) -> None:
    """Raises `StorageError` where the file at `path` has changed since its `mark` was taken."""
    if mark_of(path) != mark:
        raise StorageError(
            "A bank on a medium that cannot be written must not change while it is read.",
            value=str(path),
            remedy="Its owner has written to it from elsewhere: open it again, or read through its service.",
        )


def _guard(path: Path) -> sqlite3.Connection | None:
    """Returns a connection that only reads, and has read, None where it cannot: see `Tables`."""
    guard = connect_to_read(path)
    try:
        guard.execute("SELECT 1 FROM sqlite_schema").fetchall()
    except sqlite3.Error:
        guard.close()
        return None
    return guard


@contextmanager
def _closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    """Closes a connection where the block raises, and raises errors of SQLite as those of this project."""
    try:
        yield
    except DATABASE_ERRORS as error:
        db.close()
        raise translated(error) from error
    except BaseException:
        db.close()
        raise


def connect(path: Path | None) -> LockKeepingConnection:
    """Returns a connection without implicit transactions, usable from all threads of its owner in turn."""
    database = path or ":memory:"
    return connect_keeping_locks(database, path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)


def connect_to_read(path: Path, *, held: bool = False) -> LockKeepingConnection:
    """Returns a connection that cannot write; with `held` no other process can have the file open.

    SQLite keeps an index of the write-ahead log beside the file, also for readers. Where the log is empty and the file
    cannot change (it is held, or lies on a medium that cannot be written) it is read without one, and without locks:
    the connection is then `still`. The medium may be one that only this process cannot write.
    """
    log = path.with_name(path.name + "-wal")
    still = (held or not os.access(path.parent, os.W_OK)) and not (log.exists() and log.stat().st_size)
    still = still and not is_connected(path)  # Closing it would release the locks of the other connection.
    mode = "immutable=1" if still else "mode=ro"
    db = connect_keeping_locks(
        f"{path.absolute().as_uri()}?{mode}",
        path,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
    )
    db.still = still
    return db


def require_database(path: Path) -> None:
    """Raises `DataError` for a file of another kind, also of another SQLite program, before it is opened.

    Raises `StorageError` for a file that this user cannot read, and for something else than a file.
    """
    for suffix in ("", "-wal", "-shm"):
        require_file(path.with_name(path.name + suffix))
    if not path.exists():
        return
    try:
        with opened_to_read(path) as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise storage_error(path, error) from error
    if header and not header.startswith(MAGIC):
        raise DataError(
            "A memory bank must be an SQLite file.",
            value=str(path),
            remedy="This file is not a database, and was left unchanged. Give a bank, or a new file.",
        )
    # A bank uses a write-ahead log from the start, so its application id may still be in that log alone.
    application = int.from_bytes(header[APPLICATION_AT : APPLICATION_AT + 4], "big")
    if len(header) == HEADER_BYTES and header[WRITE_VERSION_AT] != WRITES_AHEAD and application != APPLICATION_ID:
        raise _of_another_program(application)


def create_tables(db: sqlite3.Connection) -> None:
    """Creates what is missing: format marks, the log and the projections, in one transaction.

    Projections of another version are left as they are: an index may not fit their columns, and they are made again.
    """
    schemas = [EVENT_SCHEMA, GAP_SCHEMA, NAME_SCHEMA]
    if _projections_version(db) in (None, PROJECTIONS_VERSION):
        schemas += [projection.schema for projection in PROJECTIONS]
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION};"
    version = f"INSERT INTO projections SELECT {PROJECTIONS_VERSION} WHERE NOT EXISTS (SELECT * FROM projections);"  # noqa: S608
    db.executescript("".join(["BEGIN IMMEDIATE;", marks, *schemas, version, "COMMIT;"]))


def _projections_version(db: sqlite3.Connection) -> int | None:
    """Returns the version of the projections in a file, None where it has none yet."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'projections'").fetchone():
        return None
    found = db.execute("SELECT version FROM projections").fetchone()
    return found[0] if found else None


def _begin_session(db: sqlite3.Connection) -> None:
    """Marks the file as open, in the file itself and not only in its write-ahead log, which a copy may lack."""
    try:
        db.executescript("BEGIN IMMEDIATE; DELETE FROM session; INSERT INTO session VALUES (1); COMMIT;")
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # Does not empty the log: a killed owner always leaves one.
    except sqlite3.OperationalError:  # A full disk: the bank can be read all the same.
        if db.in_transaction:
            db.execute("ROLLBACK")


def outdated(tables: Tables) -> bool:
    """Returns whether the projections were made by another version of this code."""
    return tables.select_one("SELECT version FROM projections") != (PROJECTIONS_VERSION,)


def fresh(db: sqlite3.Connection) -> bool:
    """Returns whether a database is empty."""
    return not db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() and not _number(db, "application_id")


def check_format(db: sqlite3.Connection) -> None:
    """Raises `DataError` for the file of another program, or of a newer version of this one."""
    application, version = _number(db, "application_id"), _number(db, "user_version")
    if application != APPLICATION_ID:
        raise _of_another_program(application)
    if version > FORMAT_VERSION:
        raise DataError(
            "A memory bank must not be of a newer version than this code.",
            value=version,
            remedy=f"This installation knows versions up to {FORMAT_VERSION}: update it.",
        )


def _of_another_program(application: int) -> DataError:
    return DataError(
        "The file must be a memory bank.",
        value=f"application id {application}",
        remedy="This is another program's SQLite database.",
    )


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
