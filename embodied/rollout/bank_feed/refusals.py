"""What a bank refuses of an episode: logged once for each kind of event, counted, and left out."""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from embodied.errors import MemoryBankError, StorageError
from embodied.memory import Event, MomentStored, ToolCalled, UnreachableError
from embodied.rollout.bank_feed.decisions import ACT

logger = logging.getLogger(__name__)

REFUSED = "memory_refused"  # Among the metrics of an episode's record, where it is not 0.


class Appending(Protocol):
    """What takes events: a bank, a client of one, or a report."""

    def append(self, events: Sequence[Event]) -> list[int]:
        """Returns the sequence numbers of events once they are durable: all or none."""
        ...


class Refusals:
    """Appends the events of one episode, and goes on without those that the bank refuses; `count` says how many.

    A robot goes on without one belief, but not without its policy's decisions and moments: a policy that has lost a
    part of its memory would be measured as another one. `refused` is called with each event that is left out.
    """

    def __init__(self, bank: Appending, refused: Callable[[Event], None]) -> None:
        self.count = 0
        self._bank = bank
        self._refused = refused
        self._logged: set[str] = set()

    def append(self, events: Sequence[Event]) -> list[int]:
        """Returns the sequence numbers of events, 0 for refused ones; the others hold.

        Raises `MemoryBankError` for a refused decision or moment of a policy, `UnreachableError` and `StorageError`
        where the bank cannot take any event.
        """
        try:
            return self._bank.append(events)
        except (UnreachableError, StorageError):
            raise
        except MemoryBankError:
            return [self._append_one(event) for event in events]

    def _append_one(self, event: Event) -> int:
        try:
            return self._bank.append([event])[0]
        except (UnreachableError, StorageError):
            raise
        except MemoryBankError as error:
            if _of_policy(event):
                raise
            self._leave_out(event, error)
            return 0

    def _leave_out(self, event: Event, error: MemoryBankError) -> None:
        self.count += 1
        if event.kind not in self._logged:
            self._logged.add(event.kind)
            logger.warning("%s goes on without an event (%s) that its bank refuses: %s", event.task, event.kind, error)
        self._refused(event)


def _of_policy(event: Event) -> bool:
    payload = event.payload
    return isinstance(payload, MomentStored) or (isinstance(payload, ToolCalled) and payload.tool == ACT)
