"""What can still be read of a damaged outbox: with SQLite as far as it goes, and from the pages of the file.

The layout of pages and records: https://www.sqlite.org/fileformat2.html, 1.6 and 2.1.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embodied.memory.schema.limits import LARGEST_NUMBER
from embodied.memory.service.parcels import events_or_none, is_sound

PAGE_BYTES = 4096
LOG_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
TABLE_LEAF, LEAF_HEADER_BYTES = 13, 8
MOST_SLOTS, MORE_SLOTS = 400, 40  # Of a page, and beyond those that it says it has.
NULL, DIGEST_OF_8_BYTES = 0, 28  # Types in a record.
BYTES_OF_TYPE = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}


@dataclass
class Salvaged:
    """What was read: `parcels` (count, content, digest) in order, by their old numbers, and the other tables."""

    parcels: dict[int, tuple[Any, Any, Any]] = field(default_factory=dict)
    unnumbered: dict[int, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    refused: dict[int, tuple[Any, Any]] = field(default_factory=dict)


def salvage(path: Path, copy: Path) -> Salvaged:
    """Returns what can be read of the outbox at `path`, of which `copy` is one that SQLite may change.

    Parcels that SQLite does not find any more are read from the pages. The bank has seen some of them, and recognises
    those by their numbers.
    """
    found = Salvaged()
    db = sqlite3.connect(copy, isolation_level=None)
    try:
        db.text_factory = lambda text: text.decode(errors="replace")
        for number, *parcel in _readable_rows(db, "number, count, content, digest", "parcel"):
            found.parcels[number] = tuple(parcel)
        for number, stamped in _readable_rows(db, "number, stamped", "unnumbered"):
            found.unnumbered[number] = int(bool(stamped))
        for number, content, reason in _readable_rows(db, "number, content, reason", "refused"):
            found.refused[number] = content if isinstance(content, bytes) else b"", str(reason)
        for name, last in _readable_rows(db, "name, last", "writer", key="rowid"):
            if isinstance(name, str) and type(last) is int and 0 <= last <= LARGEST_NUMBER:
                found.last[name] = last
    finally:
        db.close()
    _add_from_pages(found, path)
    return found


def _readable_rows(
    db: sqlite3.Connection, columns: str, table: str, *, key: str = "number"
) -> Iterator[tuple[Any, ...]]:
    """Yields the rows of a table from its beginning up to the damage, and from its end down to it."""
    seen = set()
    for order in ("", "DESC"):
        try:
            for row in db.execute(f"SELECT {columns} FROM {table} ORDER BY {key} {order}"):  # noqa: S608
                if row[0] in seen and order:
                    break
                seen.add(row[0])
                yield row
        except (sqlite3.Error, UnicodeError):
            continue  # The page is damaged here: go on from the other end.


def holds_parcels(path: Path) -> bool:
    """Returns whether any page of a file holds an intact parcel of an outbox."""
    return any(is_sound(content, digest) for page in _pages(path) for _, content, digest, _ in _parcels_on(page))


def _add_from_pages(found: Salvaged, path: Path) -> None:
    """Adds parcels that are on pages.

    Free space still holds parcels from before they got their numbers: sent again they would get other ones.
    """
    known = {content for _, content, _ in found.parcels.values() if isinstance(content, bytes)}
    for page in _pages(path):
        for number, content, digest, counted in _parcels_on(page):
            events = [] if content in known or not is_sound(content, digest) else events_or_none(content)
            sure = counted or number in found.unnumbered
            if events and number not in found.parcels and (sure or all(event.writer_seq for event in events)):
                known.add(content)
                found.parcels[number] = len(events), content, digest


def _pages(path: Path) -> Iterator[bytes]:
    """Yields all pages of an outbox as they are after the transactions in its write-ahead log."""
    pages: dict[int, bytes] = {}
    log = path.with_name(path.name + "-wal")
    if log.exists():
        with log.open("rb") as file:
            salts = file.read(LOG_HEADER_BYTES)[16:24]
            while len(frame := file.read(FRAME_HEADER_BYTES + PAGE_BYTES)) == FRAME_HEADER_BYTES + PAGE_BYTES:
                if frame[8:16] == salts:
                    pages[int.from_bytes(frame[:4], "big")] = frame[FRAME_HEADER_BYTES:]
    with path.open("rb") as file:
        number = 1
        while page := file.read(PAGE_BYTES):
            yield pages.pop(number, page).ljust(PAGE_BYTES, b"\0")
            number += 1
    yield from pages.values()


def _parcels_on(page: bytes) -> Iterator[tuple[int, bytes, bytes, bool]]:
    """Yields number, content and digest of what may be a parcel on a page, and whether the page counts it."""
    if page[0] != TABLE_LEAF:
        return
    counted = int.from_bytes(page[3:5], "big")
    for slot in range(min(counted + MORE_SLOTS, MOST_SLOTS)):
        at = LEAF_HEADER_BYTES + 2 * slot
        cell = int.from_bytes(page[at : at + 2], "big")
        if at < cell < PAGE_BYTES and (parcel := _parcel_at(page, cell)):
            yield *parcel, slot < counted


def _parcel_at(page: bytes, at: int) -> tuple[int, bytes, bytes] | None:
    """Returns number, content and digest of the record of a cell, None where it is no parcel that lies on the page."""
    try:
        size, at = _varint(page, at)
        number, at = _varint(page, at)
        end = at + size
        header, first = _varint(page, at)
        types, place = [], first
        while place < at + header:
            kind, place = _varint(page, place)
            types.append(kind)
        if end > PAGE_BYTES or types[0] != NULL or types[3] != DIGEST_OF_8_BYTES or types[2] < 12 or types[2] % 2:
            return None
        start = at + header + BYTES_OF_TYPE[types[1]]
        middle = start + (types[2] - 12) // 2
        return number, page[start:middle], page[middle : middle + 8]
    except (IndexError, KeyError):
        return None


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(9):
        byte = page[at + i]
        if i == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    raise IndexError
