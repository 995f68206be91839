"""The outbox of one robot: events that the bank has not answered yet, stored on the robot's own disk."""

import hashlib
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from embodied.errors import ConfigError, DataError, MemoryBankError, StorageError
from embodied.memory.schema.codec import decode_events, encode_events
from embodied.memory.schema.event import Event
from embodied.memory.storage.lock import Ownership

APPLICATION_ID = 0x5354454F  # "STEO", in the header of the SQLite file.
FORMAT_VERSION = 1
DIGEST_BYTES = 8
SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
CREATE TABLE IF NOT EXISTS parcel (
    number INTEGER PRIMARY KEY AUTOINCREMENT, count INTEGER NOT NULL, content BLOB NOT NULL, digest BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS refused (number INTEGER PRIMARY KEY, content BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS writer (name TEXT PRIMARY KEY, last INTEGER NOT NULL);
COMMIT;
"""


@dataclass(frozen=True)
class Parcel:
    """Events that were written together: they reach the bank all or none. `content` is their encoding."""

    number: int
    count: int
    content: bytes


@dataclass(kw_only=True)
class OutboxConfig:
    """The file of an outbox (empty: in memory) and how many events it may hold.

    `durable` waits for the disk at every append, so that a power cut loses nothing; without it, events survive the end
    of the process but not a crash of the machine.
    """

    path: str = ""
    limit: int = 100_000
    durable: bool = True

    def build(self) -> "Outbox":
        """Returns the outbox. Raises `ConfigError`; `MemoryBankError` where another process has it open."""
        if self.limit < 1:
            raise ConfigError("outbox.limit must be at least 1 event.", value=self.limit)
        return Outbox(Path(self.path) if self.path else None, limit=self.limit, durable=self.durable)


class Outbox:
    """Parcels in the order in which they were written, and the last number that each writer has used.

    It is safe to call from several threads; one process owns the file (None: in memory). Raises `DataError` for a file
    that is damaged or of another program, and `StorageError` where the disk fails.
    """

    def __init__(self, path: Path | None, *, limit: int = 100_000, durable: bool = True) -> None:
        self._limit = limit
        self._durable = durable
        self._lock = threading.RLock()
        self._owner = None if path is None else Ownership(path)
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            self._prepare()
            (self._events,) = self._select_one("SELECT COALESCE(SUM(count), 0) FROM parcel")
            self._last: dict[str, int] = dict(self._select("SELECT name, last FROM writer"))
            self._answered: list[int] = []
            self._open = True
        except BaseException:
            self._release()
            raise

    @property
    def events(self) -> int:
        """How many events wait in it."""
        return self._events

    def knows(self, writer: str) -> bool:
        """Returns whether a writer's numbers are kept here."""
        return writer in self._last

    def adopt(self, writer: str, last: int) -> None:
        """Keeps a writer's numbers from now on: `last` is the last that it has used, 0 for none."""
        with self._lock:
            if writer not in self._last:
                self._run("INSERT INTO writer VALUES (?, ?)", writer, last)
                self._last[writer] = last

    def add(self, events: Sequence[Event]) -> Parcel:
        """Returns the parcel of events once it is stored; those with `writer_seq` 0 get their writer's next numbers.

        Raises `MemoryBankError`, and keeps nothing, for events that no bank could read, for a full outbox, and for a
        writer without numbers.
        """
        with self._lock:
            if self._events + len(events) > self._limit:
                raise MemoryBankError(
                    "An outbox must not hold more events than its limit.",
                    value=self._events + len(events),
                    remedy=f"{self._events} of {self._limit} wait for the bank to come back: write less, or raise the "
                    "limit.",
                )
            last = dict(self._last)
            content = encode_events([_numbered(event, last) for event in events])
            decode_events(content)  # An unreadable parcel would block all later ones.
            parcel = Parcel(self._insert(len(events), content, last), len(events), content)
            self._last = last
            self._events += len(events)
            return parcel

    def waiting(self) -> list[Parcel]:
        """Returns all parcels, oldest first. Raises `DataError` for one that was altered."""
        with self._lock:
            self._delete_answered()
            found = self._select("SELECT number, count, content, digest FROM parcel ORDER BY number")
        for number, _, content, digest in found:
            if digest != _digest(content):
                raise DataError(
                    "A parcel in an outbox must match its checksum.",
                    value=number,
                    remedy="The file was altered; the parcels after it are intact.",
                )
        return [Parcel(number, count, content) for number, count, content, _ in found]

    def remove(self, parcels: Sequence[Parcel], *, at_once: bool = False) -> None:
        """Removes parcels that the bank has answered; on disk with the next parcel, unless `at_once`.

        A kill in between sends them again, which is harmless where the bank has accepted them.
        """
        with self._lock:
            self._answered += [parcel.number for parcel in parcels]
            self._events -= sum(parcel.count for parcel in parcels)
            if at_once:
                self._delete_answered()

    def refuse(self, parcel: Parcel, reason: str) -> None:
        """Keeps a copy of a parcel that the bank refuses and for which no caller waits."""
        self._run("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", parcel.number, parcel.content, reason)

    def refused(self) -> list[tuple[list[Event], str]]:
        """Returns the refused parcels, and the reasons."""
        found = self._select("SELECT content, reason FROM refused ORDER BY number")
        return [(decode_events(content), reason) for content, reason in found]

    def close(self) -> None:
        """Closes the file; safe to call twice. Waiting events are sent when it is opened again."""
        with self._lock:
            if self._open:
                self._delete_answered()
            self._open = False
            self._db.close()
            self._release()

    def _prepare(self) -> None:
        try:
            application, version = (
                self._select_one("PRAGMA application_id")[0],
                self._select_one("PRAGMA user_version")[0],
            )
            fresh = not self._select("SELECT 1 FROM sqlite_schema LIMIT 1")
            if not fresh and (application, version) != (APPLICATION_ID, FORMAT_VERSION):
                raise DataError(
                    "The file must be an outbox of this version.", value=(application, version), remedy="Take another."
                )
            self._select_one("PRAGMA journal_mode = WAL")
            self._db.executescript(SCHEMA)
            self._synchronise()
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _insert(self, count: int, content: bytes, last: Mapping[str, int]) -> int:
        self._run("BEGIN IMMEDIATE")
        try:
            number = self._run(
                "INSERT INTO parcel (count, content, digest) VALUES (?, ?, ?)", count, content, _digest(content)
            )
            for writer, value in last.items():
                if self._last[writer] != value:
                    self._run("UPDATE writer SET last = ? WHERE name = ?", value, writer)
            self._run_each("DELETE FROM parcel WHERE number = ?", self._answered)
            self._run("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._answered.clear()
        return number

    def _delete_answered(self) -> None:
        """Deletes answered parcels; this need not reach the disk, since the bank recognises repeated events."""
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._run("BEGIN IMMEDIATE")
        self._run_each("DELETE FROM parcel WHERE number = ?", self._answered)
        self._run("COMMIT")
        self._synchronise()
        self._answered.clear()

    def _synchronise(self) -> None:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")

    def _select(self, sql: str, *values: object) -> list[tuple]:
        try:
            with self._lock:
                return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _select_one(self, sql: str) -> tuple:
        return self._select(sql)[0]

    def _run(self, sql: str, *values: object) -> int:
        try:
            with self._lock:
                return int(self._db.execute(sql, values).lastrowid or 0)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _run_each(self, sql: str, values: Sequence[int]) -> None:
        try:
            self._db.executemany(sql, [(value,) for value in values])
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _release(self) -> None:
        if self._owner is not None:
            self._owner.release()


def _numbered(event: Event, last: dict[str, int]) -> Event:
    """Returns the event with its number, which is noted in `last`."""
    known = last.get(event.writer)
    if known is None and not event.writer_seq:
        raise MemoryBankError(
            "An outbox must know a writer's last number before it gives the next.",
            value=event.writer,
            remedy="Ask the bank for it, and `adopt` it.",
        )
    if known is None:
        return event  # Its writer numbers its own events.
    number = event.writer_seq or known + 1
    last[event.writer] = max(known, number)
    return event if event.writer_seq else msgspec.structs.replace(event, writer_seq=number)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _translated(error: sqlite3.Error) -> DataError | StorageError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DataError("An outbox must be an intact SQLite file.", value=str(error), remedy="Take another file.")
    return StorageError(
        "The disk under an outbox must take what is written.",
        value=str(error),
        remedy="Free space, then write it again.",
    )
