"""Events as bytes between processes and in outboxes: MessagePack, checked against the vocabulary when read."""

from collections.abc import Sequence

import msgspec

from embodied.errors import MemoryBankError
from embodied.memory.stem.event import Event
from embodied.memory.stem.kinds import KINDS

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode


def encode_events(events: Sequence[Event]) -> bytes:
    """Returns events as bytes. Raises `MemoryBankError` for what is no event and could not be read again."""
    try:
        return _encode(events)
    except (TypeError, ValueError, OverflowError) as error:
        raise MemoryBankError("Events must be of documented types.", value=str(error)) from error


def decode_events(content: bytes) -> list[Event]:
    """Returns the events of `encode_events`.

    Raises `MemoryBankError` for unknown kinds, fields of the wrong type, poses that are not finite, and cut bytes.
    """
    try:
        return _decode(content)
    except msgspec.DecodeError as error:
        raise MemoryBankError(
            "Events must be of known kinds, with fields of their documented types and ranges.",
            value=str(error),
            remedy=f"Known kinds: {', '.join(KINDS)}.",
        ) from error
