"""Space: the tree of places, one parent per entity, other relations, and entities that turn out to be one."""

import math
from typing import NamedTuple

from embodied.errors import ConflictError, MemoryBankError
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
    """What an entity is in, on, part of or held by, as ids of names; `predicate` 0 for nothing."""

    predicate: int
    object: int
    version: int
    since_s: float
    seq: int


ORPHAN = Parent(NO_NAME, NO_NAME, 0, -math.inf, 0)


class Spatial:
    """`place` and `merge` point to events; `containment` holds the parents of now, `parent_change` how they came."""

    schema = """
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
    tables = ("place", "containment", "parent_change", "link_change", "merge")

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `MemoryBankError` for a broken tree or a second parent, `ConflictError` for a stale version."""
        match event.payload:
            case PlaceDefined() as said:
                _check_place(tables, said)
            case RelationSet() | RelationEnded() as said if said.predicate in CONTAINMENT:
                _check_containment(tables, said)
            case EntityMerged() as said:
                _check_merge(tables, said)

    def apply(self, tables: Tables, event: Event) -> None:
        """Writes places, relations and merges; what is seen is found through `mention`."""
        match event.payload:
            case PlaceDefined() as said:
                intern = tables.names.intern
                tables.write("INSERT INTO place VALUES (?, ?, ?)", intern(said.place), event.seq, intern(said.level))
            case RelationSet() | RelationEnded() as said if said.predicate in CONTAINMENT:
                holds = isinstance(said, RelationSet)
                predicate = tables.names.intern(said.predicate) if holds else NO_NAME
                _change(tables, event, root_of(tables, said.subject), (predicate, _object(tables, said) * holds))
            case RelationSet() | RelationEnded() as said:
                _link(tables, event, said)
            case EntityMerged() as said:
                _merge(tables, event, said)


def parent_of(tables: Tables, subject: int) -> Parent:
    """Returns the newest parent of an entity, by its id."""
    found = tables.row("SELECT predicate, object, version, since_s, seq FROM containment WHERE subject = ?", subject)
    return Parent(*found) if found else ORPHAN


def root_of(tables: Tables, name: str) -> int:
    """Returns the id under which an entity lives now: its own, or that of the one it was merged into."""
    number = tables.names.intern(name)
    while found := tables.row("SELECT root FROM merge WHERE entity = ?", number):
        number = found[0]
    return number


def _object(tables: Tables, said: RelationSet | RelationEnded) -> int:
    return root_of(tables, said.object)


def _check_place(tables: Tables, said: PlaceDefined) -> None:
    level = _level(tables, said.place)
    if level not in ("", said.level):
        raise MemoryBankError(
            "A place must keep its level.", value=(said.place, said.level), remedy=f"It is a {level}: take a new name."
        )
    if said.parent is None:
        return
    above = _level(tables, said.parent)
    if not above or PLACE_KINDS.index(above) >= PLACE_KINDS.index(said.level):
        raise MemoryBankError(
            "The parent of a place must exist and be of a wider level.",
            value=(said.place, said.level, said.parent),
            remedy=f"{said.parent!r} is {'a ' + above if above else 'not defined yet'}. "
            f"From wide to narrow: {', '.join(PLACE_KINDS)}.",
        )


def _level(tables: Tables, place: str) -> str:
    found = tables.row("SELECT level FROM place WHERE place = ? LIMIT 1", tables.names.find(place))
    return tables.names.text(found[0]) if found else ""


def _check_containment(tables: Tables, said: RelationSet | RelationEnded) -> None:
    subject = root_of(tables, said.subject)
    now = parent_of(tables, subject)
    text = tables.names.text
    if said.expected_version is not None and said.expected_version != now.version:
        raise ConflictError(
            f"The parent of {said.subject!r} must not have changed since it was read.",
            value=said.expected_version,
            remedy=f"Its version is {now.version}: read again, decide again, retry.",
        )
    if isinstance(said, RelationEnded):
        if (text(now.predicate), now.object) != (said.predicate, _object(tables, said)):
            raise MemoryBankError(
                "Only a relation that holds can end.",
                value=(said.subject, said.predicate, said.object),
                remedy=f"It is {text(now.predicate)} {text(now.object)}." if now.object else "It has no parent.",
            )
    else:
        if now.predicate and said.expected_version is None:
            raise MemoryBankError(
                "An entity must not have two parents.",
                value=(said.subject, said.predicate, said.object),
                remedy=f"It is {text(now.predicate)} {text(now.object)}: give `expected_version` {now.version} to "
                "replace that.",
            )
        _refuse_circle(tables, subject, _object(tables, said))


def _refuse_circle(tables: Tables, subject: int, holder: int) -> None:
    if _is_inside(tables, holder, subject):
        text = tables.names.text
        raise MemoryBankError(
            "Nothing may be inside itself, however far down.",
            value=(text(subject), text(holder)),
            remedy=f"Take {text(holder)!r} out of {text(subject)!r} first.",
        )


def _is_inside(tables: Tables, inner: int, outer: int) -> bool:
    """Returns whether an entity is another one or, however deep, inside it."""
    while inner and inner != outer:
        inner = parent_of(tables, inner).object
    return bool(inner)


def _check_merge(tables: Tables, said: EntityMerged) -> None:
    entity, into = root_of(tables, said.entity), root_of(tables, said.into)
    names = tables.names
    if entity != names.find(said.entity) or entity == into:
        raise MemoryBankError(
            "An entity can be merged only once.",
            value=(said.entity, said.into),
            remedy=f"It lives on as {names.text(entity)!r}: merge that one.",
        )
    _refuse_circle(tables, entity, parent_of(tables, into).object)


def _merge(tables: Tables, event: Event, said: EntityMerged) -> None:
    """What the entity held is now held by the one it lives on as, and so is its parent taken over, if it is newer."""
    entity, into = root_of(tables, said.entity), root_of(tables, said.into)
    tables.write("INSERT INTO merge VALUES (?, ?, ?, ?)", entity, into, event.valid_time_s, event.seq)
    told, own = parent_of(tables, entity), parent_of(tables, into)
    if told.predicate:
        _change(tables, event, entity, (NO_NAME, NO_NAME))
        newer = not own.predicate or (told.since_s, told.seq) > (own.since_s, own.seq)
        if newer and not _is_inside(tables, told.object, into):
            _change(tables, event, into, (told.predicate, told.object), not_before_s=told.since_s)
    children = tables.rows("SELECT subject, predicate FROM containment WHERE object = ? ORDER BY subject", entity)
    for child, predicate in children:
        _change(tables, event, child, (predicate, into))


def _change(
    tables: Tables, event: Event, subject: int, held: tuple[int, int], *, not_before_s: float = -math.inf
) -> None:
    """Writes the next parent, `held`: predicate and object. It counts from the event's valid time.

    But never from before the one it replaces: clocks of robots differ a little, and whoever knew the version also knew
    what came before.
    """
    now = parent_of(tables, subject)
    since_s = max(event.valid_time_s, now.since_s, not_before_s)
    values = (subject, *held, now.version + 1, since_s, event.seq)
    tables.write("INSERT OR REPLACE INTO containment VALUES (?, ?, ?, ?, ?, ?)", *values)
    tables.write(
        "INSERT INTO parent_change (subject, predicate, object, version, since_s, seq) VALUES (?, ?, ?, ?, ?, ?)",
        *values,
    )


def _link(tables: Tables, event: Event, said: RelationSet | RelationEnded) -> None:
    intern = tables.names.intern
    tables.write(
        "INSERT INTO link_change VALUES (?, ?, ?, ?, ?, ?)",
        intern(said.subject), intern(said.predicate), intern(said.object), event.valid_time_s, event.seq,
        int(isinstance(said, RelationSet)),
    )  # fmt: skip
