"""Blocks of the log: where the events of a robot, a kind and a task are, and the newest valid time of each block.

A block is summed up at once when the first event after it is appended, so an append costs nothing else. Readers look
through the block in progress themselves.
"""

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from embodied.memory.projections.projection import Projection, TakenBack
from embodied.memory.projections.withdrawals import lived, newest_withdrawn_s
from embodied.memory.schema.event import Event
from embodied.memory.storage.tables import Tables

BLOCK = 4096
FEW_BLOCKS = 4
MILLI = 1_000
KIND, TASK = 0, 1  # Fields of `block_name`.
NEWEST = 2**63 - 1  # Later than all numbers of events.
NEVER_S = -math.inf  # The newest time of a block without events.


class Blocks(Projection):
    """`block` has the newest time of each complete block, `block_name` the kinds and tasks that occur in it.

    `block_robot` has, by robot and kind, the places of the events in the block, 16 bits each; those of one block lie
    together, so that a removal of events that follow one another writes few pages.
    """

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS block (block INTEGER PRIMARY KEY, newest_s REAL NOT NULL);
    CREATE TABLE IF NOT EXISTS block_name (
        field INTEGER NOT NULL, name INTEGER NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (field, name, block)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS block_robot (
        block INTEGER NOT NULL, robot INTEGER NOT NULL, kind INTEGER NOT NULL, places BLOB NOT NULL,
        PRIMARY KEY (block, robot, kind)
    ) WITHOUT ROWID;
    """
    with_claims: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ("block", "block_name", "block_robot")

    def apply(self, tables: Tables, event: Event) -> None:
        """Sums up the block before, where the event is the first of its block."""
        block, place = divmod(event.seq - 1, BLOCK)
        if block and not place:
            self.settle(tables, event.seq)

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Takes the times of withdrawn events out of the summaries of their blocks."""
        for block in {block_of(one.seq) for one in back.events}:
            _find_newest(tables, block, max(one.valid_time_s for one in back.events if block_of(one.seq) == block))

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Takes the events out of the summaries of their blocks."""
        by_block = defaultdict(list)
        for event in events:
            by_block[block_of(event.seq)].append(event)
        for block, gone in by_block.items():
            if tables.select_one("SELECT 1 FROM block WHERE block = ?", block):
                _release(tables, block, gone)

    def prune(self, tables: Tables) -> None:
        """Drops all summaries: `settle` makes them again."""
        for table in self.tables:
            tables.write(f"DELETE FROM {table}")  # noqa: S608

    def settle(self, tables: Tables, head: int) -> None:
        """Sums up all complete blocks before that of number `head`."""
        (known,) = tables.select_one("SELECT MAX(block) FROM block") or (None,)
        for block in range(0 if known is None else known + 1, block_of(max(1, head))):
            _sum_up(tables, block)


def block_of(seq: int) -> int:
    """Returns the number of the block of an event."""
    return (seq - 1) // BLOCK


def events_of_robot(tables: Tables, robot: int, kinds: Sequence[int], after: int, to: int) -> Iterator[int]:
    """Yields the numbers of the events of `robot` and `kinds`, after `after` up to `to`, ascending.

    They come from the complete blocks in `tables`, some at a time; robot and kinds are ids of names.
    """
    first, last, most = block_of(after + 1), block_of(to), FEW_BLOCKS
    while first <= last:
        found = []
        for kind in kinds:
            for block, places in tables.select(
                "SELECT row.block, places FROM block CROSS JOIN block_robot AS row ON row.block = block.block "
                "AND robot = ? AND kind = ? WHERE block.block BETWEEN ? AND ?",
                robot, kind, first, min(last, first + most - 1),
            ):  # fmt: skip
                found += [seq for place in array("H", places) if after < (seq := block * BLOCK + 1 + place) <= to]
        yield from sorted(found)
        first, most = first + most, most * 4


def blocks_with(tables: Tables, field: int, names: Iterable[int], after: int, to: int) -> Iterator[tuple[int, int]]:
    """Yields the complete blocks, cut to after `after` up to `to`, in which one of `names` occurs as kind or task.

    Each is given by the number before its first event and the number of its last. `tables` are those of the bank, and
    `field` is `KIND` or `TASK`.
    """
    blocks = {
        block
        for name in names
        for (block,) in tables.select(
            "SELECT block FROM block_name WHERE field = ? AND name = ? AND block BETWEEN ? AND ?",
            field, name, block_of(after + 1), block_of(to),
        )
    }  # fmt: skip
    for block in sorted(blocks):
        yield max(after, block * BLOCK), min(to, (block + 1) * BLOCK)


def newest_s(tables: Tables, head: int) -> float | None:
    """Returns the newest valid time of all events up to number `head`, None where there are none."""
    whole = block_of(head + 1)
    later = newest_withdrawn_s(tables, head)
    before = tables.select_one("SELECT MAX(newest_s) FROM block WHERE block < ? AND newest_s > ?", whole, NEVER_S)
    after = _newest_between(tables, whole * BLOCK, head)
    times = [time_s for (time_s,) in (before or (None,), (after,), (later,)) if time_s is not None]
    return max(times, default=None)


def newest_received_s(tables: Tables, head: int, newest: float) -> float:
    """Returns when the bank first received an event of the time `newest` among those up to number `head`.

    `tables` are the bank's, `newest` is what `newest_s` returns for the same `head`.
    """
    last = block_of(head + 1)
    found = tables.select_one("SELECT MIN(block) FROM block WHERE block < ? AND newest_s = ?", last, newest)
    blocks = [] if not found or found[0] is None else [found[0]]
    ranges = [(block * BLOCK, min(head, (block + 1) * BLOCK)) for block in [*blocks, last]]
    # Where it was withdrawn later it is not in the summary of its block any more.
    for after, to in [*ranges, (0, head)]:
        received = tables.select_one(
            "SELECT MIN(received_ms) FROM event WHERE seq > ? AND seq <= ? AND valid_time_s = ?", after, to, newest
        )
        if received is not None and received[0] is not None:
            return received[0] / MILLI
    return newest


def _newest_between(tables: Tables, after: int, to: int) -> float | None:
    found = tables.select_one(
        f"SELECT MAX(valid_time_s) FROM event WHERE seq > ? AND seq <= ?{lived(tables, NEWEST)}",  # noqa: S608
        after, to,
    )  # fmt: skip
    return found[0] if found else None


def _sum_up(tables: Tables, block: int) -> None:
    first, last = block * BLOCK + 1, (block + 1) * BLOCK
    newest = _newest_between(tables, first - 1, last)
    tables.write("INSERT INTO block VALUES (?, ?)", block, NEVER_S if newest is None else newest)
    for field, column in ((KIND, "kind"), (TASK, "task")):
        tables.write(
            f"INSERT INTO block_name SELECT DISTINCT {field}, {column}, {block} FROM event "  # noqa: S608
            "WHERE seq BETWEEN ? AND ?",
            first, last,
        )  # fmt: skip
    rows = tables.select("SELECT robot, kind, seq FROM event WHERE seq BETWEEN ? AND ?", first, last)
    tables.write_many(
        "INSERT INTO block_robot VALUES (?, ?, ?, ?)",
        [
            (block, robot, kind, array("H", [seq - first for *_, seq in found]).tobytes())
            for (robot, kind), found in groupby(sorted(rows), key=lambda row: row[:2])
            if robot
        ],
    )


def _release(tables: Tables, block: int, events: Sequence[Event]) -> None:
    first, last = block * BLOCK + 1, (block + 1) * BLOCK
    find = tables.names.find
    gone: dict[tuple[int | None, int | None], set[int]] = defaultdict(set)
    for event in events:
        if event.robot:
            gone[find(event.robot), find(event.kind)].add(event.seq - first)
    if gone:
        marks = ", ".join(["(?, ?)"] * len(gone))
        known = tables.select(  # `CROSS JOIN` has SQLite look up each pair, in this order.
            f"WITH pair (robot, kind) AS (VALUES {marks}) SELECT pair.robot, pair.kind, places FROM pair "  # noqa: S608
            "CROSS JOIN block_robot AS row ON row.robot = pair.robot AND row.kind = pair.kind AND row.block = ?",
            *(number for pair in gone for number in pair), block,
        )  # fmt: skip
        left = [
            (
                array("H", [place for place in array("H", places) if place not in gone[robot, kind]]),
                robot,
                kind,
                block,
            )
            for robot, kind, places in known
        ]
        key = "robot = ? AND kind = ? AND block = ?"
        changed = [(places.tobytes(), *ids) for places, *ids in left if places]
        tables.write_many(f"UPDATE block_robot SET places = ? WHERE {key}", changed)  # noqa: S608
        tables.write_many(f"DELETE FROM block_robot WHERE {key}", [tuple(ids) for places, *ids in left if not places])  # noqa: S608
    there = tables.select("SELECT DISTINCT kind, task FROM event WHERE seq BETWEEN ? AND ?", first, last)
    for field, column in ((KIND, "kind"), (TASK, "task")):
        unused = {find(getattr(event, column)) for event in events} - {names[field] for names in there}
        tables.write_many(
            "DELETE FROM block_name WHERE field = ? AND name = ? AND block = ?",
            [(field, name, block) for name in unused if name is not None],
        )
    _find_newest(tables, block, max(event.valid_time_s for event in events))


def _find_newest(tables: Tables, block: int, gone_s: float) -> None:
    """Finds the newest time of a block again, where one of `gone_s`, seconds, no longer counts."""
    known = tables.select_one("SELECT newest_s FROM block WHERE block = ?", block)
    if known and gone_s >= known[0]:
        left_s = _newest_between(tables, block * BLOCK, (block + 1) * BLOCK)
        tables.write("UPDATE block SET newest_s = ? WHERE block = ?", NEVER_S if left_s is None else left_s, block)
