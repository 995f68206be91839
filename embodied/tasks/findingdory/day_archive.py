"""Writes a lived day to one checked archive, without pickle, and reads it back exactly."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from embodied.archive import broken, names_file, read_archive, write_archive
from embodied.errors import DataError, EmbodiedError
from embodied.scenes.house import House
from embodied.tasks.findingdory.day import CodedImages, Day, PickAndPlace
from embodied.tasks.findingdory.sightings import Sightings

FORMAT = "findingdory day"
FORMAT_VERSION = 1
_COLUMNS: Mapping[str, str] = {
    "poses": "<f8",
    "modes": "|u1",
    "actions": "|u1",
    "rooms": "<i2",
    "held": "<i2",
    "frames": "<i4",
}
_SIGHTINGS = ("seen", "frame_seen")
_IMAGES = ("rgb", "depth", "frame_rgb")


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the archive's JSON header holds; sizes (width, height) by name of sightings and images."""

    format: str
    version: int
    seed: int
    house: House
    interactions: tuple[PickAndPlace, ...]
    names: dict[str, tuple[str, ...]]
    sizes_px: dict[str, tuple[int, int]]
    renderer: str
    extra: dict[str, str]


def write_day(path: Path, day: Day) -> str:
    """Writes `day` to `path` whole or not at all; returns the SHA-256 of the file.

    The same day gives the same bytes. `numpy.load` opens it too.
    """
    arrays = {name: getattr(day, name).astype(dtype) for name, dtype in _COLUMNS.items()}
    names, sizes = {}, {}
    for name in _SIGHTINGS:
        seen: Sightings = getattr(day, name)
        names[name], sizes[name] = seen.names, seen.image_px
        arrays |= {
            f"{name}.first": seen.first.astype("<i8"),
            f"{name}.things": seen.things.astype("<i2"),
            f"{name}.pixels": seen.pixels.astype("<i4"),
        }
    for name in _IMAGES:
        images: CodedImages | None = getattr(day, name)
        if images is not None:
            sizes[name] = (images.width_px, images.height_px)
            first = np.concatenate([[0], np.cumsum([len(one) for one in images.coded])])
            arrays |= {
                f"{name}.first": first.astype("<i8"),
                f"{name}.coded": np.frombuffer(b"".join(images.coded), np.uint8),
            }
    header = _Header(
        FORMAT,
        FORMAT_VERSION,
        day.seed,
        day.house,
        day.interactions,
        names,
        sizes,
        day.renderer,
        dict(sorted(day.extra.items())),
    )
    return write_archive(path, msgspec.json.encode(header), arrays)


def read_day(path: Path) -> Day:
    """Returns the day that `write_day` wrote.

    Raises `DataError`, naming the file and what is wrong, for one that is missing, damaged or not a day.
    """
    content, arrays = read_archive(path)
    with names_file(path):
        header = msgspec.json.decode(content, type=_Header)
        if (header.format, header.version) != (FORMAT, FORMAT_VERSION):
            raise broken(path, f"it is {header.format!r} of version {header.version}, not a day that this one reads")
        try:
            return _day(header, arrays)
        except EmbodiedError as error:
            raise broken(path, str(error)) from error


def _day(header: _Header, arrays: Mapping[str, np.ndarray]) -> Day:
    for name, dtype in _COLUMNS.items():
        if arrays[name].dtype != np.dtype(dtype):
            raise DataError(f"The {name} of a day must be {dtype}.", value=arrays[name].dtype.str)
    parts: dict[str, Any] = {name: arrays[name] for name in _COLUMNS}
    for name in _SIGHTINGS:
        columns = (arrays[f"{name}.{column}"] for column in ("first", "things", "pixels"))
        parts[name] = Sightings(header.names[name], header.sizes_px[name], *columns)
    for name in _IMAGES:
        if name in header.sizes_px:
            parts[name] = _images(header.sizes_px[name], name, arrays)
    return Day(
        house=header.house,
        seed=header.seed,
        interactions=header.interactions,
        renderer=header.renderer,
        extra=header.extra,
        **parts,
    )


def _images(size_px: tuple[int, int], name: str, arrays: Mapping[str, np.ndarray]) -> CodedImages:
    first, coded = arrays[f"{name}.first"].tolist(), arrays[f"{name}.coded"].tobytes()
    if first[0] != 0 or first[-1] != len(coded) or any(a > b for a, b in pairwise(first)):
        raise DataError(f"The images {name} must be divided among their steps.", value=len(first))
    parts = [coded[begin:end] for begin, end in pairwise(first)]
    return CodedImages(*size_px, tuple(parts))
