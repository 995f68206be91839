"""Commits of many threads of one process in few calls to the owner of a bank."""

import itertools
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from embodied.memory.schema.limits import LARGEST_COMMIT_BYTES
from embodied.memory.service.commit_queue import Result


@dataclass(eq=False)
class _Sending:
    """The events of one thread; they share a call with those of others."""

    groups: Sequence[bytes]
    answer: Future[list[Result]] = field(default_factory=Future)

    @property
    def size(self) -> int:
        return sum(map(len, self.groups))


class SharedCommits:
    """Commits through `send`: threads that commit during a call share the next one.

    A call costs more than its events. Together they have at most 1 MiB, or they are the events of one thread.
    """

    def __init__(self, send: Callable[[list[bytes]], list[Result]]) -> None:
        self._send = send
        self._waiting: deque[_Sending] = deque()
        self._caller = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commits")

    def commit(self, groups: Sequence[bytes]) -> list[Result]:
        """As `Link.commit`."""
        sending = _Sending(groups)
        self._waiting.append(sending)
        self._caller.submit(self._commit_waiting)
        return sending.answer.result()

    def _commit_waiting(self) -> None:
        """Sends waiting events in one call; threads whose events were sent with others have nothing left to do."""
        taken = self._take()
        if not taken:
            return
        try:
            results = iter(self._send([group for sending in taken for group in sending.groups]))
            for sending in taken:
                sending.answer.set_result(list(itertools.islice(results, len(sending.groups))))
        finally:
            for sending in taken:
                if not sending.answer.done():
                    sending.answer.set_exception(sys.exception())

    def _take(self) -> list[_Sending]:
        taken: list[_Sending] = []
        size = 0
        for _ in range(len(self._waiting)):
            size += self._waiting[0].size
            if taken and size > LARGEST_COMMIT_BYTES:
                break
            taken.append(self._waiting.popleft())
        return taken
