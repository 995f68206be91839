"""The service that owns a bank for many clients: group commits, reads, leases and subscriptions."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from inspect import signature
from itertools import chain, repeat, takewhile
from types import TracebackType
from typing import Any, Protocol, Self

from embodied.errors import DataError, MemoryBankError, StorageError, unknown_name
from embodied.memory.queries import validation
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.queries.reads import QUERIES
from embodied.memory.retention.retention import RetentionConfig, RetentionResult, retain
from embodied.memory.schema.codec import decode_events, encode_events
from embodied.memory.schema.event import Event
from embodied.memory.schema.limits import LARGEST_COMMIT_ROWS, LONGEST_TEXT, check_append_size, check_texts
from embodied.memory.schema.query import EventFilter
from embodied.memory.schema.row_estimate import estimated_rows
from embodied.memory.service.bank import Bank, Subscription
from embodied.memory.service.bank_status import BankStatus
from embodied.memory.service.commit_queue import CommitQueue, Group, Part, Result, WaitingCommit
from embodied.memory.service.credentials import ANYONE, ClientRights
from embodied.memory.service.leases import Lease, LeaseOffice
from embodied.memory.service.status_metrics import metrics_text
from embodied.memory.storage.clock import ClockReading
from embodied.memory.storage.row_budget import RowBudget

LONGEST_WAIT_S = 10.0
MOST_EVENT_BYTES = 16 * 2**20  # Of the events of one answer about changes, unless one alone is larger.
MOST_CHANGES, FIRST_CHANGES = 1_000, 8


class UnreachableError(MemoryBankError):
    """The owner of the bank does not answer: it has died, is being replaced, or the connection is broken.

    Writes wait in the outbox.
    """


class SlowDownError(UnreachableError):
    """The owner takes no more of this client now; `wait_s` is after how many seconds it will."""

    usual_remedy = "Send it again then: nothing was written, and nothing is wrong."

    @property
    def wait_s(self) -> float:
        """After how many seconds to try again."""
        return float(self.value) if isinstance(self.value, int | float) else LONGEST_WAIT_S


class Link(Protocol):
    """The connection of a client to the owner. Every call may raise `UnreachableError`, and can then be repeated."""

    def commit(self, groups: Sequence[bytes]) -> list[Result]:
        """Returns for each group of encoded events its sequence numbers, or the error that refused it, once durable."""
        ...

    def read(self, call: ReadCall) -> Any:
        """Returns the answer to a query."""
        ...

    def head(self) -> int:
        """Returns the newest sequence number."""
        ...

    def clock(self) -> ClockReading:
        """Returns what the clock of the bank shows now."""
        ...

    def advance(self, to_s: float) -> float:
        """Moves a simulated clock to `to_s`, seconds, and returns its time then."""
        ...

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time (seconds) of a writer, (0, -inf) for none."""
        ...

    def changes(self, wanted: EventFilter, *, after_seq: int, wait_s: float) -> tuple[list[Event], int]:
        """Returns `wanted` events after `after_seq`, and the last number checked.

        Waits up to `wait_s` while there are none.
        """
        ...

    def lease(self, subtask: str, robot: str, *, duration_s: float, epoch: int) -> Lease:
        """Returns a new lease (`epoch` 0) of `robot` on `subtask` for `duration_s`, or the renewal of epoch `epoch`.

        Raises `ConflictError`.
        """
        ...

    def retain(self, config: RetentionConfig) -> RetentionResult:
        """Returns the counts of events that the owner has removed by these settings."""
        ...


class BankService:
    """Owns a bank. A plain class, safe to call from many threads: tests call it directly, `ray_service` runs it on Ray.

    Events that arrive while the disk is busy become durable together in the next commit, up to a limit in events and
    bytes, of which the clients have equal shares; each gets its own answer, and neither a refusal nor an error of one
    affects the others.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._waiting = CommitQueue()
        self._grown = threading.Condition()
        self._on_growth: Callable[[], object] | None = None
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="committer")
        self._leases = LeaseOffice(bank)
        self._retaining = threading.Lock()  # Two at once would give the same numbers to their events.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, groups: Sequence[bytes], client: ClientRights = ANYONE) -> Future[list[Result]]:
        """Returns a future: for each of the `groups` its sequence numbers or the error that refused it, once durable.

        What `client` may not write is refused, each group by itself. Raises `UnreachableError` once the bank is closed.
        """
        return self.request(groups, client).answer

    def request(self, groups: Sequence[bytes], client: ClientRights = ANYONE, turn: Hashable = None) -> WaitingCommit:
        """Returns the call whose `answer` is that of `submit` for these `groups` of a `client`, and what it cost.

        Clients take turns: by `turn`, or else by their names; calls without either are as many clients.
        """
        decoded = [self._decoded(group, client) for group in groups]
        sizes = [len(content) if isinstance(group, list) else 0 for content, group in zip(groups, decoded, strict=True)]
        estimates = [estimated_rows(group) if isinstance(group, list) else 0 for group in decoded]
        request = WaitingCommit(decoded, sizes, estimates)
        refused = [group for group in decoded if not isinstance(group, list)]
        if len(refused) == len(decoded):
            request.take_results(refused)  # Without a commit, for which others would wait.
            return request
        self._waiting.add(turn or client.name or request, request)
        try:
            self._committer.submit(self._commit_waiting)
        except RuntimeError as error:  # It was shut down.
            raise UnreachableError(
                "The owner of a memory bank must be open to take events.",
                value="a closed bank",
                remedy="Open the bank again; writes wait in the outbox.",
            ) from error
        return request

    def commit(self, groups: Sequence[bytes], client: ClientRights = ANYONE) -> list[Result]:
        """As `submit`, and waits. Raises `StorageError` where the disk fails: then nothing is written."""
        return self.submit(groups, client).result()

    def read(self, call: ReadCall) -> Any:
        """Returns the answer to a query. Raises `UnknownNameError` for an unknown one, and what the bank raises."""
        if not isinstance(call.name, str) or call.name not in QUERIES:
            raise unknown_name("query of a memory bank", call.name, QUERIES)
        _check_arguments(call)
        view = self._bank if call.seq is None else self._bank.snapshot(call.seq)
        return getattr(view, call.name)(*call.arguments, **call.options)

    def head(self) -> int:
        """Returns the newest sequence number."""
        return self._bank.head

    def clock(self) -> ClockReading:
        """Returns what the clock of the bank shows now."""
        return self._bank.clock()

    def advance(self, to_s: float) -> float:
        """Moves a simulated clock to `to_s`, seconds, and returns its time then. Raises as `Bank.advance`."""
        return self._bank.advance(to_s)

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time (seconds) of a writer, (0, -inf) for none."""
        return self._bank.last_of_writer(writer)

    def changes(
        self, wanted: EventFilter, *, after_seq: int, wait_s: float = 0.0, most_bytes: int = MOST_EVENT_BYTES
    ) -> tuple[list[Event], int]:
        """Returns `wanted` events after `after_seq`, and the last number checked.

        Where there is no newer event at all it waits for one, at most `wait_s` (10 s); even then none may match. Events
        of about `most_bytes` are read, the rest by a later call. Raises `MemoryBankError` for an `after_seq` that the
        bank has not reached, such as after an older file was restored.
        """
        limit_s = min(validation.number("wait_s", wait_s), LONGEST_WAIT_S)
        subscription = self._bank.subscribe(wanted, after_seq=after_seq)
        with self._grown:
            self._grown.wait_for(lambda: self._bank.head > after_seq, timeout=limit_s)
        return _polled(subscription, most_bytes), subscription.seq

    def watch(self, on_growth: Callable[[], object] | None) -> None:
        """Lets `on_growth` be called after each commit, in the committing thread, where it must return at once."""
        self._on_growth = on_growth

    def lease(self, subtask: str, robot: str, *, duration_s: float, epoch: int = 0) -> Lease:
        """Returns a new lease (`epoch` 0) of `robot` on `subtask` for `duration_s`, or the renewal of epoch `epoch`.

        Raises `ConflictError`.
        """
        if epoch:
            return self._leases.renew(Lease(subtask, robot, epoch, 0.0), duration_s=duration_s)
        return self._leases.acquire(subtask, robot, duration_s=duration_s)

    def retain(self, config: RetentionConfig) -> RetentionResult:
        """Removes events that the bank does not need, and returns the counts; reads and commits continue during it.

        Raises `ConfigError` for invalid settings.
        """
        with self._retaining:
            return retain(self._bank, config)

    def status(self) -> BankStatus:
        """Returns the state of the bank for those who operate it, on the site clock."""
        return replace(self._bank.status(), waiting=len(self._waiting))

    def metrics(self) -> str:
        """Returns the same in the text format of Prometheus, for `embodied.prometheus.metrics_served`."""
        return metrics_text(self.status())

    def close(self) -> None:
        """Commits waiting events and closes the bank; safe to call twice."""
        self._committer.shutdown()
        self._bank.close()

    def _decoded(self, content: bytes, client: ClientRights) -> Group:
        try:
            check_append_size(len(content))
            events = decode_events(content)
            client.check_events(events, self._bank.event)
            if len(content) > LONGEST_TEXT:
                for event in events:  # Such texts are refused before they take the disk's time.
                    check_texts(event.payload)
            return events
        except MemoryBankError as error:
            return error

    def _commit_waiting(self) -> None:
        """Commits all waiting events; calls whose events were committed with others have nothing left."""
        while taken := self._waiting.take():
            self._commit(taken)
            with self._grown:
                self._grown.notify_all()
            if on_growth := self._on_growth:
                on_growth()

    def _commit(self, taken: Sequence[Part]) -> None:
        """Commits the groups of several requests at once, or one after another where that fails unexpectedly."""
        sound = [group for _, part in taken for group in part if isinstance(group, list)]
        budget = RowBudget(LARGEST_COMMIT_ROWS)
        try:
            appended = self._bank.append_batches(sound, as_site=True, budget=budget)
        except Exception as error:
            if len(taken) > 1 and not isinstance(error, StorageError | DataError):
                for one in taken:
                    self._commit([one])
                return
            for request, _ in taken:
                request.answer.set_exception(error)
            return
        done = zip(appended, chain(budget.written, repeat(0)), strict=False)
        for request, part in taken:
            results = ((group, 0) if isinstance(group, MemoryBankError) else next(done, None) for group in part)
            own = list(takewhile(lambda one: one is not None, results))
            request.take_results([one[0] for one in own if one], [one[1] for one in own if one])
        self._waiting.put_back(taken)


def _polled(subscription: Subscription, most_bytes: int) -> list[Event]:
    """Returns what a subscription has, at most 1,000 events, or as many as have `most_bytes` together, or a few more.

    The first few show how large they are, so that no large answer is read before its size is known.
    """
    head, size, limit = subscription.head, 0, FIRST_CHANGES
    found: list[Event] = []
    while len(found) < MOST_CHANGES and size < most_bytes:
        part = subscription.poll(limit=limit)
        found += part
        size += len(encode_events(part))
        if len(part) < limit or subscription.seq >= head:
            break
        limit = max(1, min(MOST_CHANGES - len(found), (most_bytes - size) * len(found) // size))
    return found


def _check_arguments(call: ReadCall) -> None:
    """Raises `MemoryBankError` for arguments that a query does not take."""
    try:
        signature(QUERIES[call.name]).bind(None, *call.arguments, **call.options)
    except TypeError as error:
        raise MemoryBankError(
            f"The query {call.name!r} must have its documented arguments.", value=str(error)
        ) from error
