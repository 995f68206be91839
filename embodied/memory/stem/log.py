"""The log: one durable, totally ordered, checksummed sequence of events in SQLite, with its projections beside it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from embodied.errors import MemoryBankError
from embodied.memory.stem import rows
from embodied.memory.stem.checks import check_event
from embodied.memory.stem.event import Event
from embodied.memory.stem.names import Names
from embodied.memory.stem.owner import Ownership
from embodied.memory.stem.projection import Projection, Tables
from embodied.memory.stem.rows import COLUMNS, FIRST_DIGEST, MILLI, Row

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY, writer INTEGER NOT NULL, writer_seq INTEGER NOT NULL, valid_time_s REAL NOT NULL,
    received_ms INTEGER NOT NULL, robot INTEGER NOT NULL, task INTEGER NOT NULL, cause BLOB,
    schema_version INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, bulk BLOB, digest BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS event_writer ON event (writer, writer_seq);
"""


class EventLog:
    """Owns the file `path` (None: memory). `clock` tells received times, seconds.

    Raises `MemoryBankError` where another process owns the file.
    """

    def __init__(
        self, path: Path | None, projections: Sequence[Projection], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._projections = tuple(projections)
        self._owner = None if path is None else Ownership(path)
        self.lock = threading.RLock()
        self.db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(SCHEMA)
        self.names = Names(self.db)
        self.tables = Tables(self.db, self.names)
        for projection in self._projections:
            self.db.executescript(projection.schema)
        self._reload()

    @property
    def head(self) -> int:
        """The sequence number of the newest event, 0 in an empty log."""
        return self._head

    def append(self, events: Sequence[Event]) -> list[int]:
        """Returns the sequence numbers once the events are durable: all of them, or an error and none."""
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                numbers = [self._append(event) for event in events]
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                self.names.reload()
                self._reload()
                raise
            return numbers

    def close(self) -> None:
        """Closes the file and lets others open it."""
        with self.lock:
            self.db.close()
            if self._owner is not None:
                self._owner.release()

    def event(self, seq: int) -> Event | None:
        """Returns one event, None where there is none."""
        found = self.db.execute(f"SELECT {COLUMNS} FROM event WHERE seq = ?", (seq,)).fetchone()  # noqa: S608
        return None if found is None else self._event(found)

    def _event(self, values: Sequence) -> Event:
        return rows.event_from_row(self._row(values))

    def _row(self, values: Sequence) -> Row:
        text = self.names.text
        seq, writer, writer_seq, valid, received, robot, task, cause, version, kind, body, bulk, digest = values
        return Row(
            seq, text(writer), writer_seq, valid, received, text(robot), text(task), cause, version, text(kind),
            body, bulk, digest,
        )  # fmt: skip

    def _append(self, event: Event) -> int:
        check_event(event)
        body, bulk = rows.encode_payload(event.payload)
        known = self._known(event, body, bulk)
        if known is not None:
            return known
        seq = self._head + 1
        received_ms = round(self._clock() * MILLI)
        event = msgspec.structs.replace(event, seq=seq, received_time_s=received_ms / MILLI)
        row = (
            seq, event.writer, event.writer_seq, float(event.valid_time_s), received_ms, event.robot, event.task,
            rows.encode_cause(event.cause), event.schema_version, event.kind, body, bulk,
        )  # fmt: skip
        digest = rows.chained_digest(self._digest, row)
        for projection in self._projections:
            projection.check(self.tables, event)
        intern = self.names.intern
        self.db.execute(
            "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*row[:1], intern(event.writer), *row[2:5], intern(event.robot), intern(event.task), *row[7:9],
             intern(event.kind), body, bulk, digest),
        )  # fmt: skip
        self._head, self._digest = seq, digest
        for projection in self._projections:
            projection.apply(self.tables, event)
        return seq

    def _known(self, event: Event, body: bytes, bulk: bytes | None) -> int | None:
        writer = self.names.find(event.writer)
        found = self.db.execute(
            f"SELECT {COLUMNS} FROM event WHERE writer = ? AND writer_seq = ?", (writer, event.writer_seq)  # noqa: S608
        ).fetchone()
        if found is None:
            return None
        row = self._row(found)
        same = (row.valid_time_s, row.robot, row.task, row.cause, row.schema_version, row.kind, row.body, row.bulk)
        told = (
            event.valid_time_s, event.robot, event.task, rows.encode_cause(event.cause), event.schema_version,
            event.kind, body, bulk,
        )  # fmt: skip
        if same != told:
            raise MemoryBankError(
                "A writer must not use a number twice for different events.",
                value=(event.writer, event.writer_seq),
                remedy=f"Event {row.seq} has it already: continue with the next number.",
            )
        return row.seq

    def _reload(self) -> None:
        last = self.db.execute("SELECT seq, digest FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        self._head, self._digest = last or (0, FIRST_DIGEST)
