"""Checks of an event that are independent of the state of the bank; every refusal states rule, value and remedy."""

import sys
from collections.abc import Iterable, Mapping, Set
from typing import Any

import msgspec

from embodied.errors import MemoryBankError
from embodied.memory.schema.codec import with_plain_numbers
from embodied.memory.schema.event import SCHEMA_VERSION, Event
from embodied.memory.schema.kind_table import KIND_OF_PAYLOAD, KINDS
from embodied.memory.schema.limits import LARGEST_NUMBER, LONGEST_NAME, MOST_NAMES, check_name, check_names, check_sound

LARGEST_TIME_S = sys.float_info.max


def decode_event(raw: bytes | str) -> Event:
    """Returns the event of JSON text.

    Raises `MemoryBankError`, with the position, for an unknown kind, field or type.
    """
    try:
        event = msgspec.json.decode(raw, type=Event)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MemoryBankError(
            "An event must be JSON of a known kind with its documented fields.",
            value=str(error),
            remedy=f"Known kinds: {', '.join(KINDS)}.",
        ) from error
    return event


def as_events(appended: Any) -> list[Event]:
    """Returns the appended events as a list, a single event being a list of one, with NumPy numbers as plain ones.

    Raises `MemoryBankError` for other values, and for sets and mappings: the events of a writer have an order.
    """
    if isinstance(appended, Event):
        return [with_plain_numbers(appended)]
    in_order = isinstance(appended, Iterable) and not isinstance(appended, str | bytes | Set | Mapping)
    events: list[Any] = list(appended) if in_order else [appended]
    for event in events:
        if not isinstance(event, Event) or not isinstance(event.writer, str):
            raise MemoryBankError(
                "Only events can be appended: one, or a sequence of them.",
                value=event,
                remedy="Write Event(writer, writer_seq, valid_time_s, payload); `decode_event` reads JSON.",
            )
    return [with_plain_numbers(event) for event in events]


def check_payload(event: Event) -> None:
    """Raises `MemoryBankError` unless the payload's values are valid; their types are checked by `row_codec`."""
    check_names(event.payload)
    KIND_OF_PAYLOAD[type(event.payload)].check(event, event.payload)


def _check_version(version: int) -> None:
    if not 1 <= version <= SCHEMA_VERSION:
        raise MemoryBankError(
            "The schema version of an event must be one that this code knows.",
            value=version,
            remedy=f"Known: 1 to {SCHEMA_VERSION}. Update this installation, or write with an older one.",
        )


def check_envelope(event: Event) -> None:
    """Raises `MemoryBankError` unless all fields beside the payload are valid."""
    texts = (event.writer, event.robot, event.task, event.subtask)
    causes = event.cause if isinstance(event.cause, tuple) else (type(event.cause).__name__,)
    numbers = (event.writer_seq, event.schema_version, event.epoch, *causes)
    if not all(map(_is_text, texts)) or not all(type(number) is int for number in numbers):
        raise MemoryBankError(
            "Names of an event must be text, its numbers whole.",
            value=(*texts, *numbers),
            remedy="Writer, robot, task and subtask are Unicode text; `cause` is a tuple of sequence numbers.",
        )
    for name in texts:
        if len(name) > LONGEST_NAME:
            check_name("writer, robot, task or subtask", name)
        check_sound("writer, robot, task or subtask", name)
    if len(causes) > MOST_NAMES:
        raise MemoryBankError(
            f"An event must not have more than {MOST_NAMES} causes.", value=len(causes), remedy="Name the last ones."
        )
    if not event.writer or not 1 <= event.writer_seq <= LARGEST_NUMBER:
        raise MemoryBankError(
            "An event must name its writer and count from 1.",
            value=(event.writer, event.writer_seq),
            remedy="Number a writer's events 1, 2, 3, ...",
        )
    if type(event.valid_time_s) not in (float, int) or not abs(event.valid_time_s) <= LARGEST_TIME_S:
        raise MemoryBankError(
            "A valid time must be a finite number.", value=event.valid_time_s, remedy="Use the site clock, seconds."
        )
    if event.seq or event.received_time_s or event.claimed is not False:
        raise MemoryBankError(
            "The bank itself sets the order and the received time of an event, and whether it is a claim.",
            value=(event.seq, event.received_time_s, event.claimed),
            remedy="Leave `seq` and `received_time_s` at 0, and `claimed` false.",
        )
    _check_version(event.schema_version)
    _check_lease(event)


def _check_lease(event: Event) -> None:
    """Raises `MemoryBankError` unless an event names no lease, or one wholly: subtask, epoch and robot."""
    if bool(event.subtask) != (event.epoch > 0) or not 0 <= event.epoch <= LARGEST_NUMBER:
        raise MemoryBankError(
            "An event of a leased subtask must name the subtask and the epoch of its lease, from 1.",
            value=(event.subtask, event.epoch),
            remedy="Give both as the lease has them, or neither.",
        )
    if event.subtask and not event.robot:
        raise MemoryBankError(
            "An event of a leased subtask must name the robot that has the lease.", value=(event.subtask, event.robot)
        )


def _is_text(value: object) -> bool:
    """Returns whether a value is text that can be written: half of a surrogate pair cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value))
