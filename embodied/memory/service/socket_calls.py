"""The calls of clients over sockets, answered from one service; see `socket_server`."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from embodied.errors import CodecError, ConflictError, EmbodiedError, StorageError, unknown_name
from embodied.memory.queries import validation
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.retention.retention import RetentionConfig
from embodied.memory.schema.query import EventFilter
from embodied.memory.service import messages
from embodied.memory.service.allowance import Allowance, weight
from embodied.memory.service.commit_queue import Result
from embodied.memory.service.credentials import ClientRights
from embodied.memory.service.service import LONGEST_WAIT_S, BankService
from embodied.memory.service.waiting import is_refusal

SMALL_BYTES = 2**16  # Larger commits are decoded outside of the event loop.
MOST_WAITING = 64  # Calls of one connection that wait for changes; further ones are answered at once.

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Caller:
    """One connection: its client, free slots for calls, its allowance, and how many of its calls wait for changes."""

    client: ClientRights
    slots: asyncio.Semaphore
    allowance: Allowance
    waiting: int = 0


class Calls:
    """Answers calls in an event loop; what takes time runs in at most `readers` threads, beside one for retention."""

    def __init__(self, service: BankService, *, readers: int) -> None:
        self._service = service
        self._readers = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="bank reader")
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
            **{name: partial(self._plain, method=name) for name in ("head", "clock", "last_of_writer")},
        }

    def begin(self) -> None:
        """Lets the service notify calls that wait for changes; called in the event loop."""
        self._service.watch(partial(_call_in, asyncio.get_running_loop(), self._note_growth))

    def end_waiting(self) -> None:
        """Answers calls that wait for changes."""
        self._open = False
        self._service.watch(None)
        self._note_growth()

    def close(self) -> None:
        """Ends the threads; calls that wait for one are cancelled."""
        for threads in (self._readers, self._retaining):
            threads.shutdown(wait=False, cancel_futures=True)

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
        method, arguments = await self._light(len(body), partial(messages.decode_call, body))
        if method not in self._answers:
            raise unknown_name("call to the owner of a bank", method, self._answers)
        try:
            return await self._answers[method](caller, **arguments)
        except TypeError as error:
            raise CodecError("A call must have the documented arguments.", value=f"{error!s:.200}") from error

    async def _light(self, size: int, call: Callable[[], Any]) -> Any:
        """Returns what `call` returns; it runs outside of the event loop where it has many bytes (`size`) to read."""
        return call() if size < SMALL_BYTES else await asyncio.wrap_future(self._readers.submit(call))

    async def _read(self, caller: Caller, call: ReadCall) -> bytes:
        del caller
        return await self._encoded("read", partial(self._service.read, call), query=str(call.name))

    async def _plain(self, caller: Caller, method: str, **arguments: Any) -> bytes:
        del caller
        return await self._encoded(method, partial(getattr(self._service, method), **arguments))

    async def _encoded(self, method: str, call: Callable[[], Any], *, query: str = "") -> bytes:
        job = self._readers.submit(lambda: messages.encode_answer(method, call(), query))
        return await asyncio.wrap_future(job)

    async def _commit(self, caller: Caller, groups: tuple[bytes, ...]) -> bytes:
        loop, allowance, size = asyncio.get_running_loop(), caller.allowance, sum(map(len, groups))
        async with allowance.turn:
            await asyncio.sleep(allowance.wait_s(loop.time()))
            submit = partial(self._service.submit, groups, caller.client, turn=allowance)
            submitted: Future[list[Result]] = await self._light(size, submit)
            charge = partial(_charge, allowance, submitted, size)
            submitted.add_done_callback(lambda _: _call_in(loop, charge))  # Also where the client is gone by then.
            results = await asyncio.wrap_future(submitted)
        return messages.encode_answer("commit", results)

    async def _lease(self, caller: Caller, subtask: str, robot: str, duration_s: float, epoch: int) -> bytes:
        caller.client.check_lease(robot)
        call = partial(self._service.lease, subtask, robot, duration_s=duration_s, epoch=epoch)
        return await self._encoded("lease", call)

    async def _advance(self, caller: Caller, to_s: float) -> bytes:
        caller.client.check_clock()
        return await self._encoded("advance", partial(self._service.advance, to_s))

    async def _retain(self, caller: Caller, config: RetentionConfig) -> bytes:
        caller.client.check_retention()
        result = await asyncio.wrap_future(self._retaining.submit(self._service.retain, config))
        return messages.encode_answer("retain", result)

    async def _changes(self, caller: Caller, wanted: EventFilter, after_seq: int, wait_s: float) -> bytes:
        """Waits in the event loop, since a thread for each of many waiting clients would be too many."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + min(validation.number("wait_s", wait_s), LONGEST_WAIT_S)
        poll = partial(self._service.changes, wanted, after_seq=after_seq, wait_s=0.0)
        found = await asyncio.wrap_future(self._readers.submit(poll))
        if found[1] == after_seq and caller.waiting < MOST_WAITING:
            caller.waiting += 1
            caller.slots.release()  # While it waits, other calls of the client are answered.
            try:
                await self._growth(after_seq, until_s)
            finally:
                caller.waiting -= 1
                await caller.slots.acquire()
        return await self._encoded("changes", poll)

    async def _growth(self, after_seq: int, until_s: float) -> None:
        """Waits until the bank has newer events than `after_seq`, or the loop's time is `until_s`, or it stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while self._open and self._service.head() <= after_seq:
                    await self._grown.wait()

    def _note_growth(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _charge(allowance: Allowance, submitted: Future[list[Result]], size: int) -> None:
    """Takes what a commit of `size` bytes has cost from an allowance; a conflict or a failing disk is no refusal."""
    results = [] if submitted.exception() else submitted.result()
    refused = sum(is_refusal(result) and not isinstance(result, ConflictError | StorageError) for result in results)
    events = sum(weight(len(result)) for result in results if isinstance(result, list))
    allowance.take(events=events, size_bytes=size, refused=refused)


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # The loop was closed meanwhile.
        loop.call_soon_threadsafe(call)
