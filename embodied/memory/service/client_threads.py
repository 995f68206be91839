"""Threads that the clients of a served bank share, so that none of them takes all."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Answer = TypeVar("Answer")


class ClientThreads:
    """At most `threads` jobs are in progress, `each` of one client: its further ones wait in its own queue.

    So the others wait for at most `each` of its jobs. Used in one event loop.
    """

    def __init__(self, threads: int, *, each: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self._each = each
        self._turns: WeakKeyDictionary[Any, asyncio.Semaphore] = WeakKeyDictionary()

    async def run(
        self,
        client: object,
        call: Callable[[], Answer],
        waiting: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> Answer:
        """Returns what `call` returns in a thread. Raises what it raises, and `RuntimeError` once it is closed.

        `client` is any object that stands for the client. While earlier jobs of it are in progress this waits inside
        of `waiting`. A job that has begun counts until it has ended, also where no caller waits for it any more.
        """
        loop, turn, held = asyncio.get_running_loop(), self._turns.setdefault(client, self._new_turn()), False
        try:
            async with waiting() if turn.locked() else nullcontext():
                await turn.acquire()
                held = True
            job = self._threads.submit(call)
        except BaseException:
            if held:
                turn.release()
            raise
        job.add_done_callback(lambda _: call_in(loop, turn.release))
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Ends the threads; jobs that have not begun are cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _new_turn(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self._each)


def call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Calls `call` in an event loop soon, from any thread; not at all where the loop was closed meanwhile."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
