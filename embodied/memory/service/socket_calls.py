"""The calls of clients over sockets, answered from one service; see `socket_server`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from embodied.errors import CodecError, ConflictError, EmbodiedError, StorageError, unknown_name
from embodied.memory.queries import validation
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.retention.retention import RetentionConfig
from embodied.memory.schema.event import Event
from embodied.memory.schema.query import EventFilter
from embodied.memory.schema.row_estimate import ROWS_PER_EVENT
from embodied.memory.service import messages
from embodied.memory.service.allowance import Allowance, weight
from embodied.memory.service.client_threads import ClientThreads, call_in
from embodied.memory.service.commit_queue import Result, WaitingCommit
from embodied.memory.service.credentials import ClientRights
from embodied.memory.service.service import LONGEST_WAIT_S, MOST_EVENT_BYTES, BankService, SlowDownError
from embodied.memory.service.waiting import is_refusal

SMALL_BYTES = 2**16  # Larger commits are decoded outside of the event loop.
MOST_WAITING = 64  # Calls of one connection that wait, and hold none of its slots; further ones are answered at once.
LIGHT_THREADS = 8  # For leases and other short calls, which never wait for reads.
DECODERS = 2
EACH = 2  # Reads, and short calls, of one client at once.
LONGEST_SLEEP_S = 1.5  # A commit that would have to wait longer is refused, and sent again later.

Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Caller:
    """One connection: its client, free slots for calls, and the allowance that all connections of the client share.

    `waiting` of its calls wait for changes or for their turn; `commits` are in progress.
    """

    client: ClientRights
    slots: asyncio.Semaphore
    allowance: Allowance
    waiting: int = 0
    commits: int = 0

    @asynccontextmanager
    async def without_slot(self) -> AsyncIterator[None]:
        """Frees the slot of a call that waits, so that the others of its connection are answered meanwhile.

        Raises `SlowDownError` where too many wait: what held its slot while it waits could wait for itself.
        """
        if self.waiting >= MOST_WAITING:
            raise SlowDownError(
                f"At most {MOST_WAITING} calls of one connection may wait; the time to wait is in seconds.", value=1.0
            )
        self.waiting += 1
        self.slots.release()
        try:
            yield
        finally:
            self.waiting -= 1
            await self.slots.acquire()


class Calls:
    """Answers calls in an event loop. Queries run in at most `readers` threads, two of one client at once.

    Leases and other short calls have threads of their own, so that they never wait for queries, and so has retention.
    """

    def __init__(self, service: BankService, *, readers: int) -> None:
        self._service = service
        self._readers = ClientThreads(readers, each=EACH, name="bank reader")
        self._light = ClientThreads(LIGHT_THREADS, each=EACH, name="bank light")
        self._decoders = ClientThreads(DECODERS, each=1, name="bank decoder")
        self._retaining = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank retention")
        self._grown = asyncio.Event()
        self._open = True
        self._answers: Mapping[str, Callable[..., Any]] = {
            "commit": self._commit,
            "read": self._read,
            "changes": self._changes,
            "lease": self._lease,
            "retain": self._retain,
            "advance": self._advance,
            "last_of_writer": self._last_of_writer,
            "head": partial(self._at_once, method="head"),
            "clock": partial(self._at_once, method="clock"),
        }

    def begin(self) -> None:
        """Lets the service notify calls that wait for changes; called in the event loop."""
        self._service.watch(partial(call_in, asyncio.get_running_loop(), self._note_growth))

    def end_waiting(self) -> None:
        """Answers calls that wait for changes."""
        self._open = False
        self._service.watch(None)
        self._note_growth()

    def close(self) -> None:
        """Ends the threads; calls that wait for one are cancelled."""
        for threads in (self._readers, self._light, self._decoders):
            threads.close()
        self._retaining.shutdown(wait=False, cancel_futures=True)

    async def answer(self, caller: Caller, body: memoryview) -> bytes:
        """Returns the answer to a call in a message's `body`, which may be an error."""
        (answer,) = await asyncio.gather(self._called(caller, body), return_exceptions=True)
        if isinstance(answer, bytes):
            return answer
        if not isinstance(answer, Exception):
            raise answer  # The call was cancelled.
        if not isinstance(answer, EmbodiedError):
            _log.error("A call to the bank has failed.", exc_info=answer)
        return messages.encode_error(answer)

    async def _called(self, caller: Caller, body: memoryview) -> bytes:
        method, arguments = await self._decoded(caller, len(body), partial(messages.decode_call, body))
        if method not in self._answers:
            raise unknown_name("call to the owner of a bank", method, self._answers)
        try:
            return await self._answers[method](caller, **arguments)
        except TypeError as error:
            raise CodecError("A call must have the documented arguments.", value=f"{error!s:.200}") from error

    async def _decoded(self, caller: Caller, size: int, call: Callable[[], Answer]) -> Answer:
        """Returns what `call` returns; it runs outside of the event loop where it has many bytes (`size`) to read."""
        return call() if size < SMALL_BYTES else await self._decoders.run(caller.allowance, call)

    async def _read(self, caller: Caller, call: ReadCall) -> bytes:
        answer = partial(_encoded, "read", partial(self._service.read, call), query=str(call.name))
        return await self._readers.run(caller.allowance, answer, caller.without_slot)

    async def _at_once(self, caller: Caller, method: str) -> bytes:
        del caller
        return _encoded(method, getattr(self._service, method))

    async def _last_of_writer(self, caller: Caller, writer: str) -> bytes:
        answer = partial(_encoded, "last_of_writer", partial(self._service.last_of_writer, writer))
        return await self._light.run(caller.allowance, answer)

    async def _commit(self, caller: Caller, groups: tuple[bytes, ...]) -> bytes:
        """Commits one call of a client after another, the first of a connection without one of its slots."""
        caller.commits += 1
        try:
            async with caller.without_slot() if caller.commits == 1 else nullcontext(), caller.allowance.turn:
                results = await self._committed(caller, groups)
        finally:
            caller.commits -= 1
        return messages.encode_answer("commit", results)

    async def _committed(self, caller: Caller, groups: tuple[bytes, ...]) -> list[Result]:
        loop, allowance, size = asyncio.get_running_loop(), caller.allowance, sum(map(len, groups))
        wait_s = allowance.wait_s(loop.time())
        await asyncio.sleep(min(wait_s, LONGEST_SLEEP_S))  # Also one that ignores the refusal must not ask at once.
        if wait_s > LONGEST_SLEEP_S:
            raise SlowDownError(
                "A client must not write more than its allowance; the time to wait is in seconds.",
                value=wait_s - LONGEST_SLEEP_S,
            )
        call = partial(self._service.request, groups, caller.client, allowance)
        request = await self._decoded(caller, size, call)
        charge = partial(_charge, allowance, request)
        request.answer.add_done_callback(lambda _: call_in(loop, charge))  # Also where the client is gone by then.
        return await asyncio.wrap_future(request.answer)

    async def _lease(self, caller: Caller, subtask: str, robot: str, duration_s: float, epoch: int) -> bytes:
        caller.client.check_lease(robot)
        call = partial(self._service.lease, subtask, robot, duration_s=duration_s, epoch=epoch)
        return await self._light.run(caller.allowance, partial(_encoded, "lease", call))

    async def _advance(self, caller: Caller, to_s: float) -> bytes:
        caller.client.check_clock()
        answer = partial(_encoded, "advance", partial(self._service.advance, to_s))
        return await self._light.run(caller.allowance, answer)

    async def _retain(self, caller: Caller, config: RetentionConfig) -> bytes:
        caller.client.check_retention()
        result = await asyncio.wrap_future(self._retaining.submit(self._service.retain, config))
        return messages.encode_answer("retain", result)

    async def _changes(
        self, caller: Caller, wanted: EventFilter, after_seq: int, wait_s: float, most_bytes: int = MOST_EVENT_BYTES
    ) -> bytes:
        """Waits in the event loop, since a thread for each of many waiting clients would be too many."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + min(validation.number("wait_s", wait_s), LONGEST_WAIT_S)
        most_bytes = min(validation.whole("most_bytes", most_bytes, least=1), MOST_EVENT_BYTES)
        call = partial(self._service.changes, wanted, after_seq=after_seq, wait_s=0.0, most_bytes=most_bytes)
        poll = partial(self._readers.run, caller.allowance, partial(_changes_after, call), caller.without_slot)
        seq, answer = await poll()
        if seq == after_seq and caller.waiting < MOST_WAITING:
            async with caller.without_slot():  # While it waits, other calls of the client are answered.
                await self._growth(after_seq, until_s)
            _, answer = await poll()
        return answer

    async def _growth(self, after_seq: int, until_s: float) -> None:
        """Waits until the bank has newer events than `after_seq`, or the loop's time is `until_s`, or it stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while self._open and self._service.head() <= after_seq:
                    await self._grown.wait()

    def _note_growth(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _charge(allowance: Allowance, request: WaitingCommit) -> None:
    """Takes from an allowance what a call has cost: what was known already has written no rows, and is free.

    A conflict or a failing disk is no refusal.
    """
    results = request.results
    refused = sum(is_refusal(result) and not isinstance(result, ConflictError | StorageError) for result in results)
    allowance.take(
        events=sum(map(weight, map(_events_of, results, request.rows))),
        size_bytes=sum(size for size, rows in zip(request.sizes, request.rows, strict=False) if rows),
        refused=refused,
    )


def _events_of(result: Result, rows: int) -> float:
    """Returns how many events a group counts as that has written so many rows."""
    return max(len(result) if isinstance(result, list) and rows else 0, rows / ROWS_PER_EVENT)


def _encoded(method: str, call: Callable[[], Any], *, query: str = "") -> bytes:
    return messages.encode_answer(method, call(), query)


def _changes_after(call: Callable[[], tuple[list[Event], int]]) -> tuple[int, bytes]:
    """Returns the number up to which events were checked, and the encoded answer."""
    found = call()
    return found[1], messages.encode_answer("changes", found)
