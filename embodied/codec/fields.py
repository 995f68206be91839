"""Frozen dataclasses as mappings of their fields, and back with every type checked."""

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

import msgspec
import numpy as np

from embodied.errors import CodecError

T = TypeVar("T")


def shallow(value: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass by name; enums become their values, everything else stays as it is."""
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: inner.value if isinstance(inner, Enum) else inner for name, inner in found.items()}


def built(kind: type[T], plain: object, path: str) -> T:
    """Returns a `kind`, a dataclass or a type of its fields, from the value `plain`.

    Raises `CodecError` that names `path` for missing fields and values of the wrong type, and what `kind` raises for
    values that cannot be.
    """
    try:
        return msgspec.convert(plain, type=kind, dec_hook=_array, strict=True)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise CodecError(f"{path!r} must have the documented fields.", value=f"{error!s:.200}") from error


def mapping(plain: object, path: str) -> Mapping[str, Any]:
    """Returns `plain`, known to be a mapping. Raises `CodecError` that names `path`."""
    if isinstance(plain, Mapping):
        return plain
    raise CodecError(f"{path!r} must be a mapping.", value=type(plain).__name__)


def sequence(plain: object, path: str) -> tuple[Any, ...]:
    """Returns `plain`, known to be a sequence, as a tuple. Raises `CodecError` that names `path`."""
    if isinstance(plain, list | tuple):
        return tuple(plain)
    raise CodecError(f"{path!r} must be a sequence.", value=type(plain).__name__)


def field_of(plain: Mapping[str, Any], name: str, path: str) -> Any:
    """Returns the entry `name` of the mapping `plain`. Raises `CodecError` that gives `path` where it is missing."""
    if name not in plain:
        raise CodecError(f"{path!r} must have the field {name!r}.", value=f"{sorted(plain)!r:.200}")
    return plain[name]


def require_array(array: object, path: str, *, dtype: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Returns `array`. Raises `CodecError` unless it is of `dtype` and `shape`, None for any length.

    `path` is named in the message.
    """
    fits = (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.ndim == len(shape)
        and all(wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True))
    )
    if not fits or not isinstance(array, np.ndarray):
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise CodecError(f"{path!r} must be an array of {dtype} and shape {shape}, None for any length.", value=got)
    return array


def _array(kind: type, value: object) -> Any:
    if kind is np.ndarray and isinstance(value, np.ndarray):
        return value
    raise ValueError(f"must be an array, not a {type(value).__name__}")
