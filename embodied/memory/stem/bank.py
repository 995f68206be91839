"""The memory bank: one log of events, and what follows from it about space, time and robots."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from embodied.geometry import Vector3
from embodied.memory.stem.event import Event
from embodied.memory.stem.location import bank_path
from embodied.memory.stem.log import EventLog
from embodied.memory.stem.mentions import Mentions
from embodied.memory.stem.query import Able, EventFilter, Query, Recalled, Whereabouts
from embodied.memory.stem.view import View


def open_bank(
    url: str,
    *,
    root: Path | None = None,
    clock: Callable[[], float] = time.time,
    half_life_s: Mapping[str, float] | None = None,
) -> "Bank":
    """Returns the bank of a URL (see `location`), made where there is none; close it, or use it in `with`.

    `root` confines the file; `clock` tells received times, seconds; `half_life_s` says per category how long an
    unseen entity takes to become half as likely. Raises `MemoryBankError` where another process owns the file,
    `DataError` for a file that is damaged or of a newer version.
    """
    return Bank(EventLog(bank_path(url, root=root), [Mentions()], clock=clock), half_life_s=half_life_s)


class Bank(View):
    """Everything that is remembered. Reads see the newest state; `snapshot` holds one still.

    Calls may come from several threads of the owning process; they take turns.
    """

    def __init__(self, log: EventLog, *, half_life_s: Mapping[str, float] | None = None) -> None:
        super().__init__(log, None, half_life_s or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, events: Event | Sequence[Event]) -> list[int]:
        """Returns the sequence numbers of the events, once they are durable: all of them, or an error and none.

        An event told again keeps its first number. Raises `MemoryBankError` for what is refused, `ConflictError`
        where it builds on something that has changed; nothing is written then.
        """
        return self._log.append([events] if isinstance(events, Event) else events)

    def snapshot(self, seq: int | None = None) -> View:
        """Returns a view of everything up to `seq` (None: now) that answers the same however often it is asked."""
        return View(self._log, self.head if seq is None else seq, self._half_life_s)

    def subscribe(self, wanted: EventFilter | None = None, *, after_seq: int | None = None) -> "Subscription":
        """Returns a subscription to events to come, or to all after `after_seq`."""
        return Subscription(self, wanted or EventFilter(), self.head if after_seq is None else after_seq)

    def verify(self) -> list[str]:
        """Returns what is wrong with the file, one sentence each, empty where it is sound: every row is read."""
        raise NotImplementedError

    def rebuild(self) -> None:
        """Makes all projections again, from the log and the newest sound snapshot."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._log.close()


class Subscription:
    """Hands out wanted events, each once, in order; it asks and is never called, so it crosses processes easily."""

    def __init__(self, bank: Bank, wanted: EventFilter, after_seq: int) -> None:
        self._bank = bank
        self._wanted = wanted
        self.seq = after_seq

    def poll(self, *, limit: int = 1000) -> list[Event]:
        """Returns wanted events since the last call, at most `limit` are looked at."""
        found, self.seq = self._bank.changes_after(self.seq, wanted=self._wanted, limit=limit)
        return found
