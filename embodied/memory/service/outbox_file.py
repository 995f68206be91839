"""The file of an outbox: its format, its transactions, and SQLite's errors as errors of this project."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from embodied.errors import DataError, EmbodiedError, StorageError
from embodied.memory.storage.files import create_private

APPLICATION_ID = 0x5354454F  # "STEO", in the header of the SQLite file.
FORMAT_VERSION = 1
# `unnumbered` was added later: an older installation sends such parcels as they are, and the bank refuses them. So was
# `stored_s`, the time of this machine's clock, which parcels of an older installation lack, and `stamped`: whether the
# client gave the events their times, which it may then change.
STORED_S = "stored_s"
ADDED = {STORED_S: "INTEGER", "stamped": "INTEGER NOT NULL DEFAULT 0"}
SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
CREATE TABLE IF NOT EXISTS parcel (
    number INTEGER PRIMARY KEY AUTOINCREMENT, count INTEGER NOT NULL, content BLOB NOT NULL, digest BLOB NOT NULL,
    {", ".join(f"{name} {kind}" for name, kind in ADDED.items())}
);
CREATE TABLE IF NOT EXISTS refused (number INTEGER PRIMARY KEY, content BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS writer (name TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unnumbered (number INTEGER PRIMARY KEY, stamped INTEGER NOT NULL);
COMMIT;
"""
# What the disk or the operating system fails at; every other error of SQLite means that the file is damaged.
_FAILURES = frozenset(
    {
        sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH,
    }
)  # fmt: skip


def open_file(path: Path | None, *, durable: bool) -> sqlite3.Connection:
    """Returns a connection to the outbox at `path` (None: in memory), created where there is none.

    `durable` waits for the disk at every transaction. Raises `DataError` for a file that is damaged or of another
    program, before anything is written to it, and `StorageError` where the disk fails.
    """
    if path is not None:
        create_private(path)
    with translated():
        db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        db.text_factory = _text
    try:
        with translated():
            _require_outbox(db)
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            db.executescript(SCHEMA)
            for name in ADDED.keys() - _columns(db):
                db.execute(f"ALTER TABLE parcel ADD COLUMN {name} {ADDED[name]}")
            synchronise(db, durable=durable)
    except EmbodiedError:
        db.close()
        raise
    return db


def is_outbox(path: Path) -> bool:
    """Returns whether the file at `path` is an outbox, also while a client has it open. Raises as `open_file`."""
    with translated(), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        return db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def read_file(path: Path) -> sqlite3.Connection:
    """Returns a connection that only reads the outbox at `path`, also while a client has it open; raises as above."""
    with translated():
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        db.text_factory = _text
    try:
        with translated():
            _require_outbox(db)
    except EmbodiedError:
        db.close()
        raise
    return db


def has_times(db: sqlite3.Connection) -> bool:
    """Returns whether an outbox keeps the times at which its parcels were stored: older ones do not."""
    return STORED_S in _columns(db)


def _columns(db: sqlite3.Connection) -> set[str]:
    return {column for _, column, *_ in db.execute("PRAGMA table_info(parcel)")}


def synchronise(db: sqlite3.Connection, *, durable: bool) -> None:
    """Makes the next transactions of an outbox wait for the disk, or not."""
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commits what is written inside, or nothing of it where anything fails. Raises as `open_file`."""
    with translated():
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def select(db: sqlite3.Connection, sql: str, values: Sequence[object] = ()) -> Iterator[tuple]:
    """Yields the rows of `db` that `sql`, of this package, selects with `values`, one by one. Raises as `open_file`."""
    with translated():
        yield from db.execute(sql, values)


@contextmanager
def translated() -> Iterator[None]:
    """Converts errors of SQLite that occur inside."""
    try:
        yield
    except UnicodeError as error:  # Of SQLite's message about damaged text.
        raise _damaged(str(error)) from error
    except sqlite3.Error as error:
        if is_failure(error):
            raise StorageError(
                "The disk under an outbox must accept what is written.",
                value=str(error),
                remedy="Free space, then write it again.",
            ) from error
        raise _damaged(str(error)) from error


def is_failure(error: sqlite3.Error) -> bool:
    """Returns whether an error is of the disk or the operating system: every other one means a damaged file."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _FAILURES


def _text(raw: bytes) -> str:
    """Returns text of the file, also where it was damaged: a writer's name is then one that is not known."""
    return raw.decode(errors="replace")


def _damaged(what: str) -> DataError:
    return DataError(
        "An outbox must be an intact SQLite file.",
        value=what,
        remedy="Move it away, and start with a new one: what was sent before is in the bank.",
    )


def _require_outbox(db: sqlite3.Connection) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    fresh = not db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    if not fresh and (application, version) != (APPLICATION_ID, FORMAT_VERSION):
        raise DataError(
            "The file must be an outbox of this version.", value=(application, version), remedy="Choose another."
        )
