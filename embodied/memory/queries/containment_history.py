"""The state at an instant: merged entities, parents, last sightings and places."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from embodied.memory.projections.spatial import ORPHAN, Parent
from embodied.memory.schema.event import LogPosition
from embodied.memory.schema.kinds import PlaceDefined
from embodied.memory.schema.places import Place
from embodied.memory.storage.log import EventLog

NEVER: LogPosition = (-math.inf, 0)
RECENT = 1000


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
    while found := log.tables.select_one(statement, entity, at.time_s, at.seq):
        entity = found[0]
    return entity


def members_at(log: EventLog, root: int, at: Instant) -> list[Member]:
    """Returns all entities that are merged into `root` in `log` `at` that instant, itself first."""
    members = [Member(root, root, NEVER)]
    for member in members:
        members += [
            Member(entity, member.entity, (time_s, seq))
            for entity, time_s, seq in log.tables.select(
                "SELECT entity, valid_time_s, seq FROM merge WHERE root = ? AND valid_time_s <= ? AND seq <= ?",
                member.entity, at.time_s, at.seq,
            )
        ]  # fmt: skip
    return members


def last_seen(log: EventLog, entity: int, at: Instant) -> LogPosition:
    """Returns the position of the last sighting of `entity` under this very id, or the last state of a robot.

    It comes from `log` as known `at` that instant; `NEVER` for none.
    """
    best = NEVER
    for kind in ("entity_seen", "robot_state"):
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
        "SELECT predicate, object, version, since_s, seq FROM parent_change "
        "WHERE subject = ? AND version < ? AND since_s <= ? AND seq <= ? ORDER BY version DESC LIMIT ?",
        subject, math.inf if below is None else below, at.time_s, at.seq, most,
    )  # fmt: skip
    return [Parent(*row) for row in found]


def places_at(log: EventLog, at: Instant) -> list[Place]:
    """Returns the tree of places, in the order of their first definition."""
    found = log.tables.select("SELECT seq FROM place WHERE seq <= ? ORDER BY seq", at.seq)
    places: dict[str, Place] = {}
    for (seq,) in found:
        event = log.event(seq)
        if event is None or not isinstance(event.payload, PlaceDefined) or event.valid_time_s > at.time_s:
            continue
        payload = event.payload
        known = places.get(payload.place)
        if known is None or known.valid_time_s <= event.valid_time_s:
            places[payload.place] = Place(
                payload.place, payload.level, payload.parent or "", payload.polygon, payload.bottom_m, payload.top_m,
                event.valid_time_s, seq,
            )  # fmt: skip
    return list(places.values())


def now_s(log: EventLog, at: Instant) -> float:
    """Returns the instant's time, or the newest valid time among the last events, so that no clock is needed."""
    if at.time_s < math.inf:
        return at.time_s
    found = log.tables.select_one(
        "SELECT MAX(valid_time_s) FROM event WHERE seq <= ? AND seq > ?", at.seq, at.seq - RECENT
    )
    return found[0] if found and found[0] is not None else 0.0
