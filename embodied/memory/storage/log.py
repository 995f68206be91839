"""The log: one durable, totally ordered, checksummed sequence of events in SQLite, with its projections beside it."""

import logging
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from embodied.errors import DataError, MemoryBankError, NumberTakenError, StaleLeaseError, StorageError
from embodied.memory.projections.projection import Projection, apply_event, counting
from embodied.memory.schema.checks import as_events, check_envelope, check_payload
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Forgotten, Withdrawn
from embodied.memory.schema.limits import check_append_count, check_next_number, check_rows, check_size
from embodied.memory.schema.reserved import check_unreserved
from embodied.memory.storage import row_codec
from embodied.memory.storage.clock import SimulatedClock, SiteClock
from embodied.memory.storage.context_codec import encode_context
from embodied.memory.storage.row_budget import RowBudget
from embodied.memory.storage.row_codec import COLUMNS, FIRST_DIGEST, MILLI, EventRow
from embodied.memory.storage.tables import Tables, translated
from embodied.memory.storage.time_bounds import check_times
from embodied.memory.storage.tombstones import check_forgotten, forget, forgotten_writer

FORGOTTEN_SEQ = 0
NOTHING_YET = (-math.inf, -math.inf)  # Newest valid time and when it was received.
FIRST_CHUNK, CHUNK = 32, 500
POSITIVE_ZERO = 0.0  # Added to -0.0 gives 0.0, as which SQLite stores it: the digest covers what is stored.
_logger = logging.getLogger(__name__)


class EventLog:
    """Appends to and reads from the tables of a file that this process owns; see `storage`.

    `clock` is the site's; None is one that stands at the newest received time.
    """

    def __init__(
        self,
        tables: Tables,
        projections: Sequence[Projection],
        *,
        clock: SiteClock | None = None,
    ) -> None:
        self.tables = tables
        self.projections = tuple(projections)
        self.clock: SiteClock = SimulatedClock() if clock is None else clock
        self._writers: dict[str, tuple[int, float]] = {}
        self._head, self._digest = last_of(tables)
        self._durable = self._head
        self.clock.resume(self.received_s(self._head))
        # The newest valid time and when it was received, of all events; None where that has to be looked up.
        self.newest: tuple[float, float] | None = None if self._head else NOTHING_YET

    @property
    def head(self) -> int:
        """The sequence number of the newest event that is durable, 0 in an empty log."""
        self.tables.require_open()
        return self._durable  # A commit in progress may fail; its numbers must not be visible before.

    @property
    def end(self) -> tuple[int, bytes]:
        """The newest durable event and its digest; hold the lock of the tables, so that no append is in progress."""
        return self._head, self._digest

    def append(self, events: Sequence[Event], *, as_site: bool = False) -> list[int]:
        """Returns the sequence numbers once the events are durable: all of them, or an error and none.

        An event that is sent again keeps its number; one that has been removed since has 0. Raises `StaleLeaseError`
        where some were kept as claims: then all of them are durable too. `as_site` is as in `append_batches`.
        """
        (result,) = self.append_batches([events], as_site=as_site)
        if isinstance(result, MemoryBankError):
            raise result
        return result

    def append_batches(
        self, batches: Sequence[Sequence[Event]], *, as_site: bool = False, budget: RowBudget | None = None
    ) -> list[list[int] | MemoryBankError]:
        """Returns, for each of the `batches`, its sequence numbers or the error that refused it; one commit for all.

        With a `budget` it ends once that is spent, at least after the first batch: then fewer results are returned.

        A refused batch leaves nothing behind and does not affect the others, whatever error its events caused. Writers
        and kinds that are reserved are refused unless they are written `as_site`. Raises `StorageError` where the disk
        fails: then nothing of any batch is written.
        """
        with self.tables.writing(), self.tables.lock:
            names = len(self.tables.names)
            head, digest = self._head, self._digest
            try:
                self.tables.begin()
                append = partial(self._append_batch, as_site=as_site)
                results = (budget or RowBudget(math.inf)).spend(self.tables.db, batches, append)
                self.tables.commit()
                self._durable = self._head
            except BaseException as error:
                self.tables.roll_back()
                self._return_to(names, head, digest)
                if isinstance(error, sqlite3.Error):
                    raise translated(error) from error
                raise
            self.tables.file.note_commit()  # Else they could not be read again: they are not acknowledged.
            return results

    def event(self, seq: int) -> Event | None:
        """Returns one event, None where there is none or it was removed."""
        found = self.tables.select_one(f"SELECT {COLUMNS} FROM event WHERE seq = ?", seq)  # noqa: S608
        return None if found is None else self._event(found)

    def received_s(self, seq: int) -> float:
        """Returns when the newest event up to number `seq` was received, seconds; -inf where there is none."""
        found = self.tables.select_one("SELECT received_ms FROM event WHERE seq <= ? ORDER BY seq DESC LIMIT 1", seq)
        if found and not isinstance(found[0], int):
            raise DataError("The received time of an event must be a number.", value=seq, remedy="Verify the file.")
        return found[0] / MILLI if found else -math.inf

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time (seconds) of a writer, (0, -inf) for an unknown one."""
        known = self._writers.get(writer)
        if known is None:
            found = self.tables.select_one(
                "SELECT writer_seq, valid_time_s FROM event WHERE writer = ? ORDER BY writer_seq DESC LIMIT 1",
                self.tables.names.find(writer),
            )
            mark = forgotten_writer(self.tables, writer)
            known = (max(mark[0], found[0]), max(mark[1], found[1])) if found else mark
            self._writers[writer] = known
        return known

    def events(self, after: int, *, to: int, where: str = "TRUE", values: Sequence[Any] = ()) -> Iterator[Event]:
        """Yields the events after `after` up to `to`, in order.

        `where` is SQL of this package, never a caller's, with its `values`.
        """
        step = 1000
        while after < to:
            found = self.tables.select(
                f"SELECT {COLUMNS} FROM event WHERE seq > ? AND seq <= ? AND {where} ORDER BY seq LIMIT {step}",  # noqa: S608
                after, to, *values,
            )  # fmt: skip
            yield from map(self._event, found)
            after = found[-1][0] if len(found) == step else to

    def events_of(self, numbers: Iterable[int], *, where: str = "TRUE", values: Sequence[Any] = ()) -> Iterator[Event]:
        """Yields those of the events with these `numbers`, which ascend, that match.

        `where` and `values` as in `events`.
        """
        left, size = iter(numbers), FIRST_CHUNK
        while chunk := list(islice(left, size)):
            size = min(CHUNK, 4 * size)  # A caller may want only the first few.
            marks = ", ".join("?" * len(chunk))
            found = self.tables.select(
                f"SELECT {COLUMNS} FROM event WHERE seq IN ({marks}) AND {where} ORDER BY seq",  # noqa: S608
                *chunk, *values,
            )  # fmt: skip
            yield from map(self._event, found)

    def _append_batch(self, events: Sequence[Event], *, as_site: bool) -> list[int] | MemoryBankError:
        names = len(self.tables.names)
        head, digest = self._head, self._digest
        self.tables.db.execute("SAVEPOINT batch")
        try:
            appended = self._append_each(as_events(events), as_site=as_site)
        except Exception as error:
            if not self.tables.db.in_transaction:
                raise  # SQLite itself ended the transaction: the disk fails, independently of this batch.
            self.tables.db.execute("ROLLBACK TO batch")
            self.tables.db.execute("RELEASE batch")
            self._return_to(names, head, digest)
            if isinstance(error, sqlite3.Error | DataError):
                self.tables.file.require_whole()  # Else it is no fault of the events.
            return _refusal(error)
        self.tables.db.execute("RELEASE batch")
        claims = tuple(seq for seq, claimed in appended if claimed)
        return _kept_as_claims(claims) if claims else [seq for seq, _ in appended]

    def _append_each(self, events: Sequence[Event], *, as_site: bool) -> list[tuple[int, bool]]:
        check_append_count(len(events))
        rows = self.tables.db.total_changes
        appended = []
        for event in events:
            appended.append(self._append(event, as_site=as_site))
            if not isinstance(event.payload, Forgotten):  # The site itself removes as much as it can in one event.
                check_rows(self.tables.db.total_changes - rows)
        return appended

    def _append(self, event: Event, *, as_site: bool) -> tuple[int, bool]:
        """Returns the number of an event and whether it is a claim."""
        check_envelope(event)
        if not as_site:
            check_unreserved(event)
        payload, body, bulk = row_codec.encode_payload(event.payload)
        check_size(payload, body, bulk)
        event = msgspec.structs.replace(event, payload=payload, valid_time_s=float(event.valid_time_s) + POSITIVE_ZERO)
        check_payload(event)
        known = self._known(event, body, bulk)
        if known is not None:
            return known
        seq = self._head + 1
        now_s = self.clock.time_s()
        check_times(event, now_s, self.clock.ahead_s)
        received_ms = round(now_s * MILLI)
        claimed = any(projection.claims(self.tables, event) for projection in self.projections)
        event = msgspec.structs.replace(event, seq=seq, received_time_s=received_ms / MILLI, claimed=claimed)
        self._check(event)
        self._insert(event, received_ms, body, bulk)
        if isinstance(event.payload, Forgotten):
            forget(self.tables, event.payload, self._event, self._released)
        apply_event(self.projections, self.tables, event, self.event)
        self._writers[event.writer] = (event.writer_seq, event.valid_time_s)
        if isinstance(event.payload, Forgotten | Withdrawn):
            self.newest = None
        elif self.newest is not None and event.valid_time_s > self.newest[0]:
            self.newest = event.valid_time_s, event.received_time_s
        return seq, claimed

    def _released(self, events: list[Event]) -> None:
        for projection in self.projections:
            projection.release(self.tables, events)

    def _check(self, event: Event) -> None:
        last, last_s = self.last_of_writer(event.writer)
        check_next_number(event.writer, event.writer_seq, last)
        if event.valid_time_s < last_s:
            raise MemoryBankError(
                "The valid times of one writer must not run backwards.",
                value=event.valid_time_s,
                remedy=f"{event.writer!r} was at {last_s} s: log the past under another writer, such as "
                f"{event.writer + '/late'!r}.",
            )
        if any(not 1 <= cause < event.seq for cause in event.cause):
            raise MemoryBankError(
                "The causes of an event must be events before it.",
                value=event.cause,
                remedy=f"The newest event is {self._head}.",
            )
        if isinstance(event.payload, Forgotten):
            check_forgotten(self.tables, event.payload, self._head)
        for projection in counting(self.projections, event):
            projection.check(self.tables, event)

    def _insert(self, event: Event, received_ms: int, body: bytes, bulk: bytes | None) -> None:
        cause = encode_context(event)
        row = EventRow(
            event.seq, event.writer, event.writer_seq, event.valid_time_s, received_ms, event.robot, event.task,
            cause, event.schema_version, event.kind, body, bulk,
        )  # fmt: skip
        digest = row_codec.chained_digest(self._digest, row)
        intern = self.tables.names.intern
        self.tables.write(
            "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            event.seq, intern(event.writer), event.writer_seq, event.valid_time_s, received_ms, intern(event.robot),
            intern(event.task), cause, event.schema_version, intern(event.kind), body, bulk, digest,
        )  # fmt: skip
        self._head, self._digest = event.seq, digest

    def _known(self, event: Event, body: bytes, bulk: bytes | None) -> tuple[int, bool] | None:
        """Returns the number of an event that is sent again and whether it is a claim, None for a new one."""
        last_seq, _ = self.last_of_writer(event.writer)
        if event.writer_seq > last_seq:
            return None
        found = self.tables.select_one(
            f"SELECT {COLUMNS} FROM event WHERE writer = ? AND writer_seq = ?",  # noqa: S608
            self.tables.names.find(event.writer), event.writer_seq,
        )  # fmt: skip
        if found is None:
            if event.writer_seq <= forgotten_writer(self.tables, event.writer)[0]:
                return FORGOTTEN_SEQ, False
            raise NumberTakenError(
                "The events of one writer must arrive in the order of their numbers.",
                value=(event.writer, event.writer_seq),
                remedy=f"Its last one was {last_seq}: continue above it.",
            )
        row = row_codec.row_with_names(found, self.tables.names.text)
        as_claim = encode_context(msgspec.structs.replace(event, claimed=True))
        claimed = bool(event.subtask) and row.cause == as_claim
        repeated = row._replace(
            valid_time_s=event.valid_time_s, robot=event.robot, task=event.task,
            cause=as_claim if claimed else encode_context(event),
            schema_version=event.schema_version, kind=event.kind, body=body, bulk=bulk,
        )  # fmt: skip
        if row != repeated:
            raise NumberTakenError(
                "A writer must not use a number twice for different events.",
                value=(event.writer, event.writer_seq),
                remedy=f"Event {row.seq} has it already: continue above {last_seq}.",
            )
        return row.seq, claimed

    def _event(self, values: Sequence[Any]) -> Event:
        return row_codec.event_from_row(values, self.tables.names.text)

    def _return_to(self, names: int, head: int, digest: bytes) -> None:
        self.tables.names.forget_after(names)
        self._head, self._digest = head, digest
        self._writers.clear()
        self.newest = None if head else NOTHING_YET


def _kept_as_claims(numbers: tuple[int, ...]) -> StaleLeaseError:
    return StaleLeaseError(
        "Effects must be written under the newest lease of their subtask, before its end, by the robot that has it.",
        value=numbers,
        remedy="These events are in the log as claims, which no belief counts; the others of the call count. Stop this "
        "work, read again, and send nothing again.",
    )


def _refusal(error: Exception) -> MemoryBankError:
    """Returns the error with which a batch is refused; only what concerns the machine may be tried again."""
    if isinstance(error, sqlite3.Error):
        error = translated(error)
    if isinstance(error, MemoryBankError):
        return error
    if isinstance(error, MemoryError | OSError):
        return StorageError(
            "The machine of a memory bank must have memory and open files left.",
            value=f"{type(error).__name__}: {error}",
        )
    if isinstance(error, DataError):
        _logger.error("Events were refused because the file of the memory bank is damaged: %s", error)
        return MemoryBankError(error.rule, value=error.value, remedy=error.remedy)
    _logger.error("Events were refused because of an unexpected error.", exc_info=error)
    return MemoryBankError(
        "An event must be one that this version of the memory bank can process.",
        value=f"{type(error).__name__}: {error}",
        remedy="These events alone were refused. The log of the bank's process has the traceback: please report it.",
    )


def last_of(tables: Tables) -> tuple[int, bytes]:
    """Returns the sequence number and the digest at the end of the log. Raises `DataError` where that is damaged."""
    last = tables.select_one("SELECT seq, digest FROM event ORDER BY seq DESC LIMIT 1")
    seq, digest = last or (0, FIRST_DIGEST)
    if not isinstance(digest, bytes):
        raise DataError("The last event of a memory bank must have a digest.", value=seq, remedy="Verify the file.")
    return seq, digest
