"""Batches requests of many sessions: requests within a short window share one call of the policy."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from embodied.protocols import Policy
from embodied.rollout.builders import PolicyBuilder
from embodied.serving.metrics import Metrics
from embodied.types import Decision, Request

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Decided:
    """A decision, the time that its request waited for a batch, the time of the batch, and its size."""

    decision: Decision
    wait_s: float
    infer_s: float
    batch: int


@dataclass(eq=False)
class _Waiting:
    request: Request
    policy: Policy
    since_s: float
    answer: "asyncio.Future[Decided]"


class Batcher:
    """Calls policies outside the event loop, in `threads` threads. Requests for the same policy share a call.

    The first request of a batch waits at most `window_s`: less if `most` requests have come, or if all of `clients()`
    already wait, so that a single client never waits. Requests that arrive during a batch form the next one. If several
    threads are free, they share the waiting requests.
    """

    def __init__(
        self, *, window_s: float, most: int, threads: int, clients: Callable[[], int], metrics: Metrics
    ) -> None:
        self._window_s = window_s
        self._most = most
        self._clients = clients
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._threads = threads
        self._running: dict[asyncio.Task[None], list[_Waiting]] = {}
        self._pool = ThreadPoolExecutor(threads, "policy")
        self._task = asyncio.create_task(self._run())

    async def decide(self, request: Request, policy: Policy) -> Decided:
        """Returns the decision of `policy` on a request. Raises its error only for the request that caused it."""
        waiting = _Waiting(request, policy, time.monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.answer

    async def build(self, builder: PolicyBuilder) -> Policy:
        """Returns a new policy, built outside the event loop. Raises whatever building it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, builder.build)

    async def close(self) -> None:
        """Ends the batches; waiting requests are cancelled."""
        tasks = [self._task, *self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for waiting in self._waiting:
            waiting.answer.cancel()
        self._pool.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            while len(self._running) >= self._threads:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            await self._gathered()
            free = max(1, self._threads - len(self._running))
            count = min(self._most, -(-len(self._waiting) // free))
            batch = [self._waiting.popleft() for _ in range(count)]
            batch = [waiting for waiting in batch if not waiting.answer.done()]  # Their clients have disconnected.
            task = asyncio.create_task(self._decide_all(batch))
            self._running[task] = batch
            task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[None]") -> None:
        """Ensures that every request of a batch gets an answer."""
        for waiting in self._running.pop(task):
            if not waiting.answer.done():
                waiting.answer.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("A batch has failed.", exc_info=error)

    async def _decide_all(self, batch: list[_Waiting]) -> None:
        by_policy: dict[int, list[_Waiting]] = {}
        for waiting in batch:
            by_policy.setdefault(id(waiting.policy), []).append(waiting)
        for same in by_policy.values():
            await self._decide(same)

    async def _gathered(self) -> None:
        """Waits until a batch is due."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        due_s = self._waiting[0].since_s + self._window_s
        while len(self._waiting) < min(self._most, max(1, self._clients() - self._in_progress())):
            left_s = due_s - time.monotonic()
            if left_s <= 0.0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left_s)
            except TimeoutError:
                return

    def _in_progress(self) -> int:
        """Returns the number of requests that are being decided."""
        return sum(len(batch) for batch in self._running.values())

    async def _decide(self, batch: list[_Waiting]) -> None:
        begun_s = time.monotonic()
        decisions = await self._act(batch[0].policy, [waiting.request for waiting in batch])
        infer_s = time.monotonic() - begun_s
        self._metrics.batch.add(len(batch))
        self._metrics.infer_s.add(infer_s)
        for waiting, decision in zip(batch, decisions, strict=True):
            wait_s = begun_s - waiting.since_s
            self._metrics.wait_s.add(wait_s)
            if waiting.answer.done():
                continue
            if isinstance(decision, BaseException):
                waiting.answer.set_exception(decision)
            else:
                waiting.answer.set_result(Decided(decision, wait_s, infer_s, len(batch)))

    async def _act(self, policy: Policy, requests: list[Request]) -> list[Decision | BaseException]:
        """Returns one decision or error per request; where a batch fails, its requests are tried one by one."""
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._pool, policy.act, requests)
        (found,) = await asyncio.gather(call, return_exceptions=True)
        if not isinstance(found, BaseException) and len(found) == len(requests):
            return list(found)
        if len(requests) > 1:
            return [one for request in requests for one in await self._act(policy, [request])]
        if isinstance(found, BaseException):
            return [found]
        return [TypeError(f"The policy must return one decision per request, not {len(found)} for one.")]
