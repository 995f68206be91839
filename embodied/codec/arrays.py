"""Numpy arrays and scalars as msgpack maps with marker keys, in the dialect that openpi's clients and servers use.

An array is the map `__ndarray__`: true, `data`: its bytes in C order, `dtype`: such as `<f4`, `shape`: lengths; a numpy
scalar is `__npgeneric__`: true, `data`: a plain number, `dtype`. The keys are binary, and read as text, too.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from embodied.errors import CodecError

ARRAY, SCALAR = "__ndarray__", "__npgeneric__"
MOST_DIMENSIONS = 16
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_DTYPES = {
    f"{order}{kind}{size}": np.dtype(f"{order}{kind}{size}")
    for kind, sizes in _SIZES.items()
    for size in sizes
    for order in ("|", "<", ">", "=")
    if size == 1 or order != "|"
}


def is_marked(value: Mapping[Any, Any]) -> bool:
    """Returns whether a map of text keys stands for an array or a scalar."""
    return ARRAY in value or SCALAR in value


def require_numbers(dtype: np.dtype, path: str) -> None:
    """Raises `CodecError` unless `dtype` is bool, or an integer or float of at most 8 bytes."""
    if dtype.kind not in _SIZES or dtype.itemsize not in _SIZES[dtype.kind]:
        raise CodecError(
            f"Array {path!r} must hold bools, integers or floats of at most 64 bits.",
            value=str(dtype),
            remedy="Convert it with `astype`; objects, texts and structures do not cross.",
        )


def array_to_map(array: np.ndarray) -> dict[bytes, Any]:
    """Returns the map of an array, little-endian and in C order; its bytes are shared where they already are so."""
    shape = array.shape
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    # A view of the bytes saves a copy of every image.
    data = array.reshape(-1).view(np.uint8).data if array.size else b""
    return {ARRAY.encode(): True, b"data": data, b"dtype": array.dtype.str, b"shape": list(shape)}


def scalar_to_map(scalar: np.generic) -> dict[bytes, Any]:
    """Returns the map of a numpy scalar."""
    return {SCALAR.encode(): True, b"data": scalar.item(), b"dtype": scalar.dtype.newbyteorder("<").str}


def from_map(value: Mapping[str, Any], *, most_bytes: int) -> np.ndarray | np.generic:
    """Returns the array or scalar of a marked map: an array is a read-only view of the message's bytes.

    Arrays of the other byte order are converted. Raises `CodecError`, before anything is allocated, unless the dtype is
    one of bools, integers and floats, and the bytes are as many as the shape needs, and at most `most_bytes`.
    """
    dtype = _dtype(value.get("dtype"))
    if SCALAR in value:
        return _scalar(value.get("data"), dtype)
    data, shape = value.get("data"), value.get("shape")
    if not isinstance(shape, list | tuple) or len(shape) > MOST_DIMENSIONS:
        raise CodecError(f"The shape of an array must list at most {MOST_DIMENSIONS} lengths.", value=_brief(shape))
    if any(type(length) is not int or length < 0 for length in shape):
        raise CodecError("The lengths of an array must be integers of at least 0.", value=_brief(shape))
    if prod(max(1, length) for length in shape) * dtype.itemsize > most_bytes:
        raise CodecError(f"An array must have at most {most_bytes} bytes.", value=_brief(shape))
    needed = prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != needed:
        raise CodecError(
            f"An array {_brief(shape)} of {dtype} must have {needed} bytes.",
            value=len(data) if isinstance(data, bytes) else type(data).__name__,
        )
    if dtype.kind == "b" and data.count(0) + data.count(1) < needed:
        raise CodecError("The bytes of an array of bools must be 0 or 1.")
    array = np.ndarray(shape, dtype, data)
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
        array.flags.writeable = False
    return array


def _dtype(name: object) -> np.dtype:
    found = _DTYPES.get(name) if isinstance(name, str) else None
    if found is None:
        raise CodecError("The dtype of an array must be that of bools, integers or floats.", value=_brief(name))
    return found


def _scalar(data: object, dtype: np.dtype) -> np.generic:
    wanted = {"b": bool, "i": int, "u": int, "f": (int, float)}[dtype.kind]
    if not isinstance(data, wanted) or (dtype.kind != "b" and isinstance(data, bool)):
        raise CodecError(f"A scalar of {dtype} must be a plain number of that kind.", value=_brief(data))
    try:
        return dtype.newbyteorder("=").type(data)
    except OverflowError as error:
        raise CodecError(f"A scalar of {dtype} must be within its range.", value=_brief(data)) from error


def _brief(value: object) -> str:
    return f"{value!r:.80}"
