"""Containment: one parent per entity with its history, and merged entities."""

import math
from typing import ClassVar

from embodied.errors import ConflictError, MemoryBankError
from embodied.memory.projections.parents import (
    NO_NAME,
    depth_of,
    highest_version,
    is_inside,
    next_parent,
    parent_of,
    root_of,
    taken_over,
    write_change,
    write_current,
)
from embodied.memory.projections.projection import Projection, TakenBack
from embodied.memory.projections.stays import SCHEMA as STAY_SCHEMA
from embodied.memory.projections.stays import end_stay
from embodied.memory.projections.withdrawn_containment import withdraw_containment
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import CONTAINMENT, EntityMerged, RelationEnded, RelationSet
from embodied.memory.schema.limits import DEEPEST_CONTAINMENT
from embodied.memory.storage.tables import Tables


class ContainmentTables(Projection):
    """`containment` holds the current parents, `parent_change` their history, `merge` which entities are the same.

    A row counts from the event `known_seq` on, its own or a withdrawal, until the withdrawal `until_seq`; it then has
    the negative of its key. `containment` also has the highest version that a thing ever had. `idle_end` has the ends
    that had no effect, since what began the relation was withdrawn. `merge` has the name into which an entity was
    merged, and the one under which that lived on then, `root`. See `withdrawn_containment` for withdrawals.
    """

    schema: ClassVar[str] = (
        """
    CREATE TABLE IF NOT EXISTS containment (
        subject INTEGER PRIMARY KEY, predicate INTEGER NOT NULL, object INTEGER NOT NULL, version INTEGER NOT NULL,
        since_s REAL NOT NULL, seq INTEGER NOT NULL, first INTEGER NOT NULL, highest INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS containment_object ON containment (object, since_s);
    CREATE TABLE IF NOT EXISTS parent_change (
        subject INTEGER NOT NULL, version INTEGER NOT NULL, predicate INTEGER NOT NULL, object INTEGER NOT NULL,
        since_s REAL NOT NULL, seq INTEGER NOT NULL, first INTEGER NOT NULL, known_seq INTEGER NOT NULL,
        until_seq INTEGER, PRIMARY KEY (subject, version)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS idle_end (
        subject INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (subject, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS merge (
        entity INTEGER NOT NULL, known_seq INTEGER NOT NULL, named INTEGER NOT NULL, root INTEGER NOT NULL,
        valid_time_s REAL NOT NULL, seq INTEGER NOT NULL, until_seq INTEGER, PRIMARY KEY (entity, known_seq)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS merge_root ON merge (root);
    """
        + STAY_SCHEMA
    )
    tables: ClassVar[tuple[str, ...]] = ("containment", "parent_change", "idle_end", "merge", "stay")

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `MemoryBankError` for a second parent or a circle, `ConflictError` for a stale version."""
        match event.payload:
            case RelationSet() | RelationEnded() as payload if payload.predicate in CONTAINMENT:
                _check_containment(tables, payload)
            case EntityMerged() as payload:
                _check_merge(tables, payload)

    def apply(self, tables: Tables, event: Event) -> None:
        """Writes parents and merges."""
        match event.payload:
            case RelationSet() | RelationEnded() as payload if payload.predicate in CONTAINMENT:
                holds = isinstance(payload, RelationSet)
                predicate = tables.names.intern(payload.predicate) if holds else NO_NAME
                _change(tables, event, root_of(tables, payload.subject), (predicate, _object(tables, payload) * holds))
            case EntityMerged() as payload:
                _merge(tables, event, payload)

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Writes the parents and merges as they are without the withdrawn ones, for later views.

        Raises `MemoryBankError` where a thing would be inside itself.
        """
        del self
        withdraw_containment(tables, back)


def _object(tables: Tables, payload: RelationSet | RelationEnded) -> int:
    return root_of(tables, payload.object)


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
    if depth_of(tables, holder, most=DEEPEST_CONTAINMENT) >= DEEPEST_CONTAINMENT:
        raise MemoryBankError(
            f"Things must be nested at most {DEEPEST_CONTAINMENT} deep.",
            value=(tables.names.text(subject), tables.names.text(holder)),
            remedy="Put it into something that is less deep inside others.",
        )
    if is_inside(holder, subject, lambda one: parent_of(tables, one).object):
        text = tables.names.text
        raise MemoryBankError(
            "Nothing may be inside itself, at any depth.",
            value=(text(subject), text(holder)),
            remedy=f"Take {text(holder)!r} out of {text(subject)!r} first.",
        )


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
    named = tables.names.intern(payload.into)
    tables.write(
        "INSERT INTO merge VALUES (?, ?, ?, ?, ?, ?, NULL)",
        entity, event.seq, named, into, event.valid_time_s, event.seq,
    )  # fmt: skip
    taken, own = parent_of(tables, entity), parent_of(tables, into)
    if taken.predicate:
        _change(tables, event, entity, (NO_NAME, NO_NAME))
        if taken_over(taken, own) and not is_inside(taken.object, into, lambda one: parent_of(tables, one).object):
            _change(tables, event, into, (taken.predicate, taken.object), not_before_s=taken.since_s)
    children = tables.select("SELECT subject, predicate FROM containment WHERE object = ? ORDER BY subject", entity)
    for child, predicate in children:
        _change(tables, event, child, (predicate, into))


def _change(
    tables: Tables, event: Event, subject: int, held: tuple[int, int], *, not_before_s: float = -math.inf
) -> None:
    """Writes the next parent, `held`: predicate and object."""
    now = parent_of(tables, subject)
    version = highest_version(tables, subject) + 1
    following = next_parent(now, event, held, version, not_before_s=not_before_s)
    if now.object:
        end_stay(tables, subject, now.object, (now.since_s, now.seq), (following.since_s, event.seq))
    write_current(tables, subject, following, version)
    write_change(tables, subject, following, event.seq)
