"""The state at an instant: merged entities, parents and last sightings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from embodied.memory.projections.spatial import ORPHAN, Parent, last_root
from embodied.memory.schema.event import LogPosition
from embodied.memory.storage.log import EventLog

NEVER: LogPosition = (-math.inf, 0)
RECENT = 1000
SEEN_KINDS = ("entity_seen", "robot_state")
MEMBERS = (  # Of a root, an instant's time and its number: the entities that are the same, breadth first.
    "WITH RECURSIVE member (entity, into_entity, time_s, merged) AS (SELECT ?1, ?1, 0, 0 UNION ALL "
    "SELECT merge.entity, merge.root, merge.valid_time_s, merge.seq FROM member "
    "JOIN merge ON merge.root = member.entity WHERE merge.valid_time_s <= ?2 AND merge.seq <= ?3)"
)


@dataclass(frozen=True)
class Instant:
    """The knowledge of a query: events up to `seq`, of valid times up to `time_s` (infinite for the latest)."""

    seq: int
    time_s: float


@dataclass(frozen=True)
class Member:
    """An entity that is the same as another, the entity into which it was merged, and since when (itself, `NEVER`)."""

    entity: int
    into: int
    merged: LogPosition


def root_at(log: EventLog, entity: int, at: Instant) -> int:
    """Returns the id of `entity` after the merges in `log` that are known `at` that instant."""
    statement = "SELECT root FROM merge WHERE entity = ? AND valid_time_s <= ? AND seq <= ?"
    found = log.tables.select_one(statement, entity, at.time_s, at.seq)
    return last_root(log.tables, found[0], at.time_s, at.seq) if found else entity


def members_at(log: EventLog, root: int, at: Instant) -> list[Member]:
    """Returns all entities that are merged into `root` in `log` `at` that instant, itself first.

    An entity comes before those that were merged into it.
    """
    if not log.tables.select("SELECT 1 FROM merge WHERE root = ? LIMIT 1", root):
        return [Member(root, root, NEVER)]
    found = log.tables.select(
        f"{MEMBERS} SELECT entity, into_entity, time_s, merged FROM member LIMIT -1 OFFSET 1",  # noqa: S608
        root, at.time_s, at.seq,
    )  # fmt: skip
    return [Member(root, root, NEVER), *(Member(entity, into, (time_s, seq)) for entity, into, time_s, seq in found)]


def members_with(log: EventLog, root: int, at: Instant, table: str) -> set[int]:
    """Returns which of the entities that `members_at` gives for `log`, `root` and `at` have a row in a `table`.

    It is one of the bank's that has a column `subject`.
    """
    found = log.tables.select(
        f"{MEMBERS} SELECT entity FROM member WHERE EXISTS (SELECT 1 FROM {table} WHERE subject = entity)",  # noqa: S608
        root, at.time_s, at.seq,
    )  # fmt: skip
    return {entity for (entity,) in found}


def members_seen(log: EventLog, root: int, at: Instant, time_s: float) -> dict[int, LogPosition]:
    """Returns what `last_seen` does, for all entities of `members_at` of `root` that were seen by `time_s`.

    The merges in `log` count `at` that instant.
    """
    seen: dict[int, LogPosition] = {}
    for kind in SEEN_KINDS:
        for entity, *position in log.tables.select(
            f"{MEMBERS} SELECT entity, event.valid_time_s, event.seq FROM member JOIN event ON event.seq = ("  # noqa: S608
            "SELECT seq FROM mention WHERE subject = entity AND kind = ? AND valid_time_s <= ? AND seq <= ? "
            "ORDER BY valid_time_s DESC, seq DESC LIMIT 1)",
            root, at.time_s, at.seq, log.tables.names.find(kind), time_s, at.seq,
        ):  # fmt: skip
            seen[entity] = max(seen.get(entity, NEVER), (position[0], position[1]))
    return seen


def last_seen(log: EventLog, entity: int, at: Instant) -> LogPosition:
    """Returns the position of the last sighting of `entity` under this very id, or the last state of a robot.

    It comes from `log` as known `at` that instant; `NEVER` for none.
    """
    best = NEVER
    for kind in SEEN_KINDS:
        row = log.tables.select_one(
            "SELECT valid_time_s, seq FROM mention WHERE subject = ? AND kind = ? AND valid_time_s <= ? AND seq <= ? "
            "ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
            entity, log.tables.names.find(kind), at.time_s, at.seq,
        )  # fmt: skip
        if row:
            best = max(best, (row[0], row[1]))
    return best


def parent_at(log: EventLog, subject: int, at: Instant) -> Parent:
    """Returns the parent of `subject` in `log` `at` that instant.

    Valid times of its changes ascend with their versions.
    """
    found = parents_at(log, subject, at, most=1)
    return found[0] if found else ORPHAN


def parents_at(log: EventLog, subject: int, at: Instant, *, most: int, below: int | None = None) -> Sequence[Parent]:
    """Returns the parents of `subject` in `log` until the instant `at`, the newest first.

    There are at most `most`, of versions under `below`.
    """
    found = log.tables.select(
        "SELECT predicate, object, version, since_s, seq, first FROM parent_change "
        "WHERE subject = ? AND version < ? AND since_s <= ? AND seq <= ? ORDER BY version DESC LIMIT ?",
        subject, math.inf if below is None else below, at.time_s, at.seq, most,
    )  # fmt: skip
    return [Parent(*row) for row in found]


def now_s(log: EventLog, at: Instant) -> float:
    """Returns the instant's time, or the newest valid time among the last events, so that no clock is needed."""
    if at.time_s < math.inf:
        return at.time_s
    found = log.tables.select_one(
        "SELECT MAX(valid_time_s) FROM event WHERE seq <= ? AND seq > ?", at.seq, at.seq - RECENT
    )
    return found[0] if found and found[0] is not None else 0.0
