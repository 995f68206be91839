"""The service that owns a bank for many clients: group commits, reads, leases and subscriptions."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from embodied.errors import MemoryBankError, unknown_name
from embodied.memory.queries import validation
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.queries.reads import QUERIES
from embodied.memory.retention.retention import RetentionConfig, RetentionResult, retain
from embodied.memory.schema.codec import decode_events
from embodied.memory.schema.event import Event
from embodied.memory.schema.query import EventFilter
from embodied.memory.service.bank import Bank
from embodied.memory.service.leases import Lease, LeaseOffice

Result = list[int] | MemoryBankError
LARGEST_COMMIT = 4_000
LONGEST_WAIT_S = 10.0


class UnreachableError(MemoryBankError):
    """The owner of the bank does not answer: it has died, is being replaced, or the connection is broken.

    Writes wait in the outbox.
    """


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


@dataclass(eq=False)
class _Request:
    """The events of one client in one call."""

    groups: list[list[Event] | MemoryBankError]
    answer: Future[list[Result]] = field(default_factory=Future)

    @property
    def size(self) -> int:
        return sum(map(len, self.sound))

    @property
    def sound(self) -> list[list[Event]]:
        return [group for group in self.groups if isinstance(group, list)]

    def take_results(self, results: Iterator[Result]) -> None:
        self.answer.set_result([next(results) if isinstance(group, list) else group for group in self.groups])


class BankService:
    """Owns a bank. A plain class, safe to call from many threads: tests call it directly, `ray_service` runs it on Ray.

    Events that arrive while the disk is busy become durable together in the next commit; each client gets its own
    answer, and a refusal for one does not affect the others. `clock` is the site clock, seconds.
    """

    def __init__(self, bank: Bank, *, clock: Callable[[], float] = time.time) -> None:
        self._bank = bank
        self._waiting: deque[_Request] = deque()
        self._grown = threading.Condition()
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="committer")
        self._leases = LeaseOffice(bank, clock=clock)
        self._retaining = threading.Lock()  # Two at once would give the same numbers to their events.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, groups: Sequence[bytes]) -> Future[list[Result]]:
        """Returns a future: for each group its sequence numbers or the error that refused it, once durable.

        Raises `UnreachableError` once the bank is closed.
        """
        request = _Request([_decoded(group) for group in groups])
        self._waiting.append(request)
        try:
            self._committer.submit(self._commit_waiting)
        except RuntimeError as error:  # It was shut down.
            raise UnreachableError(
                "The owner of a memory bank must be open to take events.",
                value="a closed bank",
                remedy="Open the bank again; writes wait in the outbox.",
            ) from error
        return request.answer

    def commit(self, groups: Sequence[bytes]) -> list[Result]:
        """As `submit`, and waits. Raises `StorageError` where the disk fails: then nothing is written."""
        return self.submit(groups).result()

    def read(self, call: ReadCall) -> Any:
        """Returns the answer to a query. Raises `UnknownNameError` for an unknown one, and what the bank raises."""
        if call.name not in QUERIES:
            raise unknown_name("query of a memory bank", call.name, QUERIES)
        view = self._bank if call.seq is None else self._bank.snapshot(call.seq)
        return getattr(view, call.name)(*call.arguments, **call.options)

    def head(self) -> int:
        """Returns the newest sequence number."""
        return self._bank.head

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time (seconds) of a writer, (0, -inf) for none."""
        return self._bank.last_of_writer(writer)

    def changes(self, wanted: EventFilter, *, after_seq: int, wait_s: float = 0.0) -> tuple[list[Event], int]:
        """Returns `wanted` events after `after_seq`, and the last number checked.

        Where there is no newer event at all it waits for one, at most `wait_s` (10 s); even then none may match. Raises
        `MemoryBankError` for an `after_seq` that the bank has not reached, such as after an older file was restored.
        """
        limit_s = min(validation.number("wait_s", wait_s), LONGEST_WAIT_S)
        subscription = self._bank.subscribe(wanted, after_seq=after_seq)
        with self._grown:
            self._grown.wait_for(lambda: self._bank.head > after_seq, timeout=limit_s)
        return subscription.poll(), subscription.seq

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

    def close(self) -> None:
        """Commits waiting events and closes the bank; safe to call twice."""
        self._committer.shutdown()
        self._bank.close()

    def _commit_waiting(self) -> None:
        """Commits all waiting events at once; calls whose events were committed with others have nothing left."""
        requests = self._take()
        if not requests:
            return
        try:
            results = iter(self._bank.append_batches([group for request in requests for group in request.sound]))
            for request in requests:
                request.take_results(results)
        finally:
            for request in requests:
                if not request.answer.done():  # The disk or this code failed: all waiting callers get the error.
                    request.answer.set_exception(sys.exception())
            with self._grown:
                self._grown.notify_all()

    def _take(self) -> list[_Request]:
        taken: list[_Request] = []
        size = 0
        while self._waiting and (not taken or size + self._waiting[0].size <= LARGEST_COMMIT):
            taken.append(self._waiting.popleft())
            size += taken[-1].size
        return taken


def _decoded(content: bytes) -> list[Event] | MemoryBankError:
    try:
        return decode_events(content)
    except MemoryBankError as error:
        return error
