"""Named arrays and a JSON header in one checked ZIP file: atomic, reproducible, without pickle."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from embodied.errors import DataError
from embodied.paths import write_atomically

HEADER = "header.json"
SUFFIX = ".npy"
LARGEST_BYTES = 2**32
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

    Raises `DataError`, naming the file and what is wrong, for one that is missing, truncated, altered or too large.
    """
    with names_file(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(information.file_size for information in archive.infolist())
            if size > LARGEST_BYTES:
                raise broken(path, f"it holds {size} bytes, more than the {LARGEST_BYTES} allowed")
            members = {name: archive.read(name) for name in archive.namelist()}
            comment = archive.comment
        if comment != _digest(members) or HEADER not in members:
            raise broken(path, "its checksum does not match its content")
        header = members.pop(HEADER)
        return header, {name.removesuffix(SUFFIX): array_from_bytes(content) for name, content in members.items()}


def peek_archive(path: Path, names: Sequence[str]) -> tuple[bytes, dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
    """Returns the header, the arrays called `names`, and the shapes of all arrays, without unpacking the rest.

    Much faster than `read_archive`, but the checksum over the whole file is not verified: for an overview of files that
    are read fully before their content is used. Raises `DataError` for damage that it detects.
    """
    with names_file(path), zipfile.ZipFile(path) as archive:
        inside = [name.removesuffix(SUFFIX) for name in archive.namelist() if name != HEADER]
        arrays = {name: array_from_bytes(archive.read(name + SUFFIX)) for name in names if name in inside}
        return archive.read(HEADER), arrays, {name: _shape(archive, name) for name in inside}


def archive_header(path: Path) -> bytes:
    """Returns `header.json` of an archive, and reads no other part of it. Raises `DataError`."""
    with names_file(path), zipfile.ZipFile(path) as archive:
        return archive.read(HEADER)


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


def array_from_bytes(content: bytes) -> np.ndarray:
    """Returns the read-only array of `.npy` content. Raises `ValueError` for any other."""
    # Not `read_array`, which allocates the size in the header before it checks the content.
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if version != (1, 0) or fortran_order or dtype.hasobject:
        raise ValueError("arrays must be of .npy version 1.0, in C order, without objects")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape)


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


def _digest(members: Mapping[str, bytes]) -> bytes:
    total = hashlib.sha256()
    for name, content in members.items():
        total.update(f"{len(name.encode())} {name} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest().encode()
