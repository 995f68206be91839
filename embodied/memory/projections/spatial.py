"""Space: the tree of places, one parent per entity, other relations, and merged entities."""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from embodied.errors import ConflictError, MemoryBankError
from embodied.memory.projections.projection import Projection
from embodied.memory.projections.stays import SCHEMA as STAY_SCHEMA
from embodied.memory.projections.stays import end_stay
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import (
    CONTAINMENT,
    PLACE_KINDS,
    AbsenceSeen,
    EntityMerged,
    PlaceDefined,
    Polygon,
    RelationEnded,
    RelationSet,
)
from embodied.memory.schema.places import signed_area
from embodied.memory.storage.tables import Tables

NO_NAME = 0
LARGEST_SIZE = 1023  # Two to this power is about the largest number.
WHOLE = 2.0**53
MOST_CELLS = 4


class Parent(NamedTuple):
    """The container, support, whole or holder of an entity, as ids of names; `predicate` 0 for none.

    `first` is the version since which it has been the same one, without merges.
    """

    predicate: int
    object: int
    version: int
    since_s: float
    seq: int
    first: int


ORPHAN = Parent(NO_NAME, NO_NAME, 0, -math.inf, 0, 0)


class Spatial(Projection):
    """`place` and `merge` point to events; `containment` holds the current parents, `parent_change` their history.

    `place_time` finds the definition of a place at an instant, `place_cell` the places around a point: a place lies in
    the cells, of a size of at least its own, that it touches, the smallest areas first. `link` has each pair of names
    once that `link_change` relates. `absence` has the factor by which a look that found nothing lowers existence.
    """

    schema: ClassVar[str] = (
        """
    CREATE TABLE IF NOT EXISTS place (
        place INTEGER NOT NULL, seq INTEGER NOT NULL, level INTEGER NOT NULL, PRIMARY KEY (place, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS place_time (
        place INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (place, valid_time_s, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS place_cell (
        size INTEGER NOT NULL, x REAL NOT NULL, y REAL NOT NULL, area REAL NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY (size, x, y, area, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS absence (
        subject INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL, factor REAL NOT NULL,
        PRIMARY KEY (subject, valid_time_s, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS containment (
        subject INTEGER PRIMARY KEY, predicate INTEGER NOT NULL, object INTEGER NOT NULL, version INTEGER NOT NULL,
        since_s REAL NOT NULL, seq INTEGER NOT NULL, first INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS containment_object ON containment (object, since_s);
    CREATE TABLE IF NOT EXISTS parent_change (
        subject INTEGER NOT NULL, version INTEGER NOT NULL, predicate INTEGER NOT NULL, object INTEGER NOT NULL,
        since_s REAL NOT NULL, seq INTEGER NOT NULL, first INTEGER NOT NULL, PRIMARY KEY (subject, version)
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
    CREATE TABLE IF NOT EXISTS merge (
        entity INTEGER PRIMARY KEY, root INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS merge_root ON merge (root);
    """
        + STAY_SCHEMA
    )
    tables: ClassVar[tuple[str, ...]] = (
        *(
            "place",
            "place_time",
            "place_cell",
            "absence",
            "containment",
            "parent_change",
            "link_change",
            "link",
            "merge",
        ),
    )

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `MemoryBankError` for a broken tree or a second parent, `ConflictError` for a stale version."""
        match event.payload:
            case PlaceDefined() as payload:
                _check_place(tables, payload)
            case RelationSet() | RelationEnded() as payload if payload.predicate in CONTAINMENT:
                _check_containment(tables, payload)
            case EntityMerged() as payload:
                _check_merge(tables, payload)

    def apply(self, tables: Tables, event: Event) -> None:
        """Writes places, relations, merges and absences; sightings are found through `mention`."""
        match event.payload:
            case PlaceDefined() as payload:
                _define(tables, event, payload)
            case AbsenceSeen() as payload:
                factor = 1.0 - payload.visible_fraction * payload.confidence
                subject = tables.names.intern(payload.entity)
                tables.write("INSERT INTO absence VALUES (?, ?, ?, ?)", subject, event.valid_time_s, event.seq, factor)
            case RelationSet() | RelationEnded() as payload if payload.predicate in CONTAINMENT:
                holds = isinstance(payload, RelationSet)
                predicate = tables.names.intern(payload.predicate) if holds else NO_NAME
                _change(tables, event, root_of(tables, payload.subject), (predicate, _object(tables, payload) * holds))
            case RelationSet() | RelationEnded() as payload:
                _link(tables, event, payload)
            case EntityMerged() as payload:
                _merge(tables, event, payload)

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops absences that were removed."""
        gone = [
            (tables.names.find(event.payload.entity), event.valid_time_s, event.seq)
            for event in events
            if isinstance(event.payload, AbsenceSeen)
        ]
        tables.write_many("DELETE FROM absence WHERE subject = ? AND valid_time_s = ? AND seq = ?", gone)

    def prune(self, tables: Tables) -> None:
        """Drops all absences that the log no longer has."""
        tables.write("DELETE FROM absence WHERE seq NOT IN (SELECT seq FROM event)")


def parent_of(tables: Tables, subject: int) -> Parent:
    """Returns the newest parent of an entity, by its id."""
    found = tables.select_one(
        "SELECT predicate, object, version, since_s, seq, first FROM containment WHERE subject = ?", subject
    )
    return Parent(*found) if found else ORPHAN


def root_of(tables: Tables, name: str) -> int:
    """Returns the current id of an entity: its own, or that of the entity into which it was merged."""
    number = tables.names.intern(name)
    found = tables.select_one("SELECT root FROM merge WHERE entity = ?", number)
    return last_root(tables, found[0]) if found else number


def last_root(tables: Tables, entity: int, time_s: float = math.inf, seq: float = math.inf) -> int:
    """Returns the id that `entity`, by its id in `tables`, has after all merges of merges, however many there are.

    Only merges of valid times up to `time_s`, seconds, and of numbers up to `seq` count.
    """
    found = tables.select_one(
        "WITH RECURSIVE up (entity, hops) AS (SELECT ?, 0 UNION ALL SELECT merge.root, hops + 1 FROM up "
        "JOIN merge ON merge.entity = up.entity WHERE valid_time_s <= ? AND seq <= ?) "
        "SELECT entity FROM up ORDER BY hops DESC LIMIT 1",
        entity, time_s, seq,
    )  # fmt: skip
    return found[0] if found else entity


def _object(tables: Tables, payload: RelationSet | RelationEnded) -> int:
    return root_of(tables, payload.object)


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


def _level(tables: Tables, place: str) -> str:
    found = tables.select_one("SELECT level FROM place WHERE place = ? LIMIT 1", tables.names.find(place))
    return tables.names.text(found[0]) if found else ""


def _check_containment(tables: Tables, payload: RelationSet | RelationEnded) -> None:
    subject = root_of(tables, payload.subject)
    now = parent_of(tables, subject)
    text = tables.names.text
    if payload.expected_version is not None and payload.expected_version != now.version:
        raise ConflictError(
            f"The parent of {payload.subject!r} must not have changed since it was read.",
            value=payload.expected_version,
            remedy=f"Its version is {now.version}: read again, decide again, retry.",
        )
    if isinstance(payload, RelationEnded):
        if (text(now.predicate), now.object) != (payload.predicate, _object(tables, payload)):
            raise MemoryBankError(
                "Only a relation that holds can end.",
                value=(payload.subject, payload.predicate, payload.object),
                remedy=f"It is {text(now.predicate)} {text(now.object)}." if now.object else "It has no parent.",
            )
    else:
        if now.predicate and payload.expected_version is None:
            raise MemoryBankError(
                "An entity must not have two parents.",
                value=(payload.subject, payload.predicate, payload.object),
                remedy=f"It is {text(now.predicate)} {text(now.object)}: give `expected_version` {now.version} to "
                "replace that.",
            )
        _refuse_cycle(tables, subject, _object(tables, payload))


def _refuse_cycle(tables: Tables, subject: int, holder: int) -> None:
    if _is_inside(tables, holder, subject):
        text = tables.names.text
        raise MemoryBankError(
            "Nothing may be inside itself, at any depth.",
            value=(text(subject), text(holder)),
            remedy=f"Take {text(holder)!r} out of {text(subject)!r} first.",
        )


def _is_inside(tables: Tables, inner: int, outer: int) -> bool:
    """Returns whether an entity equals another one or is inside it at any depth."""
    while inner and inner != outer:
        inner = parent_of(tables, inner).object
    return bool(inner)


def _check_merge(tables: Tables, payload: EntityMerged) -> None:
    entity, into = root_of(tables, payload.entity), root_of(tables, payload.into)
    names = tables.names
    if entity != names.find(payload.entity) or entity == into:
        raise MemoryBankError(
            "An entity can be merged only once.",
            value=(payload.entity, payload.into),
            remedy=f"It lives on as {names.text(entity)!r}: merge that one.",
        )
    _refuse_cycle(tables, entity, parent_of(tables, into).object)


def _merge(tables: Tables, event: Event, payload: EntityMerged) -> None:
    """Moves the contents of a merged entity, and its parent if that is newer, to the entity that remains."""
    entity, into = root_of(tables, payload.entity), root_of(tables, payload.into)
    tables.write("INSERT INTO merge VALUES (?, ?, ?, ?)", entity, into, event.valid_time_s, event.seq)
    taken, own = parent_of(tables, entity), parent_of(tables, into)
    if taken.predicate:
        _change(tables, event, entity, (NO_NAME, NO_NAME))
        newer = not own.predicate or (taken.since_s, taken.seq) > (own.since_s, own.seq)
        if newer and not _is_inside(tables, taken.object, into):
            _change(tables, event, into, (taken.predicate, taken.object), not_before_s=taken.since_s)
    children = tables.select("SELECT subject, predicate FROM containment WHERE object = ? ORDER BY subject", entity)
    for child, predicate in children:
        _change(tables, event, child, (predicate, into))


def _change(
    tables: Tables, event: Event, subject: int, held: tuple[int, int], *, not_before_s: float = -math.inf
) -> None:
    """Writes the next parent, `held`: predicate and object. It counts from the event's valid time.

    It counts from no earlier than the change that it replaces: clocks of robots differ a little, and a writer that knew
    the version also knew the previous change.
    """
    now = parent_of(tables, subject)
    since_s = max(event.valid_time_s, now.since_s, not_before_s)
    same = held == (now.predicate, now.object) and now.version and not isinstance(event.payload, EntityMerged)
    version = now.version + 1
    if now.object:
        end_stay(tables, subject, now.object, (now.since_s, now.seq), (since_s, event.seq))
    values = (subject, *held, version, since_s, event.seq, now.first if same else version)
    tables.write("INSERT OR REPLACE INTO containment VALUES (?, ?, ?, ?, ?, ?, ?)", *values)
    tables.write(
        "INSERT INTO parent_change (subject, predicate, object, version, since_s, seq, first) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        *values,
    )


def _link(tables: Tables, event: Event, payload: RelationSet | RelationEnded) -> None:
    intern = tables.names.intern
    link = intern(payload.subject), intern(payload.predicate), intern(payload.object)
    holds = int(isinstance(payload, RelationSet))
    tables.write("INSERT OR IGNORE INTO link VALUES (?, ?, ?)", *link)
    tables.write("INSERT INTO link_change VALUES (?, ?, ?, ?, ?, ?)", *link, event.valid_time_s, event.seq, holds)


def _define(tables: Tables, event: Event, payload: PlaceDefined) -> None:
    place, level = tables.names.intern(payload.place), tables.names.intern(payload.level)
    tables.write("INSERT INTO place VALUES (?, ?, ?)", place, event.seq, level)
    tables.write("INSERT INTO place_time VALUES (?, ?, ?)", place, event.valid_time_s, event.seq)
    if payload.polygon:
        area = abs(signed_area(payload.polygon))
        tables.write_many(
            "INSERT OR IGNORE INTO place_cell VALUES (?, ?, ?, ?, ?)",
            [(*cell, area, payload.place) for cell in cells_of(payload.polygon)],
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
