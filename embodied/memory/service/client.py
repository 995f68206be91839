"""The client of a bank: idempotent at-least-once writes through an outbox, and reads that see its own writes."""

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from embodied.errors import ConflictError
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.queries.reads import Reads, RemoteReads
from embodied.memory.queries.validation import event_filter, number, past_seq, start_seq, text
from embodied.memory.retention.retention import RetentionConfig, RetentionResult, checked
from embodied.memory.schema.checks import as_events
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Payload, RelationSet
from embodied.memory.schema.query import EventFilter
from embodied.memory.service.leases import Lease, check_lease, under
from embodied.memory.service.outbox import Outbox
from embodied.memory.service.parcels import LaidAside
from embodied.memory.service.sender import FIRST_PAUSE_S, LONGEST_PAUSE_S, Sender
from embodied.memory.service.service import Link, UnreachableError
from embodied.memory.service.site_time import SiteTime
from embodied.memory.storage.clock import ClockReading, SiteClock, WallClock

MOVE_TRIES = 100
Answer = TypeVar("Answer")


class BankClient(RemoteReads):
    """Writes to the bank through an outbox, in order, and reads from it; reads see its own writes.

    Events are stored in the outbox before `log` and `post` return, and are sent until the owner of the bank answers, in
    this process or the next one on the same outbox; since the bank identifies each event by its writer's number,
    sending it twice is harmless. It can start and write while the bank is away. Events that the bank refuses are
    reported to the caller, or laid aside in the outbox (`laid_aside`) where no caller waits for them any more. `writer`
    signs events without a writer. `log` stamps events by the clock of the bank, which the client learns from its owner;
    `clock` is the robot's own, a `WallClock` where it is None, and counts only until the owner has answered once. Safe
    to call from many threads.

    It has the methods of a `Bank` except `evidence`, `newest_lease`, `verify`, `rebuild` and `write_snapshot`, which
    are for the process that owns the file.
    """

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        *,
        writer: str,
        timeout_s: float = 30.0,
        clock: SiteClock | None = None,
    ) -> None:
        super().__init__(self._read)
        self.writer = text("writer", writer)
        self._link = link
        self._outbox = outbox
        self._timeout_s = _waiting_s(timeout_s)
        self._site = SiteTime(link, WallClock() if clock is None else clock)
        self._time_s = -float("inf")
        self._stamping = threading.Lock()
        self._sender = Sender(link, outbox, writer=writer, site=self._site)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log(
        self,
        payload: Payload,
        *,
        robot: str = "",
        task: str = "",
        cause: tuple[int, ...] = (),
        lease: Lease | None = None,
    ) -> int:
        """Returns the sequence number of one event of now, with this `payload`, once the bank has it.

        `robot` and `task` are those of the event, `cause` the events that led to it, `lease` that of the work in which
        it came about; its robot is that of the event. Its time is that of the bank's clock, or the writer's last time
        where that is later. Raises as `append`.
        """
        with self._stamping:  # The times of a writer must be in the order of its events.
            later = not self._site.known
            event = self._event(payload, robot, task, cause)
            answer = self._post([event if lease is None else under(lease, event)], stamped=True, later=later)
        return self._wait(answer)[0]

    def append(self, events: Event | Sequence[Event]) -> list[int]:
        """Returns the sequence numbers of events, once the bank has them: all or none.

        An event without a writer is this client's, one with `writer_seq` 0 gets its writer's next number. Raises
        `MemoryBankError` or `ConflictError` for events that the bank refuses, which are then dropped, and for a full
        outbox; `StaleLeaseError` where the bank has kept effects as claims; `UnreachableError` where the owner did not
        answer in time: then they are still in the outbox, and must not be sent again.
        """
        return self._wait(self.post(events))

    def post(self, events: Event | Sequence[Event]) -> Future[list[int]]:
        """Returns a future of the answer once the events are stored in the outbox; otherwise as `append`."""
        return self._post(as_events(events))

    def laid_aside(self) -> list[LaidAside]:
        """Returns the parcels that were laid aside in the outbox: refused while no caller waited, or altered there."""
        return self._outbox.laid_aside()

    def send_again(self, number: int) -> list[int]:
        """Returns the sequence numbers of the events of one parcel of `laid_aside`, which is then no longer laid aside.

        Their writer gets a suffix, since its own numbers and times have gone on. Where they are refused again they are
        laid aside again, and the error is raised; otherwise as `append`. Raises `UnknownNameError` for an unknown
        number.
        """
        self._require_open()
        return self._wait(self._sender.send_again(number))

    def move(  # noqa: PLR0913 - what is moved, and the fields of its event by name
        self, entity: str, predicate: str, parent: str, *, robot: str = "", task: str = "", lease: Lease | None = None
    ) -> int:
        """Returns the number of the event that makes `parent` the `predicate` parent of `entity`.

        It works among other writers: it reads the version, writes if it still holds, and otherwise reads again, at most
        100 times: then the last `ConflictError` is raised. `robot`, `task` and `lease` as in `log`.
        """
        tries = 0
        while True:
            tries += 1
            there = self.where_is(entity)
            version = 0 if there is None else there.version
            try:
                payload = RelationSet(subject=entity, predicate=predicate, object=parent, expected_version=version)
                return self.log(payload, robot=robot, task=task, lease=lease)
            except ConflictError:
                if tries == MOVE_TRIES:
                    raise

    def acquire(self, subtask: str, robot: str, *, duration_s: float) -> Lease:
        """Returns a lease of `robot` on a `subtask` for `duration_s`.

        Raises `ConflictError` where another robot has it now, or it has ended.
        """
        return self._until_reached(lambda: self._link.lease(subtask, robot, duration_s=duration_s, epoch=0))

    def renew(self, lease: Lease, *, duration_s: float) -> Lease:
        """Returns the lease with its next epoch, which never ends before the lease itself.

        What was written before arrives first, since it names the older epoch. Raises `ConflictError` for a stale lease,
        `MemoryBankError` for other values, `UnreachableError` as `flush`.
        """
        held, ask = check_lease(lease), self._link.lease
        self.flush()
        return self._until_reached(lambda: ask(held.subtask, held.robot, duration_s=duration_s, epoch=held.epoch))

    def retain(self, config: RetentionConfig | None = None) -> RetentionResult:
        """Lets the owner remove events that are not needed, by `config` or the default settings; returns the counts.

        Raises `ConfigError` for invalid settings.
        """
        settings = checked(config)
        self.flush()
        return self._until_reached(partial(self._link.retain, settings))

    def snapshot(self, seq: int | None = None) -> Reads:
        """Returns reads of everything up to `seq` (None: now, this client's writes included) that never change."""
        held = past_seq(seq, self.head())
        return RemoteReads(lambda call: self._read(dataclasses.replace(call, seq=held)))

    def head(self) -> int:
        """Returns the newest sequence number, this client's own writes included."""
        self.flush()
        return self._until_reached(self._link.head)

    def clock(self) -> ClockReading:
        """Returns what the clock of the bank shows now."""
        return self._until_reached(self._link.clock)

    def time_s(self) -> float:
        """Returns the time of the site, seconds, without a call to the owner: as `log` stamps events."""
        return self._site.time_s()

    def advance(self, to_s: float) -> float:
        """Moves the simulated clock of the bank to `to_s`, and returns its time then, both in seconds.

        Only the driver of a run calls it. Raises as `Bank.advance`.
        """
        return self._until_reached(partial(self._link.advance, number("to_s", to_s)))

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time (seconds) of a writer, (0, -inf) for none."""
        self.flush()
        return self._until_reached(partial(self._link.last_of_writer, writer))

    def subscribe(self, wanted: EventFilter | None = None, *, after_seq: int | None = None) -> "RemoteSubscription":
        """Returns a subscription to the wanted events after `after_seq` (None: future ones), a number that exists."""
        return RemoteSubscription(self._changes, event_filter(wanted), start_seq(after_seq, self.head()))

    def flush(self, *, timeout_s: float | None = None) -> None:
        """Waits until the bank has answered all earlier writes. Raises `UnreachableError` with the last problem."""
        limit_s = self._timeout_s if timeout_s is None else _waiting_s(timeout_s)
        self._require_open()
        if not self._sender.wait_until_sent(limit_s):
            raise self._unanswered()

    def close(self, *, timeout_s: float = 5.0) -> None:
        """Sends waiting events for at most `timeout_s`, and closes the outbox, which keeps the rest.

        Safe to call twice.
        """
        limit_s = _waiting_s(timeout_s)
        self._sender.close(limit_s)
        self._outbox.close()

    def _post(self, events: Sequence[Event], *, stamped: bool = False, later: bool = False) -> Future[list[int]]:
        signed = [event if event.writer else msgspec.structs.replace(event, writer=self.writer) for event in events]
        self._require_open()
        return self._sender.post(signed, stamped=stamped, later=later)

    def _event(self, payload: Payload, robot: str, task: str, cause: tuple[int, ...]) -> Event:
        now_s = self._site.stamp_s()
        if self._site.known:  # What is stamped by the robot's own clock is stamped again once the owner answers.
            if self._time_s > self._site.latest_s:  # The owner was replaced, and its clock shows less.
                self._time_s = now_s
            now_s = self._time_s = max(self._time_s, self._sender.last_s(self.writer), now_s)
        return Event(self.writer, 0, now_s, payload, robot=robot, task=task, cause=cause)

    def _wait(self, answer: Future[list[int]]) -> list[int]:
        try:
            return answer.result(self._timeout_s)
        except TimeoutError:
            self._sender.abandon(answer)
            raise self._unanswered() from None

    def _read(self, call: ReadCall) -> Any:
        self.flush()
        return self._until_reached(lambda: self._link.read(call))

    def _changes(self, wanted: EventFilter, after_seq: int, wait_s: float) -> tuple[list[Event], int]:
        self.flush()
        return self._until_reached(lambda: self._link.changes(wanted, after_seq=after_seq, wait_s=wait_s))

    def _until_reached(self, call: Callable[[], Answer]) -> Answer:
        """Repeats a call while the owner is being replaced, as long as the client is open."""
        due_s = time.monotonic() + self._timeout_s
        pause_s = FIRST_PAUSE_S
        while True:
            self._require_open()
            try:
                return call()
            except UnreachableError:
                if time.monotonic() + pause_s > due_s:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _require_open(self) -> None:
        if not self._sender.open:
            raise UnreachableError(
                "A client must be open to write or read.",
                value=f"the closed client of {self.writer!r}",
                remedy="Make a new one; unanswered events wait in the outbox, where that is a file.",
            )

    def _unanswered(self) -> UnreachableError:
        trouble = self._sender.trouble or "none yet"
        return UnreachableError(
            "The bank must answer a write in time.",
            value=f"{self._sender.events} events of {self.writer!r} wait",
            remedy=f"They stay in the outbox and are sent again. The last problem: {trouble}",
        )


class RemoteSubscription:
    """Returns wanted events, each once, in order; `seq` is the last number that was checked."""

    def __init__(
        self, changes: Callable[[EventFilter, int, float], tuple[list[Event], int]], wanted: EventFilter, seq: int
    ) -> None:
        self._changes = changes
        self._wanted = wanted
        self.seq = seq

    def poll(self, *, wait_s: float = 0.0) -> list[Event]:
        """Returns the wanted events since the last call, at most 1,000; waits up to `wait_s` while there are none."""
        due_s = time.monotonic() + number("wait_s", wait_s)
        while True:
            left_s = max(0.0, due_s - time.monotonic())
            found, self.seq = self._changes(self._wanted, self.seq, left_s)
            if found or not left_s:
                return found


def _waiting_s(timeout_s: object) -> float:
    """Returns seconds as locks take them, infinity included.

    Raises `MemoryBankError` for values that are not numbers.
    """
    return min(max(number("timeout_s", timeout_s), 0.0), threading.TIMEOUT_MAX)
