"""What an object held when: intervals of valid time and of sequence numbers, found by a point in them.

Relational interval tree: each interval lies at one node of a virtual binary tree over the whole numbers, the highest
inside it. The nodes whose intervals may contain a point are its ancestors, at most 64, and of each only the intervals
that do are read. Source: Kriegel, Poetke and Seidl, Managing Intervals Efficiently in Object-Relational Databases, VLDB
2000.
"""

import struct

from embodied.memory.storage.tables import Tables

TIME, SEQ = 0, 1
BITS = 64
OFFSET = 1 << (BITS - 1)
SCHEMA = """
CREATE TABLE IF NOT EXISTS stay (
    field INTEGER NOT NULL, object INTEGER NOT NULL, node INTEGER NOT NULL, high INTEGER NOT NULL,
    low INTEGER NOT NULL, subject INTEGER NOT NULL, PRIMARY KEY (field, object, node, high, low, subject)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stay_low ON stay (field, object, node, low, subject);
"""


def end_stay(tables: Tables, subject: int, holder: int, since: tuple[float, int], until: tuple[float, int]) -> None:
    """Notes that `holder` held `subject` from valid time and sequence number `since` until those of `until`.

    Both are ids of names in `tables`.
    """
    intervals = ((TIME, _number(since[0]), _number(until[0]) - 1), (SEQ, since[1], until[1] - 1))
    tables.write_many(
        "INSERT OR IGNORE INTO stay VALUES (?, ?, ?, ?, ?, ?)",
        [(field, holder, node_of(low, high), high, low, subject) for field, low, high in intervals if low <= high],
    )


def held_by(tables: Tables, holder: int, time_s: float, seq: int) -> set[int]:
    """Returns what `holder` held at the valid time `time_s`, seconds, or by the number `seq`, and does no more.

    Both are ids of names in `tables`; the caller checks which of them it held by time and number.
    """
    return found_in(tables, TIME, holder, _number(time_s)) | found_in(tables, SEQ, holder, seq)


def node_of(low: int, high: int) -> int:
    """Returns the node of the closed interval from `low` to `high`: its number with the most zeros at the end."""
    low, high = low + OFFSET, high + OFFSET
    bits = max(0, (low ^ high).bit_length() - 1)
    return ((high >> bits) << bits) - OFFSET


def found_in(tables: Tables, field: int, holder: int, point: int) -> set[int]:
    """Returns what `holder` held at a `point` of one `field`, `TIME` or `SEQ`; both are ids of names in `tables`."""
    nodes = [(((point + OFFSET) >> bit | 1) << bit) - OFFSET for bit in range(BITS)]
    left = [node for node in nodes if node <= point]
    right = [node for node in nodes if point < node < OFFSET]
    found = set()
    for column, comparison, some in (("high", ">=", left), ("low", "<=", right)):
        marks = ", ".join("?" * len(some))
        found |= {
            subject
            for (subject,) in tables.select(
                f"SELECT subject FROM stay WHERE field = ? AND object = ? AND node IN ({marks}) "  # noqa: S608
                f"AND {column} {comparison} ?",
                field, holder, *some, point,
            )
        }  # fmt: skip
    return found


def _number(time_s: float) -> int:
    """Returns a number of 64 bits that is ordered as floating-point numbers: their own bits, by IEEE 754."""
    (bits,) = struct.unpack("<q", struct.pack("<d", time_s + 0.0))  # Not -0.0.
    return int(bits) if bits >= 0 else -(bits + OFFSET)
