"""The causes of an event and the lease under which it was written, as one column of its row.

Events without a lease have an array of their causes, as before leases were written, or nothing.
"""

import msgspec

from embodied.memory.schema.event import Event

_MAP, _MAP_BITS = 0x80, 0xF0  # The first byte of a small map in MessagePack.


class Context(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Fields of `Event` with their short names in files."""

    cause: tuple[int, ...] = msgspec.field(default=(), name="c")
    subtask: str = msgspec.field(default="", name="s")
    epoch: int = msgspec.field(default=0, name="e")
    claimed: bool = msgspec.field(default=False, name="k")


def encode_context(event: Event) -> bytes | None:
    """Returns causes and lease of an event as bytes, None where it has neither."""
    if not event.subtask:
        return _encode(event.cause) if event.cause else None
    return _encode(Context(event.cause, event.subtask, event.epoch, event.claimed))


def decode_context(content: bytes | None) -> Context:
    """Returns what `encode_context` has written. Raises `msgspec.DecodeError` for other bytes."""
    if not content:
        return _NOTHING
    return _decode(content) if content[0] & _MAP_BITS == _MAP else Context(_decode_cause(content))


_NOTHING = Context()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Context).decode
_decode_cause = msgspec.msgpack.Decoder(tuple[int, ...]).decode
