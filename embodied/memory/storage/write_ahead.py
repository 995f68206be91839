"""Checks whether SQLite's write-ahead log is damaged in the middle: SQLite would silently drop everything after it.

A log that ends in an incomplete transaction is normal after a kill, and no damage: its append never returned. For the
same reason an altered last transaction cannot be distinguished from an incomplete one here. Source: the WAL file
format, https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

import struct
from pathlib import Path

HEADER = struct.Struct(">8I")
FRAME_HEADER = struct.Struct(">6I")
BIG_ENDIAN_MAGIC = 0x377F0683
LITTLE_ENDIAN_MAGIC = 0x377F0682


def write_ahead_damage(path: Path) -> tuple[str, ...]:
    """Returns a sentence on the first altered frame that complete transactions follow, "" for an intact log."""
    log = path.with_name(path.name + "-wal")
    content = log.read_bytes() if log.exists() else b""
    if len(content) <= HEADER.size:
        return ()
    magic, _, page_bytes, _, *salts, first, second = HEADER.unpack_from(content)
    order = ">" if magic == BIG_ENDIAN_MAGIC else "<"
    sums = _checksum(content[: HEADER.size - 8], (0, 0), order)
    if magic not in (BIG_ENDIAN_MAGIC, LITTLE_ENDIAN_MAGIC) or sums != (first, second):
        return ("The header of the write-ahead log does not match its checksum: its content would be lost.",)
    step = FRAME_HEADER.size + page_bytes
    starts = range(HEADER.size, len(content) - step + 1, step)
    for index, start in enumerate(starts):
        _, _, *found, first, second = FRAME_HEADER.unpack_from(content, start)
        sums = _checksum(content[start : start + 8], sums, order)
        sums = _checksum(content[start + FRAME_HEADER.size : start + step], sums, order)
        if found != salts or sums != (first, second):
            return _lost(content, starts[index:], salts, index)
    return ()


def _lost(content: bytes, starts: range, salts: list[int], index: int) -> tuple[str, ...]:
    commits = 0
    for start in starts:
        _, pages_after, *found, _, _ = FRAME_HEADER.unpack_from(content, start)
        commits += found == salts and pages_after > 0
    if commits < 2:
        return ()
    return (
        f"Frame {index + 1} of the write-ahead log does not match its checksum: it and {commits - 1} transactions "
        "after it would be lost.",
    )


def _checksum(content: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    numbers = struct.unpack(f"{order}{len(content) // 4}I", content)
    for left, right in zip(numbers[::2], numbers[1::2], strict=True):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return first, second
