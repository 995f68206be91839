"""An event as a row: compact MessagePack by position, and a digest chained to the row before.

A payload is written as an array of its fields in order, without names; trailing defaults are left out, so fields that a
later version adds at the end with a default still read. Poses are packed, with zeros left out; embeddings and tokens
are in a separate column (`bulk`), where the index of moments reads them without decoding an event.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from embodied.errors import DataError, EmbodiedError, MemoryBankError, SceneError, UnknownNameError, unknown_name
from embodied.geometry import Pose
from embodied.memory.schema.codec import plain
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS
from embodied.memory.schema.kinds import EpisodeBegun, MomentStored
from embodied.memory.schema.limits import LARGEST_NUMBER
from embodied.memory.storage.context_codec import decode_context

DIGEST_BYTES = 8
FIRST_DIGEST = bytes(DIGEST_BYTES)
POSE_VALUES = 7
MILLI = 1000.0
_POSES = (Pose, Pose | None)
_WHOLE = (int, int | None)
_ALL = (1 << POSE_VALUES) - 1
_SLOTS = [tuple(bool(mask >> i & 1) for i in range(POSE_VALUES)) for mask in range(_ALL + 1)]
_PACKED = [struct.Struct(f"<{sum(slots)}d") for slots in _SLOTS]
_UNENCODABLE = (
    EmbodiedError, msgspec.ValidationError, TypeError, ValueError, AttributeError, struct.error, OverflowError,
    RecursionError,
)  # fmt: skip
_UNREADABLE = (
    SceneError, UnknownNameError, msgspec.DecodeError, struct.error, LookupError, TypeError, ValueError, RecursionError,
)  # fmt: skip
_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder(enc_hook=plain).encode
COLUMNS = (
    "seq, writer, writer_seq, valid_time_s, received_ms, robot, task, cause, schema_version, kind, body, bulk, digest"
)


class EventRow(NamedTuple):
    """The values covered by `chained_digest`, names as text; `received_ms` is on the bank's clock, milliseconds.

    `cause` is what `context_codec` writes: the causes, and the lease.
    """

    seq: int
    writer: str
    writer_seq: int
    valid_time_s: float
    received_ms: int
    robot: str
    task: str
    cause: bytes | None
    schema_version: int
    kind: str
    body: bytes
    bulk: bytes | None


class _Codec:
    """The encoder and decoder of payloads of one kind."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self.kind = kind
        fields = msgspec.structs.fields(kind)
        self.poses = [i for i, field in enumerate(fields) if field.type in _POSES]
        self.numbers = [field.name for field in fields if field.type in _WHOLE]
        self.flat = {i for i, field in enumerate(fields) if field.type == tuple[float, ...]}  # A matrix by rows.
        self.defaults = [field.default for field in fields]
        array_like = msgspec.defstruct(kind.__name__, [_array_field(field) for field in fields], array_like=True)
        self.read: Callable[[bytes], Any] = msgspec.msgpack.Decoder(array_like).decode

    def encode(self, payload: msgspec.Struct) -> bytes:
        values = list(msgspec.structs.astuple(payload))
        for i, value in enumerate(values):
            if isinstance(value, np.ndarray):
                values[i] = plain(value.ravel() if i in self.flat else value)
        for i in self.poses:
            values[i] = values[i] if values[i] is None and self.defaults[i] is None else pack_pose(values[i])
        while values and values[-1] == self.defaults[len(values) - 1]:
            values.pop()
        return _encode(values)

    def decode(self, body: bytes) -> Any:
        values = msgspec.structs.astuple(self.read(body))
        if self.poses:
            values = list(values)
            for i in self.poses:
                values[i] = None if values[i] is None else unpack_pose(values[i])
        return self.kind(*values)


def encode_payload(payload: msgspec.Struct) -> tuple[Any, bytes, bytes | None]:
    """Returns the payload as it will be decoded, its body and its bulk.

    Raises `MemoryBankError` for a kind that is unknown, for fields of the wrong type, and for a pose that is not finite
    or not of unit length: decoding the written bytes checks them all.
    """
    codec = _CODECS.get(payload.__struct_config__.tag if isinstance(payload, msgspec.Struct) else None)  # type: ignore[arg-type]
    if codec is None or codec.kind is not type(payload):
        raise MemoryBankError(
            "A payload must be of a known kind.", value=type(payload).__name__, remedy=f"Known: {', '.join(KINDS)}."
        )
    bulk = None
    try:
        if isinstance(payload, MomentStored | EpisodeBegun):
            payload, bulk = _without_bulk(payload)
        payload = codec.decode(codec.encode(payload))
        body = codec.encode(payload)
    except _UNENCODABLE as error:
        raise MemoryBankError(
            f"The fields of {codec.kind.__struct_config__.tag!r} must be of their documented types and ranges.",
            value=str(error),
            remedy="Correct the event; nothing was written.",
        ) from error
    for name in codec.numbers:
        _require_64_bits(name, getattr(payload, name))
    return (payload if bulk is None else _with_bulk(payload, bulk)), body, bulk


def decode_payload(kind: str, body: bytes, bulk: bytes | None) -> Any:
    """Returns the payload of a row of this `kind` from its `body` and `bulk`.

    Raises `UnknownNameError` for a kind of another version.
    """
    codec = _CODECS.get(kind)
    if codec is None:
        raise unknown_name("kind of event", kind, KINDS)
    payload = codec.decode(body)
    return payload if bulk is None else _with_bulk(payload, bulk)


def pack_pose(pose: Pose) -> bytes:
    """Returns a pose as a byte that marks which of its seven values are not zero, and those as float64."""
    values = (*pose.position_m, *pose.orientation)
    mask = sum(1 << i for i, value in enumerate(values) if value)
    return bytes((mask,)) + _PACKED[mask].pack(*(value for value in values if value))


def unpack_pose(packed: bytes) -> Pose:
    """Returns the pose of `pack_pose`; raises `PoseError` where it is not finite or not of unit length."""
    mask = packed[0]
    values = _PACKED[mask].unpack_from(packed, 1)
    if mask != _ALL:
        kept = iter(values)
        values = [next(kept) if slot else 0.0 for slot in _SLOTS[mask]]
    x, y, z, i, j, k, w = values
    return Pose((x, y, z), (i, j, k, w))


def row_with_names(values: Sequence[Any], text: Callable[[int], str]) -> EventRow:
    """Returns a row of the table `event` with names in place of ids, and without its digest."""
    seq, writer, writer_seq, valid_time_s, received_ms, robot, task, cause, version, kind, body, bulk, _ = values
    return EventRow(
        seq, text(writer), writer_seq, valid_time_s, received_ms, text(robot), text(task), cause, version, text(kind),
        body, bulk,
    )  # fmt: skip


def chained_digest(previous: bytes, row: EventRow) -> bytes:
    """Returns the digest of a row that follows a row of digest `previous`."""
    return hashlib.blake2b(_encode(row), key=previous, digest_size=DIGEST_BYTES).digest()


def event_from_row(values: Sequence[Any], text: Callable[[int], str]) -> Event:
    """Returns the event of a row of the table; `text` gives the names of its ids.

    Raises `DataError` where it cannot be read: the file is damaged, or of another version.
    """
    seq, writer, writer_seq, valid_time_s, received_ms, robot, task, cause, version, kind, body, bulk, _ = values
    try:
        payload = decode_payload(text(kind), body, bulk)
        context = decode_context(cause)
    except (
        SceneError,
        UnknownNameError,
        msgspec.DecodeError,
        struct.error,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(
            "Every event in the memory bank must be readable.", value=seq, remedy=f"{error} Verify the file."
        ) from error
    return Event(
        text(writer), writer_seq, valid_time_s, payload, text(robot), text(task), context.cause, seq,
        received_ms / MILLI, version, context.subtask, context.epoch, context.claimed,
    )  # fmt: skip


def _without_bulk(payload: MomentStored | EpisodeBegun) -> tuple[msgspec.Struct, bytes | None]:
    """Returns a payload in which the embedding is replaced by its length, and its bytes."""
    bulk = bytes(payload.embedding) + bytes(getattr(payload, "tokens", b""))
    if not bulk:
        return payload, None
    length = _LENGTH.pack(len(payload.embedding))
    if isinstance(payload, MomentStored):
        return msgspec.structs.replace(payload, embedding=length, tokens=b""), bulk
    return msgspec.structs.replace(payload, embedding=length), bulk


def _with_bulk(payload: Any, bulk: bytes) -> Any:
    (length,) = _LENGTH.unpack(payload.embedding)
    if isinstance(payload, MomentStored):
        return msgspec.structs.replace(payload, embedding=bulk[:length], tokens=bulk[length:])
    return msgspec.structs.replace(payload, embedding=bulk)


def _require_64_bits(name: str, value: int | None) -> None:
    if value is not None and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise MemoryBankError(
            "A whole number in an event must fit into 64 bits with a sign.",
            value=f"{name}={value}",
            remedy=f"Write at most {LARGEST_NUMBER}.",
        )


def _array_field(field: msgspec.structs.FieldInfo) -> tuple[Any, ...]:
    """Returns a field of the array-like version of a payload, in which poses are packed."""
    if field.type is Pose:
        return (field.name, bytes)
    if field.type == Pose | None:
        return (field.name, bytes | None, None)
    return (field.name, field.type) if field.required else (field.name, field.type, field.default)


_CODECS = {tag: _Codec(kind.payload) for tag, kind in KINDS.items()}
