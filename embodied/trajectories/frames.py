"""Columns of images, each frame coded by itself, so that any of them can be read without the others."""

import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from embodied.errors import DataError
from embodied.trajectories.features import OBSERVATION, Feature

LEVEL = 6
LARGEST_FRAME_BYTES = 256 * 2**20
WEBP_METHOD = 2  # Measured on rendered frames: a fifth smaller than 0 in twice the time; 4 gains nothing more.
IMAGES = (f"{OBSERVATION}.rgb.", f"{OBSERVATION}.depth_m.")
STEPS = np.iinfo(np.uint16).max


class Codec(StrEnum):
    """How one frame is encoded as bytes.

    `deflate` is zlib over the C-ordered little-endian values. `deflate16` is the same over uint16 multiples of the
    feature's precision, where values out of range are stored as 0, unknown. `webp` is lossless WebP of uint8 (height,
    width, 3).
    """

    DEFLATE = "deflate"
    DEFLATE16 = "deflate16"
    WEBP = "webp"


@dataclass(frozen=True, eq=False)
class Frames:
    """A column whose rows are coded one by one."""

    codec: Codec
    coded: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.coded)


def is_image(feature: Feature) -> bool:
    """Returns whether the rows of a column are images, which are coded one by one."""
    return feature.name.startswith(IMAGES)


def codec_of(feature: Feature) -> Codec:
    """Returns how frames of `feature` are coded when they are written."""
    field = feature.field
    if feature.precision:
        return Codec.DEFLATE16
    return Codec.WEBP if field.dtype == "uint8" and field.shape[2:] == (3,) else Codec.DEFLATE


def encode(feature: Feature, rows: Iterable[np.ndarray]) -> Frames:
    """Returns `rows`, each an array of the feature's shape and dtype, coded as `codec_of` says."""
    return Frames(codec_of(feature), tuple(encode_frame(feature, row) for row in rows))


def encode_frame(feature: Feature, frame: np.ndarray) -> bytes:
    """Returns one row, an array of the feature's shape and dtype, coded as `codec_of` says."""
    return _encode(codec_of(feature), frame, feature)


def decode(feature: Feature, codec: Codec, coded: Sequence[bytes]) -> np.ndarray:
    """Returns the frames (rows, *shape) of the dtype of `feature` from the bytes `coded` with `codec`.

    Raises `DataError` for other bytes.
    """
    shape, dtype = feature.field.shape, np.dtype(feature.field.dtype)
    if feature.field.size * dtype.itemsize > LARGEST_FRAME_BYTES:
        raise DataError(f"A frame of {feature.name!r} must have at most {LARGEST_FRAME_BYTES} bytes.", value=shape)
    frames = np.empty((len(coded), *shape), dtype)
    for index, content in enumerate(coded):
        frames[index] = _decode(codec, content, feature)
    return frames


def _encode(codec: Codec, frame: np.ndarray, feature: Feature) -> bytes:
    if codec is Codec.WEBP:
        from PIL import Image  # Loaded only where images are stored or read.

        stream = io.BytesIO()
        Image.fromarray(frame).save(stream, "WEBP", lossless=True, method=WEBP_METHOD)
        return stream.getvalue()
    if codec is Codec.DEFLATE16:
        steps = np.round(frame / np.float64(feature.precision))
        frame = np.where(steps <= STEPS, steps, 0).astype("<u2")
    return zlib.compress(np.ascontiguousarray(frame, frame.dtype.newbyteorder("<")).tobytes(), LEVEL)


def _decode(codec: Codec, content: bytes, feature: Feature) -> np.ndarray:
    shape, dtype = feature.field.shape, np.dtype(feature.field.dtype).newbyteorder("<")
    if codec is Codec.WEBP:
        return _picture(content, feature)
    stored = np.dtype("<u2") if codec is Codec.DEFLATE16 else dtype
    unpacked = zlib.decompressobj().decompress(content, feature.field.size * stored.itemsize + 1)
    frame = np.frombuffer(unpacked, stored)
    if frame.size != feature.field.size or len(unpacked) % stored.itemsize:
        raise DataError(f"A frame of {feature.name!r} must have the declared size.", value=len(unpacked))
    frame = frame.reshape(shape)
    return frame * feature.precision if codec is Codec.DEFLATE16 else frame


def _picture(content: bytes, feature: Feature) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
        if (image.height, image.width, 3) != feature.field.shape or image.mode != "RGB":
            raise DataError(f"A frame of {feature.name!r} must have the declared size.", value=image.size)
        return np.asarray(image)
