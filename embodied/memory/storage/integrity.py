"""Finds damage in a bank's file, and saves the intact part of it."""

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from embodied.errors import DataError, PathError
from embodied.memory.storage.bank_file import (
    PROJECTIONS,
    check_format,
    connect,
    connect_to_read,
    create_tables,
    fresh,
    open_tables,
)
from embodied.memory.storage.log import EventLog
from embodied.memory.storage.names import Names
from embodied.memory.storage.posix_locks import opened_to_read
from embodied.memory.storage.row_codec import COLUMNS, FIRST_DIGEST, chained_digest, row_with_names
from embodied.memory.storage.session import is_left_open, log_bytes, lost_write_ahead_log, marked_open
from embodied.memory.storage.snapshots import TABLES, rebuild, replay
from embodied.memory.storage.tables import DATABASE_ERRORS, Tables, translated
from embodied.memory.storage.write_ahead import write_ahead_damage

MOST_PROBLEMS = 20
SEAL_BYTES = 32
LOST_LOG = (
    "It was copied while a process had it open, or after a kill, without the -wal file beside it: its newest "
    "events are missing. Copy both, or use `python -m launch.memory backup`."
)
TEXT_COLUMNS = (1, 5, 6, 9)  # Indices in `COLUMNS` of ids of names: writer, robot, task and kind.


@dataclass(frozen=True)
class Damage:
    """The damage of a file: one sentence per problem, none for an intact file.

    All events up to `sound_seq` are intact.
    """

    problems: tuple[str, ...]
    sound_seq: int

    def refuse(self, name: str) -> None:
        """Raises `DataError` that names the problems, where there are any."""
        if self.problems:
            saved = (
                f"Events 1 to {self.sound_seq} are sound: `python -m launch.memory verify url=... output=NEW.db` saves "
                "them."
            )
            raise DataError(
                "A memory bank's file must be intact.",
                value=name,
                remedy=f"{' '.join(self.problems[:MOST_PROBLEMS])} "
                f"{saved if self.sound_seq else 'No event before the damage can be read.'}",
            )


def inspect_file(path: Path) -> Damage:
    """Returns the damage of a bank's file: its pages, its write-ahead log, and the chain of its events.

    No other process may have the file open. Raises `DataError` for a file of another program or of a newer version.
    """
    frames = write_ahead_damage(path)
    with _readable(path, copy=bool(frames)) as db:
        try:
            if lost_write_ahead_log(db, path):
                frames = (*frames, LOST_LOG)
            if fresh(db):
                return Damage(frames, 0)  # Its owner was killed before it had made any table.
            check_format(db)
            found = inspect_tables(db)
        except DATABASE_ERRORS as error:
            found = Damage((f"SQLite cannot read it: {error}.",), 0)
    return Damage((*frames, *found.problems), found.sound_seq)


def seal(path: Path) -> str:
    """Returns size and digest of a bank's file, which name its whole content; "" where a write-ahead log belongs to it.

    An owner that has closed a sound bank leaves it for the next one: a file of the same seal need not be inspected.
    """
    try:
        if log_bytes(path):
            return ""
        with opened_to_read(path) as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=SEAL_BYTES)).hexdigest()
        return f"{path.stat().st_size} {digest}"
    except OSError:
        return ""


def require_sound(path: Path, note: str) -> bool:
    """Raises `DataError` for a damaged file; without a check of every event where `note` is its seal.

    Returns whether it was copied or altered after its owner had closed it: then its projections may be wrong, which
    have no digests, and must be made again. After a kill they are trusted, as the write-ahead log has checksums.
    """
    if note and note == seal(path):
        return False
    inspect_file(path).refuse(path.name)
    if is_left_open(note) or log_bytes(path):
        return False
    with closing(connect_to_read(path, held=True)) as db:
        return not marked_open(db)


def holds_beside(path: Path, head: int) -> bool:
    """Returns whether the file of a bank that this process has open is whole, with all events up to `head`."""
    if write_ahead_damage(path):
        return False
    with closing(connect_to_read(path)) as db:
        found = inspect_tables(db)
    return not found.problems and found.sound_seq == head


def inspect_tables(db: sqlite3.Connection) -> Damage:
    """Returns the damage of the pages that a connection sees, and of the chain of events."""
    try:
        pages = [text for (text,) in db.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})") if text != "ok"]
        chain = inspect_chain(db)
    except DATABASE_ERRORS as error:
        return Damage((f"SQLite cannot read it: {error}.",), 0)
    return Damage((*(f"SQLite finds: {text}." for text in pages), *chain.problems), chain.sound_seq)


def inspect_chain(db: sqlite3.Connection) -> Damage:
    """Returns the events that are missing or altered, by the digest that each row chains to the previous row."""
    gaps = {first: (last, digest) for first, last, digest in db.execute("SELECT * FROM gap")}
    names: dict[int, str] = dict(db.execute("SELECT id, text FROM name"))
    problems: list[str] = []
    sound, seq, previous = 0, 0, FIRST_DIGEST
    try:
        for values in db.execute(f"SELECT {COLUMNS} FROM event ORDER BY seq"):  # noqa: S608
            if seq + 1 in gaps:
                seq, previous = gaps[seq + 1]
            if seq + 1 != values[0]:
                problems.append(f"Events {seq + 1} to {values[0] - 1} are missing.")
            elif not _matches(previous, values, names):
                problems.append(f"Event {values[0]} does not match its digest.")
            seq, previous = values[0], values[-1]
            sound = sound if problems else seq
            if len(problems) >= MOST_PROBLEMS:
                break
    except DATABASE_ERRORS as error:
        problems.append(f"After event {seq} the file cannot be read: {error}.")
    return Damage(tuple(problems), sound)


def inspect_projections(log: EventLog) -> list[str]:
    """Returns the projections that differ from those made again from the log, in memory."""
    db = connect(None)
    try:
        with log.tables.lock:
            create_tables(db)
            db.executemany("INSERT OR IGNORE INTO name VALUES (?, ?)", enumerate(log.tables.names.texts))
            db.execute("DROP TABLE event")
            columns = "seq, valid_time_s, robot, task, kind"  # Projections need only these.
            db.execute(f"CREATE TABLE event ({columns}, PRIMARY KEY (seq)) WITHOUT ROWID")
            selected = log.tables.db.execute(f"SELECT {columns} FROM event")  # noqa: S608
            db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", selected)
            db.execute("BEGIN")
            replay(log, Tables(db, Names(db)))
            return [text for table in TABLES if (text := _difference(log.tables.db, db, table))]
    except DATABASE_ERRORS as error:
        raise translated(error) from error
    finally:
        db.close()


def rescue(path: Path, target: Path) -> int:
    """Writes the longest intact prefix of a damaged bank to a new file; returns its last sequence number.

    Numbers, times and digests stay; the projections are made again. Raises `PathError` where `target` exists,
    `DataError` where SQLite cannot read the file at all.
    """
    if target.exists():
        raise PathError("A rescued bank must be a new file.", value=str(target), remedy="Choose another name.")
    with _readable(path, copy=True) as source:
        try:
            sound = inspect_chain(source).sound_seq
            tables = open_tables(target)
            _copy_prefix(source, tables, sound)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
    try:
        rebuild(EventLog(tables, PROJECTIONS), None)
    finally:
        tables.close()
    return sound


def _copy_prefix(source: sqlite3.Connection, tables: Tables, sound: int) -> None:
    names = dict(source.execute("SELECT id, text FROM name"))
    db = tables.db
    tables.begin()
    for values in source.execute(f"SELECT {COLUMNS} FROM event WHERE seq <= ? ORDER BY seq", (sound,)):  # noqa: S608
        row = [tables.names.intern(names[value]) if i in TEXT_COLUMNS else value for i, value in enumerate(values)]
        db.execute("INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", row)
    gaps = source.execute("SELECT * FROM gap WHERE last_seq <= ?", (sound,)).fetchall()
    db.executemany("INSERT INTO gap VALUES (?, ?, ?)", gaps)
    for writer, *mark in source.execute("SELECT * FROM writer_mark").fetchall() if gaps else ():
        db.execute("INSERT INTO writer_mark VALUES (?, ?, ?)", (tables.names.intern(names[writer]), *mark))
    tables.commit()
    tables.file.note_commit()


@contextmanager
def _readable(path: Path, *, copy: bool) -> Iterator[sqlite3.Connection]:
    """Yields a connection that only reads the file, or one to a copy: closing it leaves the write-ahead log alone."""
    if not path.is_file():
        raise PathError("A bank to inspect must exist.", value=str(path))
    with tempfile.TemporaryDirectory(prefix="stem-") as folder:
        if copy:
            for suffix in ("", "-wal"):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    with opened_to_read(part) as source, (Path(folder) / part.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
            path = Path(folder) / path.name
        db = connect(path) if copy else connect_to_read(path, held=True)
        try:
            yield db
        finally:
            db.close()


def _matches(previous: Any, values: Sequence[Any], names: Mapping[int, str]) -> bool:
    """Returns whether a row has its digest: not where an id has no name or the values cannot be encoded.

    Events of a time of -0.0 were once written with the digest of that, while SQLite stores 0.0.
    """
    try:
        row = row_with_names(values, names.__getitem__)
        return chained_digest(previous, row) == values[-1] or (
            row.valid_time_s == 0.0 and chained_digest(previous, row._replace(valid_time_s=-0.0)) == values[-1]
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


def _difference(left: sqlite3.Connection, right: sqlite3.Connection, table: str) -> str:
    statement = f"SELECT * FROM {table}"  # noqa: S608
    for mine, other in zip_longest(left.execute(statement), right.execute(statement)):
        if mine != other:
            return f"Table {table} has {mine} where the log gives {other}."
    return ""
