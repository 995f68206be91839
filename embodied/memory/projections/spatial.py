"""Space: the tree of places, one parent per entity, other relations, and merged entities."""

import math
from typing import ClassVar, NamedTuple

from embodied.errors import ConflictError, MemoryBankError
from embodied.memory.projections.projection import Projection
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import (
    CONTAINMENT,
    PLACE_KINDS,
    EntityMerged,
    PlaceDefined,
    RelationEnded,
    RelationSet,
)
from embodied.memory.storage.tables import Tables

NO_NAME = 0


class Parent(NamedTuple):
    """The container, support, whole or holder of an entity, as ids of names; `predicate` 0 for none."""

    predicate: int
    object: int
    version: int
    since_s: float
    seq: int


ORPHAN = Parent(NO_NAME, NO_NAME, 0, -math.inf, 0)


class Spatial(Projection):
    """`place` and `merge` point to events; `containment` holds the current parents, `parent_change` their history."""

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS place (
        place INTEGER NOT NULL, seq INTEGER NOT NULL, level INTEGER NOT NULL, PRIMARY KEY (place, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS containment (
        subject INTEGER PRIMARY KEY, predicate INTEGER NOT NULL, object INTEGER NOT NULL, version INTEGER NOT NULL,
        since_s REAL NOT NULL, seq INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS containment_object ON containment (object);
    CREATE TABLE IF NOT EXISTS parent_change (
        subject INTEGER NOT NULL, version INTEGER NOT NULL, predicate INTEGER NOT NULL, object INTEGER NOT NULL,
        since_s REAL NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (subject, version)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS parent_change_object ON parent_change (object);
    CREATE TABLE IF NOT EXISTS link_change (
        subject INTEGER NOT NULL, predicate INTEGER NOT NULL, object INTEGER NOT NULL, valid_time_s REAL NOT NULL,
        seq INTEGER NOT NULL, holds INTEGER NOT NULL, PRIMARY KEY (subject, predicate, object, valid_time_s, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS merge (
        entity INTEGER PRIMARY KEY, root INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS merge_root ON merge (root);
    """
    tables: ClassVar[tuple[str, ...]] = ("place", "containment", "parent_change", "link_change", "merge")

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
        """Writes places, relations and merges; sightings are found through `mention`."""
        match event.payload:
            case PlaceDefined() as payload:
                intern = tables.names.intern
                tables.write(
                    "INSERT INTO place VALUES (?, ?, ?)", intern(payload.place), event.seq, intern(payload.level)
                )
            case RelationSet() | RelationEnded() as payload if payload.predicate in CONTAINMENT:
                holds = isinstance(payload, RelationSet)
                predicate = tables.names.intern(payload.predicate) if holds else NO_NAME
                _change(tables, event, root_of(tables, payload.subject), (predicate, _object(tables, payload) * holds))
            case RelationSet() | RelationEnded() as payload:
                _link(tables, event, payload)
            case EntityMerged() as payload:
                _merge(tables, event, payload)


def parent_of(tables: Tables, subject: int) -> Parent:
    """Returns the newest parent of an entity, by its id."""
    found = tables.select_one(
        "SELECT predicate, object, version, since_s, seq FROM containment WHERE subject = ?", subject
    )
    return Parent(*found) if found else ORPHAN


def root_of(tables: Tables, name: str) -> int:
    """Returns the current id of an entity: its own, or that of the entity into which it was merged."""
    number = tables.names.intern(name)
    while found := tables.select_one("SELECT root FROM merge WHERE entity = ?", number):
        number = found[0]
    return number


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
    values = (subject, *held, now.version + 1, since_s, event.seq)
    tables.write("INSERT OR REPLACE INTO containment VALUES (?, ?, ?, ?, ?, ?)", *values)
    tables.write(
        "INSERT INTO parent_change (subject, predicate, object, version, since_s, seq) VALUES (?, ?, ?, ?, ?, ?)",
        *values,
    )


def _link(tables: Tables, event: Event, payload: RelationSet | RelationEnded) -> None:
    intern = tables.names.intern
    tables.write(
        "INSERT INTO link_change VALUES (?, ?, ?, ?, ?, ?)",
        intern(payload.subject), intern(payload.predicate), intern(payload.object), event.valid_time_s, event.seq,
        int(isinstance(payload, RelationSet)),
    )  # fmt: skip
