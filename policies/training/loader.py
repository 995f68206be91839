"""Batches made in the background, one or two ahead; they are the same as without it, in the same order."""

from collections.abc import Callable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

from embodied.errors import EmbodiedError

_T = TypeVar("_T")

AHEAD = 2
POLL_S = 0.2


class Loader(Generic[_T]):
    """Yields `make(step)` for every step of [start, stop), made by one thread; a context manager, which ends it.

    Errors of this project that `make` raises are raised where the batch is read.
    """

    def __init__(self, make: Callable[[int], _T], start: int, stop: int) -> None:
        self._make = make
        self._steps = range(start, stop)
        self._queue: Queue[_T | EmbodiedError] = Queue(AHEAD)
        self._left = Event()
        self._thread = Thread(target=self._work, name="loader", daemon=True)

    def __enter__(self) -> Iterator[_T]:
        self._thread.start()
        return self._taken()

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _taken(self) -> Iterator[_T]:
        for _ in self._steps:
            made = self._queue.get()
            if isinstance(made, EmbodiedError):
                raise made
            yield made

    def _work(self) -> None:
        for step in self._steps:
            try:
                made: _T | EmbodiedError = self._make(step)
            except EmbodiedError as error:
                made = error
            if not self._put(made) or isinstance(made, EmbodiedError):
                return

    def _put(self, made: _T | EmbodiedError) -> bool:
        while not self._left.is_set():
            try:
                self._queue.put(made, timeout=POLL_S)
            except Full:
                continue
            return True
        return False
