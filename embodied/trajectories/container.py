"""A ZIP whose members are checked one by one, so that a part of it can be read without the rest.

`numpy.load` opens it too. `header.json` is the caller's; an array is one `.npy` member; a column of frames is
three: `<name>.npy`, the coded frames one after another, not compressed again, `<name>.offsets.npy`, uint64
(frames + 1,), where each begins, and `<name>.sha256.npy`, uint8 (frames, 32). `index.json` holds the SHA-256 of every
other member but the coded frames, which are covered by the last; the ZIP's directory holds, as the comment of
`index.json`, the SHA-256 of that. (A comment of the whole ZIP would make readers fetch its last 64 kB.)
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from embodied.archive import (
    COMPRESSION_LEVEL,
    HEADER,
    NO_DATE,
    SUFFIX,
    array_from_bytes,
    broken,
    bytes_from_array,
    check_content,
    check_sizes,
    names_file,
)
from embodied.errors import DataError
from embodied.paths import write_atomically

INDEX = "index.json"
OFFSETS, DIGESTS = ".offsets", ".sha256"
LOCAL_HEADER_BYTES, LOCAL_NAME_LENGTHS = 30, slice(26, 30)


def write_container(
    path: Path, header: bytes, arrays: Mapping[str, np.ndarray], frames: Mapping[str, Sequence[bytes]]
) -> str:
    """Writes `path` whole or not at all; returns the SHA-256 of the file. The same content gives the same bytes.

    Args:
        path: The file.
        header: JSON of the caller.
        arrays: Small arrays, which are always read whole.
        frames: Coded frames by column, of which any can be read.

    Raises:
        DataError: For a name that a ZIP cannot hold.
    """
    for name in (*arrays, *frames):
        if not name.isprintable():
            raise DataError("The name of a column must be printable.", value=name)
    members = {HEADER: header, **{name + SUFFIX: bytes_from_array(array) for name, array in arrays.items()}}
    blobs: dict[str, bytes] = {}
    for name, coded in frames.items():
        blobs[name + SUFFIX] = bytes_from_array(np.frombuffer(b"".join(coded), np.uint8))
        offsets = np.cumsum([0, *map(len, coded)], dtype=np.uint64)
        digests = np.frombuffer(b"".join(map(_sha256, coded)), np.uint8).reshape(-1, 32)
        members[name + OFFSETS + SUFFIX] = bytes_from_array(offsets)
        members[name + DIGESTS + SUFFIX] = bytes_from_array(digests)
    index = msgspec.json.encode({name: hashlib.sha256(content).hexdigest() for name, content in members.items()})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        _add(archive, INDEX, index, zipfile.ZIP_DEFLATED, comment=hashlib.sha256(index).hexdigest().encode())
        for name, content in members.items():
            _add(archive, name, content, zipfile.ZIP_DEFLATED)
        for name, content in blobs.items():
            _add(archive, name, content, zipfile.ZIP_STORED)
    write_atomically(path, stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


class Container:
    """Reads a file of `write_container`; each member is checked against its digest when it is first read.

    The file is opened for each call, so that a reader can be kept, copied and sent to another process; `bytes_read`
    counts the bytes read so far. Every method raises `DataError`, naming the file and what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self._arrays: dict[str, np.ndarray] = {}
        with names_file(path), _Counting(self) as file:
            with zipfile.ZipFile(file) as archive:
                check_sizes(path, archive.infolist(), headers=(HEADER, INDEX))
                self._members = {member.filename: member for member in archive.infolist()}
            index = self._content(file, INDEX)
            if hashlib.sha256(index).hexdigest().encode() != self._members[INDEX].comment:
                raise broken(path, "the checksum of its index does not match")
            self._digests = msgspec.json.decode(index, type=dict[str, str])
            self.header = self._checked(file, HEADER)

    @property
    def columns(self) -> frozenset[str]:
        """The names of its columns of frames."""
        end = OFFSETS + SUFFIX
        return frozenset(name.removesuffix(end) for name in self._digests if name.endswith(end))

    @property
    def arrays(self) -> frozenset[str]:
        """The names of its arrays."""
        names = {name.removesuffix(SUFFIX) for name in self._digests if name.endswith(SUFFIX)}
        return frozenset(names) - {name + end for name in self.columns for end in (OFFSETS, DIGESTS)}

    def array(self, name: str) -> np.ndarray:
        """Returns a whole array, read-only."""
        if name not in self._arrays:
            with names_file(self.path), _Counting(self) as file:
                self._arrays[name] = array_from_bytes(self._checked(file, name + SUFFIX))
        return self._arrays[name]

    def frames(self, name: str, rows: Sequence[int]) -> list[bytes]:
        """Returns the coded frames `rows` of a column, reading no other frame."""
        offsets, digests = self._table(name)
        found = []
        with names_file(self.path), _Counting(self) as file:
            member = self._members[name + SUFFIX]
            if member.compress_type != zipfile.ZIP_STORED:
                raise broken(self.path, f"the frames of {name!r} are compressed once more")
            # The frames follow the `.npy` header, up to the end of the member.
            start = self._data_start(file, member) + member.file_size - int(offsets[-1])
            for row in rows:
                file.seek(start + int(offsets[row]))
                content = file.read(int(offsets[row + 1] - offsets[row]))
                if _sha256(content) != digests[row].tobytes():
                    raise broken(self.path, f"the checksum of row {row} of {name!r} does not match")
                found.append(content)
        return found

    def count(self, name: str) -> int:
        """Returns how many frames a column has."""
        return len(self._table(name)[1])

    def check(self) -> None:
        """Reads the whole file and checks every byte that a reader would use, and that its index names all members."""
        with names_file(self.path), zipfile.ZipFile(self.path) as archive:
            check_content(archive)  # This checks the ZIP's own checksums, which cover the headers of frames as well.
        for name in self.arrays:
            self.array(name)
        for name in self.columns:
            self.frames(name, range(self.count(name)))
        known = {INDEX, *self._digests, *(name + SUFFIX for name in self.columns)}
        if known != self._members.keys():
            raise broken(self.path, f"its members differ from its index by {sorted(known ^ self._members.keys())}")

    def _table(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns where the frames of a column begin, and their digests."""
        offsets, digests = self.array(name + OFFSETS), self.array(name + DIGESTS)
        ordered = (np.diff(offsets.astype(np.int64)) >= 0).all()
        if offsets.shape != (len(digests) + 1,) or digests.shape[1:] != (32,) or not ordered:
            raise broken(self.path, f"the offsets of {name!r} do not fit its frames")
        return offsets, digests

    def _checked(self, file: "_Counting", name: str) -> bytes:
        content = self._content(file, name)
        if hashlib.sha256(content).hexdigest() != self._digests[name]:
            raise broken(self.path, f"the checksum of {name!r} does not match")
        return content

    def _content(self, file: "_Counting", name: str) -> bytes:
        """Returns the content of a member, at most as many bytes as the ZIP's directory states."""
        member = self._members[name]
        file.seek(self._data_start(file, member))
        content = file.read(member.compress_size)
        if member.compress_type == zipfile.ZIP_STORED:
            return content
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.file_size + 1)

    def _data_start(self, file: "_Counting", member: zipfile.ZipInfo) -> int:
        file.seek(member.header_offset)
        lengths = np.frombuffer(file.read(LOCAL_HEADER_BYTES)[LOCAL_NAME_LENGTHS], "<u2")
        return member.header_offset + LOCAL_HEADER_BYTES + int(lengths.sum())


class _Counting(io.FileIO):
    """A file that counts the bytes read from it for its container."""

    def __init__(self, container: Container) -> None:
        super().__init__(container.path, "rb")
        self._container = container

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())  # A damaged directory may ask for terabytes.
        content = super().read(left if size is None or size < 0 else min(size, left))
        self._container.bytes_read += len(content)
        return content


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int, *, comment: bytes = b"") -> None:
    information = zipfile.ZipInfo(name, NO_DATE)
    information.compress_type, information.comment = compression, comment
    archive.writestr(information, content, compresslevel=COMPRESSION_LEVEL)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
