"""Plain values and arrays as msgpack: None, bools, numbers, texts, bytes, numpy, sequences, and mappings of names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from embodied.codec.arrays import ARRAY, SCALAR, array_to_map, from_map, is_marked, require_numbers, scalar_to_map
from embodied.errors import CodecError

LOWEST_INTEGER, INTEGER_END = -(2**63), 2**64
_SCALARS = (bool, float, str, bytes)
ENTRIES_OF_ARRAY = 10


@dataclass(frozen=True)
class CodecLimits:
    """What one message may cost its reader.

    Attributes:
        message_bytes: Its length, and the length of each array within.
        values: How many values it holds, all its mappings and sequences together; an array counts as one.
        entries: How many values one mapping or sequence holds.
        depth: How deep mappings and sequences lie within each other.
    """

    message_bytes: int = 64 * 2**20
    values: int = 100_000
    entries: int = 16_384
    depth: int = 24

    def __post_init__(self) -> None:
        if min(self.message_bytes, self.values, self.entries, self.depth) < 1:
            raise CodecError("The limits of a message must be positive.", value=self)


DEFAULT_LIMITS = CodecLimits()


def encode(value: object, limits: CodecLimits = DEFAULT_LIMITS) -> bytes:
    """Returns a plain value as msgpack. Raises `CodecError` for what `decode` would refuse.

    Arrays are written in the dialect of `codec.arrays`. Lists and tuples are the same: `decode` returns tuples.
    """
    _Check(limits).require(value, "message", lists=True)
    content = _packed(value)
    if len(content) > limits.message_bytes:
        raise CodecError(f"A message must have at most {limits.message_bytes} bytes.", value=len(content))
    return content


def decode(content: bytes | bytearray | memoryview, limits: CodecLimits = DEFAULT_LIMITS) -> Any:
    """Returns the value of a message: sequences as tuples, arrays as read-only views of `content`, keys as text.

    Raises `CodecError` for whatever `encode` does not write: other types, keys that are no text, arrays whose bytes do
    not fit their shape, and messages beyond `limits`, before these are allocated.
    """
    if len(content) > limits.message_bytes:
        raise CodecError(f"A message must have at most {limits.message_bytes} bytes.", value=len(content))
    reader = _Reader(limits)
    try:
        value = msgpack.unpackb(
            content,
            raw=False,
            use_list=False,
            object_hook=reader.mapping,
            list_hook=reader.sequence,
            ext_hook=_refuse_extension,
            max_array_len=limits.entries,
            max_map_len=limits.entries,
            max_str_len=len(content),
            max_bin_len=len(content),
            max_ext_len=16,
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError("A message must be whole, well-formed msgpack.", value=f"{error!s:.200}") from error
    _Check(limits).require(value, "message", lists=True)
    return value


def require_carry(carry: object) -> None:
    """Raises `CodecError` unless `carry` is None, or a mapping of names to arrays and plain values.

    Its sequences must be tuples: then a policy gets back the same whether or not its carry has crossed processes.
    """
    if carry is None:
        return
    if not isinstance(carry, Mapping):
        raise CodecError(
            "The carry of a policy must be a mapping of names to arrays and plain values, or None.",
            value=type(carry).__name__,
            remedy="Return a dict, such as {'turn': 3, 'seen': array}; convert tensors with `.numpy()`.",
        )
    _Check(_CARRY_LIMITS).require(carry, "carry", lists=False)


class _Check:
    """Counts the values of one message and refuses those that do not cross."""

    def __init__(self, limits: CodecLimits) -> None:
        self._limits = limits
        self._left = limits.values

    def require(self, value: object, path: str, *, lists: bool, depth: int = 0) -> None:
        kind = type(value)
        if value is None or kind in _SCALARS:
            return
        if kind is int:
            if not LOWEST_INTEGER <= value < INTEGER_END:  # type: ignore[operator]
                raise CodecError(f"Integer {path!r} must fit 64 bits.", value=value)
        elif isinstance(value, np.ndarray | np.generic):
            require_numbers(value.dtype, path)
        elif isinstance(value, Mapping):
            self._enter(len(value), path, depth)
            for name, inner in value.items():
                _require_name(name, path)
                self.require(inner, f"{path}.{name}", lists=lists, depth=depth + 1)
        elif kind is tuple or (kind is list and lists):
            self._enter(len(value), path, depth)  # type: ignore[arg-type]
            for place, inner in enumerate(value):  # type: ignore[arg-type]
                self.require(inner, f"{path}[{place}]", lists=lists, depth=depth + 1)
        else:
            raise CodecError(
                f"Value {path!r} must be an array, a plain value, or a mapping or tuple of them.",
                value=kind.__name__,
                remedy="Turn lists into tuples." if kind is list else "Write its fields as a mapping of names.",
            )

    def _enter(self, entries: int, path: str, depth: int) -> None:
        limits = self._limits
        self._left -= entries
        if depth >= limits.depth or entries > limits.entries or self._left < 0:
            raise CodecError(
                f"A message must hold at most {limits.values} values, {limits.entries} in one mapping or sequence, "
                f"{limits.depth} levels deep.",
                value=f"{path:.80}",
                remedy="Put numbers into an array, which counts as one value.",
            )


class _Reader:
    """Turns maps into mappings and arrays while a message is read, and stops it where it holds too much."""

    def __init__(self, limits: CodecLimits) -> None:
        self._limits = limits
        # An array is read as a map, its entries and its lengths; `_Check` counts it as one value afterwards.
        self._left = ENTRIES_OF_ARRAY * limits.values

    def mapping(self, found: dict[Any, Any]) -> object:
        self._count(len(found))
        value = {_text(key): inner for key, inner in found.items()}
        return from_map(value, most_bytes=self._limits.message_bytes) if is_marked(value) else value

    def sequence(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        self._count(len(found))
        return found

    def _count(self, entries: int) -> None:
        self._left -= entries + 1  # Empty ones take memory and time, too.
        if self._left < 0:
            raise CodecError(f"A message must hold at most {self._limits.values} values.")


def _require_name(name: object, path: str) -> None:
    if type(name) is not str or name in (ARRAY, SCALAR):
        raise CodecError(
            f"The keys of {path!r} must be texts, and none of the markers {ARRAY!r} and {SCALAR!r}.", value=name
        )


def _text(key: object) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _refuse_extension(code: int, _content: bytes) -> None:
    raise CodecError("A message must hold no extension types.", value=code)


def _default(value: object) -> Any:
    # Types are checked strictly: otherwise numpy's float64 would be written as the float that it is a subclass of.
    if isinstance(value, np.ndarray):
        return array_to_map(value)
    if isinstance(value, np.generic):
        return scalar_to_map(value)
    return dict(value) if isinstance(value, Mapping) else list(value)  # type: ignore[call-overload]


def _packed(value: object) -> bytes:
    try:
        return msgpack.Packer(default=_default, use_bin_type=True, strict_types=True).pack(value)
    except (ValueError, UnicodeError, OverflowError) as error:
        raise CodecError("A message must be such that msgpack can hold it.", value=f"{error!s:.200}") from error


_CARRY_LIMITS = CodecLimits(message_bytes=2**40)
