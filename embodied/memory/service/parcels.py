"""Parcels of an outbox: events that are sent together, their numbers, and their checksums."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from embodied.errors import MemoryBankError
from embodied.memory.schema.codec import decode_events
from embodied.memory.schema.event import Event
from embodied.memory.schema.limits import LONGEST_NAME, check_next_number
from embodied.memory.schema.reserved import is_reserved_writer

DIGEST_BYTES = 8
AGAIN = "/again-"


@dataclass(frozen=True)
class Parcel:
    """Events that were written together: they reach the bank all or none. `content` is their encoding."""

    number: int
    count: int
    content: bytes


class LaidAside(NamedTuple):
    """A parcel that was laid aside: its number, its events (none where they cannot be decoded), and the reason."""

    number: int
    events: list[Event]
    reason: str


def numbered(event: Event, last: dict[str, int]) -> Event:
    """Returns the event with its number, which is noted in `last`.

    Raises `MemoryBankError` for a writer that is not in `last`, and for a number that would leave it few.
    """
    known = last.get(event.writer)
    if known is None and not event.writer_seq:
        raise MemoryBankError(
            "An outbox must know a writer's last number before it gives the next.",
            value=event.writer,
            remedy="Ask the bank for it, and `adopt` it.",
        )
    if known is None:
        return event  # Its writer numbers its own events.
    number = event.writer_seq or known + 1
    check_next_number(event.writer, number, known)
    last[event.writer] = max(known, number)
    return event if event.writer_seq else msgspec.structs.replace(event, writer_seq=number)


def at_time(event: Event, time_s: float) -> Event:
    """Returns the event with another valid time, seconds."""
    return msgspec.structs.replace(event, valid_time_s=time_s)


def readdressed(events: Sequence[Event], content: bytes) -> list[Event]:
    """Returns the events under writers that nothing else uses, numbered from 1; their names follow from `content`."""
    last: dict[str, int] = {}
    found = []
    for event in events:
        writer = _writer_again(event.writer, digest_of(content).hex())
        last[writer] = last.get(writer, 0) + 1
        found.append(msgspec.structs.replace(event, writer=writer, writer_seq=last[writer]))
    return found


def _writer_again(writer: str, mark: str) -> str:
    """Returns a writer for events that are sent again: under the `writer` itself, unless such names are reserved."""
    suffix = f"{AGAIN}{mark}"
    base = writer.partition(AGAIN)[0][: LONGEST_NAME - len(suffix) - 1]
    return f"{base}-{suffix}" if is_reserved_writer(f"{base}/") else f"{base}{suffix}"


def is_readdressed(events: Iterable[Event]) -> bool:
    """Returns whether any of the events has a writer that `readdressed` gave it."""
    return any(AGAIN in event.writer for event in events)


def require_room(what: str, waiting: int, more: int, most: int) -> None:
    """Raises `MemoryBankError` where `waiting` and `more` of an outbox, `what` by name, are more than `most`."""
    if waiting + more > most:
        raise MemoryBankError(
            f"An outbox must not hold more {what} than its limit.",
            value=waiting + more,
            remedy=f"{waiting} of {most} wait for the bank to come back: write less, or raise the limit.",
        )


def digest_of(content: bytes) -> bytes:
    """Returns the checksum of a parcel's content."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def is_sound(content: object, digest: object) -> bool:
    """Returns whether what was read from a file is a parcel's content, and matches its checksum."""
    return isinstance(content, bytes) and isinstance(digest, bytes) and digest_of(content) == digest


def events_or_none(content: object) -> list[Event]:
    """Returns the events of a parcel that was laid aside, none where they cannot be decoded."""
    try:
        return decode_events(content) if isinstance(content, bytes) else []
    except MemoryBankError:
        return []
