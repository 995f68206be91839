"""Named arrays and a JSON header in one checked ZIP file: atomic, reproducible, without pickle."""

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from embodied.errors import DataError
from embodied.paths import write_atomically

HEADER = "header.json"
SUFFIX = ".npy"
LARGEST_BYTES = 2**32
LARGEST_HEADER_BYTES = 16 * 2**20
SMALL_BYTES = 256 * 2**20  # What any archive may unpack to; a larger one must be in proportion to its file.
LARGEST_RATIO = 100  # Rendered RGB-D: about 5.
NPY_HEADER_BYTES = 2**14
CHUNK_BYTES = 2**20
COMPRESSION_LEVEL = 3  # Measured on rendered RGB-D: level 6 takes twice as long for 6 % less.
NO_DATE = (1980, 1, 1, 0, 0, 0)


def write_archive(path: Path, header: bytes, arrays: Mapping[str, np.ndarray]) -> str:
    """Writes `path` whole or not at all; returns the SHA-256 of the file. `numpy.load` opens it too.

    `header` is JSON-able, `arrays` are numeric arrays by name. The same content gives the same bytes. The ZIP's comment
    is the SHA-256 over all names and members. Raises `DataError` for a name that a ZIP cannot hold.
    """
    for name in arrays:
        if not name.isprintable():
            raise DataError("The name of an array must be printable.", value=name)
    members = {HEADER: header, **{name + SUFFIX: bytes_from_array(array) for name, array in arrays.items()}}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
        for name, content in members.items():
            information = zipfile.ZipInfo(name, NO_DATE)
            information.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(information, content, compresslevel=COMPRESSION_LEVEL)
        archive.comment = _digest(members)
    write_atomically(path, stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def read_archive(path: Path) -> tuple[bytes, dict[str, np.ndarray]]:
    """Returns the header and the arrays, read-only, that `write_archive` wrote.

    Raises `DataError`, naming the file and what is wrong, for one that is missing, truncated, altered or too large by
    its directory (`check_sizes`): then nothing is unpacked.
    """
    with names_file(path):
        with zipfile.ZipFile(path) as archive:
            check_sizes(path, archive.infolist())
            members = {member.filename: _unpacked(archive, member) for member in archive.infolist()}
            comment = archive.comment
        if comment != _digest(members) or HEADER not in members:
            raise broken(path, "its checksum does not match its content")
        header = bytes(members.pop(HEADER))
        return header, {name.removesuffix(SUFFIX): array_from_bytes(content) for name, content in members.items()}


def peek_archive(path: Path, names: Sequence[str]) -> tuple[bytes, dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
    """Returns the header, the arrays called `names`, and the shapes of all arrays, without unpacking the rest.

    Much faster than `read_archive`, but the checksum over the whole file is not verified: for an overview of files that
    are read fully before their content is used. Raises `DataError` for damage that it detects.
    """
    with names_file(path), zipfile.ZipFile(path) as archive:
        check_sizes(path, archive.infolist())
        inside = [name.removesuffix(SUFFIX) for name in archive.namelist() if name != HEADER]
        arrays = {name: array_from_bytes(_member(archive, name + SUFFIX)) for name in names if name in inside}
        return bytes(_member(archive, HEADER)), arrays, {name: _shape(archive, name) for name in inside}


def archive_header(path: Path) -> bytes:
    """Returns `header.json` of an archive, and reads no other part of it. Raises `DataError`."""
    with names_file(path), zipfile.ZipFile(path) as archive:
        check_sizes(path, archive.infolist())
        return bytes(_member(archive, HEADER))


def check_sizes(path: Path, members: Sequence[zipfile.ZipInfo], *, headers: Collection[str] = (HEADER,)) -> None:
    """Raises `DataError` where the file at `path` would unpack to too much, by the directory of its `members`.

    That is more than 4 GiB, more than 256 MiB and 100 times the file itself, or more than 16 MiB of one of the
    `headers`.
    """
    size = sum(member.file_size for member in members)
    most = min(LARGEST_BYTES, max(SMALL_BYTES, LARGEST_RATIO * path.stat().st_size))
    if size > most:
        raise broken(path, f"it holds {size} bytes, more than the {most} allowed")
    for member in members:
        if member.filename in headers and member.file_size > LARGEST_HEADER_BYTES:
            raise broken(
                path,
                f"its {member.filename} has {member.file_size} bytes, more than the {LARGEST_HEADER_BYTES} allowed",
            )


def check_content(archive: zipfile.ZipFile) -> None:
    """Unpacks all members in parts, keeping none, so that the checksums of the ZIP are checked. Raises as `zipfile`."""
    for member in archive.infolist():
        with archive.open(member) as stream:
            while stream.read(CHUNK_BYTES):
                pass


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, as `write_archive` does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def broken(path: Path, reason: str) -> DataError:
    """Returns the error for a file that cannot be used, and why."""
    return DataError(
        "A recorded file must be whole, unaltered and of the documented form.",
        value=str(path),
        remedy=f"Wrong here: {reason}. Record it again, or take it from a copy.",
    )


def bytes_from_array(array: np.ndarray) -> bytes:
    """Returns `array` as `.npy`, version 1.0, in C order, without pickle."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def array_from_bytes(content: bytes | memoryview) -> np.ndarray:
    """Returns the read-only array of `.npy` content. Raises `ValueError` for any other."""
    # Not `read_array`, which allocates the size in the header before it checks the content.
    shape, dtype, offset = _npy_header(content[:NPY_HEADER_BYTES])
    return np.frombuffer(content, dtype, offset=offset).reshape(shape)


def _npy_header(start: bytes | memoryview) -> tuple[tuple[int, ...], np.dtype, int]:
    """Returns the shape and dtype of `.npy` content that begins with `start`, and where its values begin."""
    stream = io.BytesIO(start)
    version = np.lib.format.read_magic(stream)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if version != (1, 0) or fortran_order or dtype.hasobject:
        raise ValueError("arrays must be of .npy version 1.0, in C order, without objects")
    return shape, dtype, stream.tell()


def _member(archive: zipfile.ZipFile, name: str) -> memoryview:
    return _unpacked(archive, archive.getinfo(name))


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> memoryview:
    """Returns the content of a member, read in parts: at most the size in the directory is ever unpacked.

    Raises `ValueError` for an array whose header does not say that size, before it is unpacked.
    """
    with archive.open(member) as stream:
        start = stream.read(NPY_HEADER_BYTES)
        if member.filename.endswith(SUFFIX):
            shape, dtype, offset = _npy_header(start)
            if offset + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"{member.filename} does not have the size of its shape {shape}")
        content = memoryview(bytearray(member.file_size))
        content[: len(start)] = start
        done = len(start)
        while part := stream.read(min(CHUNK_BYTES, member.file_size - done)):
            content[done : done + len(part)] = part
            done += len(part)
    if done != member.file_size:
        raise ValueError(f"{member.filename} ends after {done} of {member.file_size} bytes")
    return content.toreadonly()


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name + SUFFIX) as stream:
        np.lib.format.read_magic(stream)
        return np.lib.format.read_array_header_1_0(stream)[0]


@contextmanager
def names_file(path: Path) -> Iterator[None]:
    """Converts errors that occur while `path` is read into a `DataError` that names it."""
    try:
        yield
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
        msgspec.DecodeError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise broken(path, str(error)) from error


def _digest(members: Mapping[str, bytes | memoryview]) -> bytes:
    total = hashlib.sha256()
    for name, content in members.items():
        total.update(f"{len(name.encode())} {name} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest().encode()
