"""Events as bytes between processes and in outboxes: MessagePack, checked against the vocabulary when read."""

from collections.abc import Sequence

import msgspec
import numpy as np

from embodied.errors import MemoryBankError
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS

_NUMPY = (np.integer, np.floating)


def encode_events(events: Sequence[Event]) -> bytes:
    """Returns events as bytes. Raises `MemoryBankError` for values that could not be decoded as events."""
    try:
        return _encode(events)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MemoryBankError("Events must be of documented types.", value=str(error)) from error


def decode_events(content: bytes) -> list[Event]:
    """Returns the events of `encode_events`.

    Raises `MemoryBankError` for unknown kinds, fields of the wrong type, poses that are not finite, cut bytes, and for
    what is nested too deeply.
    """
    try:
        return _decode(content)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise MemoryBankError(
            "Events must be of known kinds, with fields of their documented types and ranges.",
            value=str(error),
            remedy=f"Known kinds: {', '.join(KINDS)}.",
        ) from error


def with_plain_numbers(event: Event) -> Event:
    """Returns an event whose envelope has plain numbers in place of NumPy's; its payload stays as it is."""
    cause = event.cause if isinstance(event.cause, tuple) else ()
    numbers = event.writer_seq, event.valid_time_s, event.epoch, *cause
    if not any(isinstance(number, _NUMPY) for number in numbers):
        return event
    writer_seq, valid_time_s, epoch, *causes = (plain(one) if isinstance(one, _NUMPY) else one for one in numbers)
    return msgspec.structs.replace(
        event,
        writer_seq=writer_seq,
        valid_time_s=valid_time_s,
        epoch=epoch,
        cause=tuple(causes) if cause else event.cause,
    )


def plain(value: object) -> bool | int | float | str | list[object]:
    """Returns a NumPy number, text or array as a plain one, for encoders; an array as nested lists.

    Raises `TypeError` for other values.
    """
    for kind, known in ((bool, np.bool_), (int, np.integer), (float, np.floating), (str, np.str_)):
        if isinstance(value, known):
            return kind(value)
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "biufU":
        return value.tolist()
    raise TypeError(f"A {type(value).__name__} cannot be written.")


_encode = msgspec.msgpack.Encoder(enc_hook=plain).encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode
