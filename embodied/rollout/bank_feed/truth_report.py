"""The path of the ground truth.

A worker returns it with the result of an episode, the driver appends it to the truth bank.
"""

from collections.abc import Sequence

import msgspec

from embodied.memory import (
    Bank,
    EpisodeEnded,
    Event,
    EventFilter,
    LocationBelief,
    Query,
    Recalled,
    decode_events,
    encode_events,
)


class TruthReport:
    """Collects the events of one episode in place of a bank, numbered from 1; it knows no bank and no file."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def append(self, events: Sequence[Event]) -> list[int]:
        """Returns the numbers of the events within this episode."""
        first = len(self._events) + 1
        self._events += events
        return list(range(first, len(self._events) + 1))

    def advance(self, to_s: float) -> float:
        """Returns `to_s`: a report has no clock."""
        return to_s

    def recall(self, query: Query) -> list[Recalled]:
        """Returns nothing: policies get no moments from the truth."""
        del query
        return []

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns that `writer` has no earlier events."""
        del writer
        return 0, -float("inf")

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns nothing for any `seq`, `wanted` and `limit`: no episode is resumed from the truth."""
        del seq, wanted, limit
        return []

    def where_is(self, entity: str) -> LocationBelief | None:
        """Returns that nothing is known: a report answers no questions."""
        del entity
        return None

    def encoded(self) -> bytes:
        """Returns all events as bytes, for `append_truth`."""
        return encode_events(self._events)


def append_truth(bank: Bank, content: bytes) -> None:
    """Appends the events of a `TruthReport` to the truth bank; an episode that it already has adds nothing."""
    events = decode_events(content) if content else []
    if not events or bank.last_of_writer(events[0].writer)[0]:
        return
    before = bank.head
    bank.advance(max(event.valid_time_s for event in events))
    bank.append([_numbered(event, before) for event in events])


def _numbered(event: Event, before: int) -> Event:
    """Returns an event whose references within the episode are numbers of the bank, which has `before` events."""
    payload = event.payload
    if isinstance(payload, EpisodeEnded):
        payload = msgspec.structs.replace(payload, first_seq=payload.first_seq + before)
    return msgspec.structs.replace(event, payload=payload, cause=tuple(seq + before for seq in event.cause))
