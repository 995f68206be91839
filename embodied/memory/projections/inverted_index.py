"""The inverted index: finds the events about a name, by kind and valid time. Poses stay in their events."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from embodied.memory.projections.projection import Projection, TakenBack
from embodied.memory.projections.withdrawals import with_withdrawn, withdrawn_among
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KIND_OF_PAYLOAD, KINDS
from embodied.memory.storage.tables import Tables

RARE = frozenset(tag for tag, kind in KINDS.items() if kind.timeline)
FIRST_PAGE = 1000
SITE_TIMELINE = ""  # Events of rare kinds are also indexed under the empty name, so that a timeline needs no scan.


class InvertedIndex(Projection):
    """The table `mention`: subject, kind, valid time, seq. Withdrawn events have the negative of their kind."""

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS mention (
        subject INTEGER NOT NULL, kind INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (subject, kind, valid_time_s, seq)
    ) WITHOUT ROWID;
    """
    with_claims: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ("mention",)

    def apply(self, tables: Tables, event: Event) -> None:
        """Adds one row per name that the event is about."""
        intern = tables.names.intern
        kind = intern(event.kind)
        tables.write_many(
            "INSERT INTO mention VALUES (?, ?, ?, ?)",
            [(intern(subject), kind, event.valid_time_s, event.seq) for subject in indexed_names(event)],
        )

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Moves the rows of withdrawn events to where beliefs do not look."""
        find = tables.names.find
        tables.write_many(
            "UPDATE mention SET kind = -kind WHERE subject = ? AND kind = ? AND valid_time_s = ? AND seq = ?",
            [
                (find(subject), find(one.kind), one.valid_time_s, one.seq)
                for one in back.events
                for subject in indexed_names(one)
            ],
        )

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops the rows of events that were removed."""
        find = tables.names.find
        withdrawn = withdrawn_among(tables, [event.seq for event in events])
        tables.write_many(
            "DELETE FROM mention WHERE subject = ? AND kind = ? AND valid_time_s = ? AND seq = ?",
            [
                (find(subject), kind if event.seq not in withdrawn else -kind, event.valid_time_s, event.seq)
                for event in events
                if (kind := find(event.kind)) is not None
                for subject in indexed_names(event)
            ],
        )

    def prune(self, tables: Tables) -> None:
        """Drops the rows of all events that the log no longer has."""
        tables.write("DELETE FROM mention WHERE seq NOT IN (SELECT seq FROM event)")


def rare_events(tables: Tables, wanted: Sequence[str], after: int, to: int) -> list[int]:
    """Returns the numbers of the `wanted` events of rare kinds, after `after` up to `to`, ascending.

    They come from the index in `tables`; no event is decoded.
    """
    known = [number for kind in wanted if (number := tables.names.find(kind)) is not None]
    kinds_wanted = with_withdrawn(tables, known)
    marks = ", ".join("?" * len(kinds_wanted))
    found = tables.select(
        f"SELECT seq FROM mention WHERE subject = ? AND kind IN ({marks}) AND seq > ? AND seq <= ?",  # noqa: S608
        tables.names.find(SITE_TIMELINE), *kinds_wanted, after, to,
    )  # fmt: skip
    return sorted(seq for (seq,) in found)


def events_about(tables: Tables, subjects: Sequence[int], kinds: Sequence[int], after: int, to: int) -> Iterator[int]:
    """Yields the numbers of the events of `kinds` about any of `subjects`, after `after` up to `to`, ascending.

    They come from the index in `tables`, a growing page at a time, since the index is in the order of valid time.
    """
    kinds = with_withdrawn(tables, kinds)
    marks, more = ", ".join("?" * len(subjects)), ", ".join("?" * len(kinds))
    page = FIRST_PAGE
    while after < to:
        found = tables.select(
            f"SELECT DISTINCT seq FROM mention WHERE subject IN ({marks}) AND kind IN ({more}) AND seq > ? "  # noqa: S608
            "AND seq <= ? ORDER BY seq LIMIT ?",
            *subjects, *kinds, after, to, page,
        )  # fmt: skip
        yield from (seq for (seq,) in found)
        after = found[-1][0] if len(found) == page else to
        page *= 8


def indexed_names(event: Event) -> Sequence[str]:
    """Returns the names that an event is indexed under, each once, in a fixed order; see `SITE_TIMELINE`."""
    kind = KIND_OF_PAYLOAD[type(event.payload)]
    names = kind.names(event, event.payload)
    if kind.timeline:
        names = (SITE_TIMELINE, *names)
    return names if len(names) < 2 else [*dict.fromkeys(names)]
