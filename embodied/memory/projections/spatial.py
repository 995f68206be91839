"""Space: the tree of places, looks that found nothing, and relations other than containment."""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

from embodied.errors import MemoryBankError
from embodied.memory.projections.projection import Projection, TakenBack
from embodied.memory.projections.withdrawals import withdrawn_among
from embodied.memory.schema.event import Event, map_of
from embodied.memory.schema.kinds import (
    CONTAINMENT,
    PLACE_KINDS,
    AbsenceSeen,
    PlaceDefined,
    Polygon,
    RelationEnded,
    RelationSet,
)
from embodied.memory.schema.places import signed_area
from embodied.memory.storage.tables import Tables

LARGEST_SIZE = 1023  # Two to this power is about the largest number.
WHOLE = 2.0**53
MOST_CELLS = 4
ABSENCE = "subject = ? AND valid_time_s = ? AND seq = ?"


class Spatial(Projection):
    """`place` points to the definitions of places.

    `place_time` finds the definition of a place at an instant, `place_cell` the places around a point: a place lies in
    the cells, of a size of at least its own, that it touches, the smallest areas first, all in the frame of the `map`
    in which its extent was given (0: the site), so that another placing of a map changes no row. `link` has each pair
    of names once that `link_change` relates. `absence` has the factor by which a look that found nothing lowers
    existence. Withdrawn are absences of a negative subject, changes of a negative predicate, and negative places.
    """

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS place (
        place INTEGER NOT NULL, seq INTEGER NOT NULL, level INTEGER NOT NULL, parent INTEGER NOT NULL,
        PRIMARY KEY (place, seq)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS place_parent ON place (parent);
    CREATE TABLE IF NOT EXISTS place_time (
        place INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (place, valid_time_s, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS place_cell (
        map INTEGER NOT NULL, size INTEGER NOT NULL, x REAL NOT NULL, y REAL NOT NULL, area REAL NOT NULL,
        name TEXT NOT NULL, PRIMARY KEY (map, size, x, y, area, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS absence (
        subject INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL, factor REAL NOT NULL,
        PRIMARY KEY (subject, valid_time_s, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS link_change (
        subject INTEGER NOT NULL, predicate INTEGER NOT NULL, object INTEGER NOT NULL, valid_time_s REAL NOT NULL,
        seq INTEGER NOT NULL, holds INTEGER NOT NULL, PRIMARY KEY (subject, predicate, object, valid_time_s, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS link (
        subject INTEGER NOT NULL, predicate INTEGER NOT NULL, object INTEGER NOT NULL,
        PRIMARY KEY (subject, predicate, object)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS link_object ON link (object, predicate, subject);
    """
    tables: ClassVar[tuple[str, ...]] = ("place", "place_time", "place_cell", "absence", "link_change", "link")

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `MemoryBankError` for a broken tree of places."""
        if isinstance(event.payload, PlaceDefined):
            _check_place(tables, event.payload)

    def apply(self, tables: Tables, event: Event) -> None:
        """Writes places, other relations and absences; sightings are found through `mention`."""
        match event.payload:
            case PlaceDefined() as payload:
                _define(tables, event, payload)
            case AbsenceSeen() as payload:
                factor = 1.0 - payload.visible_fraction * payload.confidence
                subject = tables.names.intern(payload.entity)
                tables.write("INSERT INTO absence VALUES (?, ?, ?, ?)", subject, event.valid_time_s, event.seq, factor)
            case RelationSet() | RelationEnded() as payload if payload.predicate not in CONTAINMENT:
                _link(tables, event, payload)

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Moves withdrawn places, absences and other relations to where only earlier views look.

        Raises `MemoryBankError` for a place that others are part of.
        """
        find = tables.names.find
        for one in back.events:
            match one.payload:
                case AbsenceSeen(entity=entity):
                    key = find(entity), one.valid_time_s, one.seq
                    tables.write(f"UPDATE absence SET subject = -subject WHERE {ABSENCE}", *key)  # noqa: S608
                case PlaceDefined(place=place):
                    key = find(place), one.seq
                    tables.write("UPDATE place SET place = -place, parent = -parent WHERE place = ? AND seq = ?", *key)
                    tables.write("UPDATE place_time SET place = -place WHERE place = ? AND seq = ?", *key)
                case RelationSet() | RelationEnded() as payload if payload.predicate not in CONTAINMENT:
                    tables.write(
                        "UPDATE link_change SET predicate = -predicate "
                        "WHERE subject = ? AND predicate = ? AND object = ? AND valid_time_s = ? AND seq = ?",
                        find(payload.subject), find(payload.predicate), find(payload.object), one.valid_time_s, one.seq,
                    )  # fmt: skip

        for one in back.events:
            if isinstance(one.payload, PlaceDefined) and not _level(tables, one.payload.place):
                _refuse_orphans(tables, one.payload.place)

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops absences that were removed."""
        absent = [event for event in events if isinstance(event.payload, AbsenceSeen)]
        withdrawn = withdrawn_among(tables, [event.seq for event in absent])
        gone = [
            (number if event.seq not in withdrawn else -number, event.valid_time_s, event.seq)
            for event in absent
            if isinstance(event.payload, AbsenceSeen) and (number := tables.names.find(event.payload.entity))
        ]
        tables.write_many(f"DELETE FROM absence WHERE {ABSENCE}", gone)  # noqa: S608

    def prune(self, tables: Tables) -> None:
        """Drops all absences that the log no longer has."""
        tables.write("DELETE FROM absence WHERE seq NOT IN (SELECT seq FROM event)")


def _check_place(tables: Tables, payload: PlaceDefined) -> None:
    level = _level(tables, payload.place)
    if level not in ("", payload.level):
        raise MemoryBankError(
            "A place must keep its level.",
            value=(payload.place, payload.level),
            remedy=f"It is a {level}: take a new name.",
        )
    if payload.parent is None:
        return
    above = _level(tables, payload.parent)
    if not above or PLACE_KINDS.index(above) >= PLACE_KINDS.index(payload.level):
        raise MemoryBankError(
            "The parent of a place must exist and be of a wider level.",
            value=(payload.place, payload.level, payload.parent),
            remedy=f"{payload.parent!r} is {'a ' + above if above else 'not defined yet'}. "
            f"From wide to narrow: {', '.join(PLACE_KINDS)}.",
        )


def _refuse_orphans(tables: Tables, place: str) -> None:
    found = tables.select("SELECT DISTINCT place FROM place WHERE parent = ? LIMIT 4", tables.names.find(place))
    if found:
        parts = ", ".join(sorted(tables.names.text(part) for (part,) in found))
        raise MemoryBankError(
            "A place that others are part of cannot be withdrawn wholly.",
            value=place,
            remedy=f"Withdraw first, or in the same event, the definitions of {parts}.",
        )


def _level(tables: Tables, place: str) -> str:
    found = tables.select_one("SELECT level FROM place WHERE place = ? LIMIT 1", tables.names.find(place))
    return tables.names.text(found[0]) if found else ""


def _link(tables: Tables, event: Event, payload: RelationSet | RelationEnded) -> None:
    intern = tables.names.intern
    link = intern(payload.subject), intern(payload.predicate), intern(payload.object)
    holds = int(isinstance(payload, RelationSet))
    tables.write("INSERT OR IGNORE INTO link VALUES (?, ?, ?)", *link)
    tables.write("INSERT INTO link_change VALUES (?, ?, ?, ?, ?, ?)", *link, event.valid_time_s, event.seq, holds)


def _define(tables: Tables, event: Event, payload: PlaceDefined) -> None:
    place, level = tables.names.intern(payload.place), tables.names.intern(payload.level)
    parent = tables.names.intern(payload.parent or "")
    tables.write("INSERT INTO place VALUES (?, ?, ?, ?)", place, event.seq, level, parent)
    tables.write("INSERT INTO place_time VALUES (?, ?, ?)", place, event.valid_time_s, event.seq)
    if payload.polygon:
        area, number = abs(signed_area(payload.polygon)), tables.names.intern(map_of(event))
        tables.write_many(
            "INSERT OR IGNORE INTO place_cell VALUES (?, ?, ?, ?, ?, ?)",
            [(number, *cell, area, payload.place) for cell in cells_of(payload.polygon)],
        )


def cells_of(polygon: Polygon) -> Iterator[tuple[int, float, float]]:
    """Yields size, x and y of the cells that a polygon touches: those of `cell_at` for each point of it."""
    ends = [(min(axis), max(axis)) for axis in zip(*polygon, strict=True)]
    extent = max(last - first for first, last in ends)
    size = min(math.frexp(extent)[1], LARGEST_SIZE) if extent < math.inf else LARGEST_SIZE
    (left, bottom), (right, top) = (cell_at(size, *corner) for corner in zip(*ends, strict=True))
    for x in _between(left, right):
        for y in _between(bottom, top):
            yield size, x, y


def cell_at(size: int, x: float, y: float) -> tuple[float, float]:
    """Returns the cell, of an edge of two to the power `size` metres, in which the point (`x`, `y`) lies."""
    edge = math.ldexp(1.0, size)
    across, along = x / edge, y / edge
    # From 2 ** 53 on all floating-point numbers are whole.
    return tuple(float(math.floor(at)) if abs(at) < WHOLE else at for at in (across, along))  # type: ignore[return-value]


def _between(first: float, last: float) -> set[float]:
    """Returns the cells of one axis from the first to the last: two, unless a place is larger than any cell."""
    return {first, last, *(first + step for step in range(1, MOST_CELLS) if first + step < last)}
