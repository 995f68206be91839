"""Tombstones: events are removed from the log; their numbers and the digest at the end of each gap stay."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from embodied.errors import MemoryBankError
from embodied.memory.projections.withdrawals import any_withdrawn
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS, Removal
from embodied.memory.schema.kinds import Forgotten
from embodied.memory.storage.row_codec import COLUMNS
from embodied.memory.storage.tables import Tables

SCHEMA = """
CREATE TABLE IF NOT EXISTS gap (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, digest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS writer_mark (
    writer INTEGER PRIMARY KEY, writer_seq INTEGER NOT NULL, valid_time_s REAL NOT NULL
);
"""
# All other kinds determine the state (containment, places, skills, leases, episodes) and are never removed.
SLICE = 1000
FORGETTABLE = tuple(sorted(tag for tag, kind in KINDS.items() if kind.removal is not Removal.NEVER))


def runs(payload: Forgotten) -> Iterator[tuple[int, int]]:
    """Yields first and last number of every contiguous run to remove: the ranges without the kept numbers."""
    kept = sorted(payload.kept)
    for first, last in payload.ranges:
        start = first
        for seq in kept:
            if start <= seq <= last:
                if start < seq:
                    yield start, seq - 1
                start = seq + 1
        if start <= last:
            yield start, last


def check_forgotten(tables: Tables, payload: Forgotten, head: int) -> None:
    """Raises `MemoryBankError` unless the ranges of `payload` are in order, before `head`, and of removable kinds.

    `tables` are those of the log.
    """
    last = 0
    for first, end in payload.ranges:
        if not last < first <= end <= head:
            raise MemoryBankError(
                "Ranges to forget must ascend without overlap and lie in the past.",
                value=payload.ranges,
                remedy=f"The newest event is {head}.",
            )
        last = end
    _check_withdrawals(tables, payload)
    names = [tables.names.find(kind) for kind in FORGETTABLE]
    marks = ", ".join("?" * len(names))
    for first, end in runs(payload):
        found = tables.select_one(
            f"SELECT seq, kind FROM event WHERE seq BETWEEN ? AND ? AND kind NOT IN ({marks}) LIMIT 1",  # noqa: S608
            first, end, *(-1 if name is None else name for name in names),
        )  # fmt: skip
        if found:
            raise MemoryBankError(
                "Only events on which no state is built may be forgotten.",
                value=(found[0], tables.names.text(found[1])),
                remedy=f"Put it into `kept`. Forgettable: {', '.join(FORGETTABLE)}.",
            )


def _check_withdrawals(tables: Tables, payload: Forgotten) -> None:
    """Raises `MemoryBankError` where an event would count again, since only its withdrawal is to be removed."""
    gone = list(runs(payload))
    for first, last in gone if any_withdrawn(tables) else ():
        for seq, by_seq in tables.select("SELECT seq, by_seq FROM withdrawn WHERE by_seq BETWEEN ? AND ?", first, last):
            if not any(start <= seq <= end for start, end in gone):
                raise MemoryBankError(
                    "A withdrawal must stay as long as an event that it names.",
                    value=(by_seq, seq),
                    remedy="Remove that event first, or with it.",
                )


def forget(
    tables: Tables,
    payload: Forgotten,
    decode: Callable[[Sequence[Any]], Event],
    released: Callable[[list[Event]], None],
) -> None:
    """Deletes the events of all runs of `payload`, and keeps the last number of each writer, in the open transaction.

    `decode` gives the event of a row of the log in `tables`. `released` takes the deleted events, in slices in the
    order of the log, so that the projections drop what they derived from them. Every statement deletes one run or
    writes one row: with a savepoint open, SQLite would keep the state before a statement that writes many rows.
    """
    marks: dict[int, tuple[int, float]] = {}
    gone: list[Event] = []
    for first, last in runs(payload):
        for row in tables.select(f"SELECT {COLUMNS} FROM event WHERE seq BETWEEN ? AND ? ORDER BY seq", first, last):  # noqa: S608
            _, writer, writer_seq, valid_time_s, *_ = row
            known_seq, known_s = marks.get(writer, (0, -float("inf")))
            marks[writer] = (max(known_seq, writer_seq), max(known_s, valid_time_s))
            gone.append(decode(row))
        _open_gap(tables, first, last)
        tables.write("DELETE FROM event WHERE seq BETWEEN ? AND ?", first, last)
        if len(gone) >= SLICE:
            released(gone)
            gone = []
    released(gone)
    tables.write_many(
        "INSERT INTO writer_mark VALUES (?, ?, ?) ON CONFLICT (writer) DO UPDATE SET "
        "writer_seq = MAX(writer_seq, excluded.writer_seq), valid_time_s = MAX(valid_time_s, excluded.valid_time_s)",
        [(writer, *mark) for writer, mark in marks.items()],
    )


def forgotten_writer(tables: Tables, writer: str) -> tuple[int, float]:
    """Returns the last number and valid time (seconds) of a writer among the removed events, (0, -inf) for none."""
    found = tables.select_one(
        "SELECT writer_seq, valid_time_s FROM writer_mark WHERE writer = ?", tables.names.find(writer)
    )
    return found or (0, -float("inf"))  # type: ignore[return-value]


def _open_gap(tables: Tables, first: int, last: int) -> None:
    """Adds a gap, merged with those it touches; the digest is its last event's."""
    found = tables.select_one("SELECT digest FROM event WHERE seq = ?", last)
    touching = tables.select(
        "SELECT first_seq, last_seq, digest FROM gap WHERE first_seq <= ? AND last_seq >= ? "
        "AND first_seq >= IFNULL((SELECT MAX(first_seq) FROM gap WHERE first_seq <= ?), 0) ORDER BY first_seq",
        last + 1, first - 1, first,
    )  # fmt: skip  # Gaps never overlap, so only the last one before this one can touch it.
    end, digest = (last, found[0]) if found else (0, b"")
    for _, other_last, other_digest in touching:
        if other_last > end or not digest:
            end, digest = other_last, other_digest
    first = min([first, *(gap[0] for gap in touching)])
    tables.write_many("DELETE FROM gap WHERE first_seq = ?", [(gap[0],) for gap in touching])
    tables.write("INSERT INTO gap VALUES (?, ?, ?)", first, end, digest)
