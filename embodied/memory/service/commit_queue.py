"""Events that wait to be committed, by client: each has its turn, so that none waits for all that another has sent.

The order is round robin: the client that was served longest ago comes first, and in one commit all
waiting clients have equal shares of a small one. What no commit can divide, one append beyond the size of a commit, is
committed alone, and never twice in a row while others wait. Source: J. Nagle, On Packet Switches With Infinite Storage,
RFC 970, 1985.
"""

import threading
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from embodied.errors import MemoryBankError
from embodied.memory.schema.event import Event
from embodied.memory.schema.limits import LARGEST_COMMIT, LARGEST_COMMIT_BYTES, LARGEST_COMMIT_ROWS

LARGEST = (LARGEST_COMMIT, LARGEST_COMMIT_BYTES, LARGEST_COMMIT_ROWS)
Result = list[int] | MemoryBankError
Group = list[Event] | MemoryBankError  # Decoded events, or why they could not be decoded.


def uncancellable() -> Future[Any]:
    """Returns a future that its receiver cannot cancel: setting the result would fail, among those of others."""
    answer: Future[Any] = Future()
    answer.set_running_or_notify_cancel()
    return answer


@dataclass(eq=False)
class WaitingCommit:
    """The events of one `client` in one call, and the results so far; `sizes` are those of the groups in bytes.

    `rows` are those that each group with a result has written, `estimates` what it is expected to write,
    `start` is its first group in the commit in progress.
    """

    groups: list[Group]
    sizes: list[int]
    estimates: list[int] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    client: Hashable = None
    start: int = 0
    answer: Future[list[Result]] = field(default_factory=uncancellable)

    def __post_init__(self) -> None:
        self.estimates = self.estimates or [0] * len(self.groups)

    def take_results(self, results: Sequence[Result], rows: Sequence[int] = ()) -> None:
        """Adds the `results` of the next groups and the `rows` of each, and gives the answer once there are all."""
        self.rows += rows or [0] * len(results)
        self.results += results
        if len(self.results) == len(self.groups):
            self.answer.set_result(self.results)


Part = tuple[WaitingCommit, list[Group]]  # The next groups of a request.


@dataclass
class _Budget:
    """What still fits into a commit, or into the share of a client."""

    events: int
    size: int
    rows: int

    def fits(self, events: int, size: int, rows: int) -> bool:
        return events <= self.events and size <= self.size and rows <= self.rows

    def use(self, events: int, size: int, rows: int) -> None:
        self.events -= events
        self.size -= size
        self.rows -= rows


class CommitQueue:
    """Requests by client, in turns; those of one client stay in their order. Safe to use from many threads.

    A commit has at most `LARGEST_COMMIT` events, `LARGEST_COMMIT_BYTES`, and is expected to write at most
    `LARGEST_COMMIT_ROWS`, or it is one append that alone has more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[WaitingCommit]] = {}  # Those that were served longest ago come first.
        self._was_oversized = False

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def add(self, client: Hashable, request: WaitingCommit) -> None:
        """Adds a request at the end of those of its `client`."""
        request.client = client
        with self._lock:
            self._waiting.setdefault(client, deque()).append(request)

    def put_back(self, taken: Sequence[Part]) -> None:
        """Lets calls wait again for which the last commit had no rows left, clients without any result first."""
        with self._lock:
            served = {request.client for request, part in taken if len(request.results) > request.start}
            for request, _ in reversed(taken):
                if len(request.results) == len(request.groups) or request.answer.done():
                    continue
                own = self._waiting.setdefault(request.client, deque())
                if request not in own:
                    own.appendleft(request)
                if request.client not in served:
                    self._waiting = {request.client: own, **self._waiting}

    def take(self) -> list[Part]:
        """Returns what the next commit has; nothing where nothing waits. The caller commits it before it calls again.

        The rest of a request waits for the next turn of its client, unless an error has answered it meanwhile.
        """
        with self._lock:
            self._drop_answered()
            return self._taken(oversized=not self._was_oversized) or self._taken(oversized=True)

    def _drop_answered(self) -> None:
        for client, requests in list(self._waiting.items()):
            while requests and requests[0].answer.done():
                requests.popleft()
            if not requests:
                del self._waiting[client]

    def _taken(self, *, oversized: bool) -> list[Part]:
        """Returns the shares of all clients; of one alone where it is first, larger than a commit, and that may be."""
        budget, clients = _Budget(*LARGEST), list(self._waiting)
        taken: list[Part] = []
        for client in clients:
            share = _Budget(*(most // len(clients) for most in LARGEST))
            parts = self._taken_of(client, budget, share, oversized=oversized and not taken)
            if parts:
                taken += parts
                requests = self._waiting.pop(client)
                if requests:
                    self._waiting[client] = requests
        if taken:
            self._was_oversized = min(budget.events, budget.size, budget.rows) < 0
        return taken

    def _taken_of(self, client: Hashable, budget: _Budget, share: _Budget, *, oversized: bool) -> list[Part]:
        """Returns the next groups of a client within its `share`, but at least one that fits into the `budget`."""
        requests = self._waiting[client]
        taken: list[Part] = []
        while requests:
            request = requests[0]
            start = end = len(request.results)
            columns = (request.groups[start:], request.sizes[start:], request.estimates[start:])
            for group, size, rows in zip(*columns, strict=True):
                events = len(group) if isinstance(group, list) else 0
                first = not taken and end == start
                inside = budget.fits(events, size, rows) and (first or share.fits(events, size, rows))
                if not inside and not (first and oversized):
                    break
                budget.use(events, size, rows)
                share.use(events, size, rows)
                end += 1
            request.start = start
            if end > start:
                taken.append((request, request.groups[start:end]))
            if end < len(request.groups):
                break
            requests.popleft()
        return taken
