"""Rows of the tables of containment: the parents of entities, and the entities that are the same."""

import math
from collections.abc import Callable
from typing import NamedTuple

from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import EntityMerged
from embodied.memory.storage.tables import Tables

NO_NAME = 0


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
    return root_by(tables, found[0]) if found else number


def root_by(tables: Tables, entity: int, seq: float = math.inf) -> int:
    """Returns the id that `entity` has, by its id in `tables`, after all merges up to event `seq` that still count."""
    found = tables.select_one(
        "WITH RECURSIVE up (entity, hops) AS (SELECT ?, 0 UNION ALL SELECT merge.root, hops + 1 FROM up "
        "JOIN merge ON merge.entity = up.entity WHERE seq <= ?) SELECT entity FROM up ORDER BY hops DESC LIMIT 1",
        entity, seq,
    )  # fmt: skip
    return found[0] if found else entity


def highest_version(tables: Tables, subject: int) -> int:
    """Returns the highest version that the parent of an entity ever had, withdrawn ones included."""
    found = tables.select_one("SELECT highest FROM containment WHERE subject = ?", subject)
    return found[0] if found else 0


def next_parent(
    now: Parent, event: Event, held: tuple[int, int], version: int, *, not_before_s: float = -math.inf
) -> Parent:
    """Returns the parent that follows `now` by an `event`: `held`, its predicate and object, counted as `version`.

    It counts from the event's valid time, but from no earlier than the change that it replaces, nor `not_before_s`:
    clocks of robots differ a little, and a writer that knew the version also knew the previous change.
    """
    since_s = max(event.valid_time_s, now.since_s, not_before_s)
    same = held == (now.predicate, now.object) and now.version and not isinstance(event.payload, EntityMerged)
    return Parent(*held, version, since_s, event.seq, now.first if same else version)


def taken_over(taken: Parent, own: Parent) -> bool:
    """Returns whether the parent of a merged entity, `taken`, counts rather than the `own` one of what remains."""
    return bool(taken.predicate) and (not own.predicate or (taken.since_s, taken.seq) > (own.since_s, own.seq))


def depth_of(tables: Tables, entity: int, *, most: int) -> int:
    """Returns in how many things an `entity`, by its id in `tables`, is nested; `most` for as many and more."""
    found = tables.select_one(
        "WITH RECURSIVE up (entity, depth) AS (SELECT ?, 0 UNION ALL SELECT containment.object, depth + 1 FROM up "
        "JOIN containment ON containment.subject = up.entity WHERE containment.object != 0 AND depth < ?) "
        "SELECT MAX(depth) FROM up",
        entity, most,
    )  # fmt: skip
    return found[0] if found else 0


def is_inside(inner: int, outer: int, holder_of: Callable[[int], int]) -> bool:
    """Returns whether `inner` equals `outer` or is inside it at any depth; `holder_of` gives parents, 0 for none.

    A circle of holders, which withdrawals may leave in the past, is gone through once.
    """
    passed: set[int] = set()
    while inner and inner != outer and inner not in passed:
        passed.add(inner)
        inner = holder_of(inner)
    return bool(inner) and inner == outer


def write_current(tables: Tables, subject: int, parent: Parent, highest: int) -> None:
    """Writes the current `parent` of `subject` to `tables`, and the `highest` version that it ever had."""
    tables.write("INSERT OR REPLACE INTO containment VALUES (?, ?, ?, ?, ?, ?, ?, ?)", subject, *parent, highest)


def write_change(tables: Tables, subject: int, parent: Parent, known_seq: int) -> None:
    """Adds a `parent` to the history of `subject` in `tables`; it counts from event `known_seq` on."""
    tables.write(
        "INSERT INTO parent_change (subject, predicate, object, version, since_s, seq, first, known_seq) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        subject, *parent, known_seq,
    )  # fmt: skip
