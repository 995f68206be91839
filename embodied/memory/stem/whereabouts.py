"""Where entities are believed to be: the last sighting, what holds them, the place around, and what speaks against."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embodied.geometry import Pose
from embodied.memory.stem.event import Event
from embodied.memory.stem.kinds import AbsenceSeen, EntitySeen, PlaceDefined
from embodied.memory.stem.log import EventLog
from embodied.memory.stem.places import Place, smallest_place
from embodied.memory.stem.query import Whereabouts
from embodied.memory.stem.spatial import ORPHAN, Parent

DEEPEST = 100  # Holders above one another; circles are refused when written.
RECENT = 1000


@dataclass(frozen=True)
class Instant:
    """What a question may know: events up to `seq`, of valid times up to `time_s` (infinite for the latest)."""

    seq: int
    time_s: float


def where_is(log: EventLog, entity: str, at: Instant, half_life_s: Mapping[str, float]) -> Whereabouts | None:
    """Returns where an entity or robot is believed to be, None for one that nobody has spoken of by then."""
    names = log.tables.names
    subject = names.find(entity)
    if subject is None:
        return None
    root = root_at(log, subject, at)
    seen = last_seen(log, root, at)
    parent = parent_at(log, root, at)
    if seen is None and parent.version == 0:
        return None
    pose, since_s, seq = _pose(log, seen, parent, at)
    return Whereabouts(
        entity=entity,
        pose=pose,
        place=_place(log, parent, pose, at),
        parent=names.text(parent.object),
        predicate=names.text(parent.predicate),
        existence=_existence(log, root, seen, at, half_life_s),
        since_s=since_s,
        seq=seq,
        version=parent.version,
    )


def contents(log: EventLog, holder: str, at: Instant) -> list[str]:
    """Returns the names of what is directly in, on, part of or held by something, sorted."""
    names = log.tables.names
    number = names.find(holder)
    if number is None:
        return []
    root = root_at(log, number, at)
    if at.seq >= log.head and at.time_s == math.inf:
        found = log.tables.rows("SELECT subject FROM containment WHERE object = ?", root)
    else:
        found = [
            (subject,)
            for (subject,) in log.tables.rows("SELECT DISTINCT subject FROM parent_change WHERE object = ?", root)
            if parent_at(log, subject, at).object == root
        ]
    return sorted(names.text(subject) for (subject,) in found)


def related(log: EventLog, name: str, at: Instant) -> list[tuple[str, str, str]]:
    """Returns the relations that are no containment (`near`, `connects`), in either role, sorted."""
    names = log.tables.names
    number = names.find(name)
    found = log.tables.rows(
        "SELECT subject, predicate, object, holds FROM link_change WHERE (subject = ? OR object = ?) "
        "AND valid_time_s <= ? AND seq <= ? ORDER BY valid_time_s, seq",
        number, number, at.time_s, at.seq,
    )  # fmt: skip
    last = {(names.text(a), names.text(b), names.text(c)): holds for a, b, c, holds in found}
    return sorted(link for link, holds in last.items() if holds)


def root_at(log: EventLog, entity: int, at: Instant) -> int:
    """Returns the id under which an entity lived at that instant."""
    question = "SELECT root FROM merge WHERE entity = ? AND valid_time_s <= ? AND seq <= ?"
    while found := log.tables.row(question, entity, at.time_s, at.seq):
        entity = found[0]
    return entity


def members_at(log: EventLog, root: int, at: Instant) -> list[int]:
    """Returns the ids of all entities that had turned out to be this one, itself first."""
    members = [root]
    for member in members:
        members += [
            entity
            for (entity,) in log.tables.rows(
                "SELECT entity FROM merge WHERE root = ? AND valid_time_s <= ? AND seq <= ?", member, at.time_s, at.seq
            )
        ]
    return members


def last_seen(log: EventLog, root: int, at: Instant) -> Event | None:
    """Returns the last sighting of an entity, or the last state of a robot, by valid time."""
    best = max((_last(log, member, at) for member in members_at(log, root, at)), default=(-math.inf, 0))
    return log.event(best[1]) if best[1] else None


def parent_at(log: EventLog, subject: int, at: Instant) -> Parent:
    """Returns what held an entity; valid times of its changes ascend with their versions."""
    found = log.tables.row(
        "SELECT predicate, object, version, since_s, seq FROM parent_change "
        "WHERE subject = ? AND since_s <= ? AND seq <= ? ORDER BY version DESC LIMIT 1",
        subject, at.time_s, at.seq,
    )  # fmt: skip
    return Parent(*found) if found else ORPHAN


def places_at(log: EventLog, at: Instant) -> list[Place]:
    """Returns the tree of places, in the order of their first definition."""
    found = log.tables.rows("SELECT seq FROM place WHERE seq <= ? ORDER BY seq", at.seq)
    places: dict[str, Place] = {}
    for (seq,) in found:
        event = log.event(seq)
        if event is None or not isinstance(event.payload, PlaceDefined) or event.valid_time_s > at.time_s:
            continue
        said = event.payload
        known = places.get(said.place)
        if known is None or known.valid_time_s <= event.valid_time_s:
            places[said.place] = Place(
                said.place, said.level, said.parent or "", said.polygon, said.bottom_m, said.top_m,
                event.valid_time_s, seq,
            )  # fmt: skip
    return list(places.values())


def _last(log: EventLog, subject: int, at: Instant) -> tuple[float, int]:
    found = [(-math.inf, 0)]
    for kind in ("entity_seen", "robot_state"):
        row = log.tables.row(
            "SELECT valid_time_s, seq FROM mention WHERE subject = ? AND kind = ? AND valid_time_s <= ? AND seq <= ? "
            "ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
            subject, log.tables.names.find(kind), at.time_s, at.seq,
        )  # fmt: skip
        if row:
            found.append((row[0], row[1]))
    return max(found)


def _pose(log: EventLog, seen: Event | None, parent: Parent, at: Instant) -> tuple[Pose | None, float, int]:
    """Returns pose, valid time and event: the last sighting's, or the holder's where that took the entity since."""
    own = (-math.inf, 0) if seen is None else _when(seen)
    held_by = log.tables.names.find("held_by")
    for _ in range(DEEPEST):
        root = root_at(log, parent.object, at) if parent.object else 0
        holder = last_seen(log, root, at) if root else None
        moved = parent.predicate == held_by and holder is not None and _when(holder) > own
        if root and (moved or (parent.since_s, parent.seq) > own):
            if holder is not None:
                since_s, seq = max((parent.since_s, parent.seq), _when(holder))
                return _sighted(holder), since_s, seq
            parent = parent_at(log, root, at)
            continue
        break
    return (None if seen is None else _sighted(seen)), own[0], own[1]


def _sighted(event: Event) -> Pose:
    said: Any = event.payload  # `EntitySeen` or `RobotState`.
    return said.pose


def _place(log: EventLog, parent: Parent, pose: Pose | None, at: Instant) -> str:
    for _ in range(DEEPEST):
        if not parent.object:
            break
        if _is_place(log, parent.object, at):
            return log.tables.names.text(parent.object)
        parent = parent_at(log, root_at(log, parent.object, at), at)
    return "" if pose is None else smallest_place(places_at(log, at), pose.position_m)


def _is_place(log: EventLog, name: int, at: Instant) -> bool:
    question = (
        "SELECT 1 FROM place JOIN event ON event.seq = place.seq "
        "WHERE place.place = ? AND place.seq <= ? AND event.valid_time_s <= ? LIMIT 1"
    )
    return log.tables.row(question, name, at.seq, at.time_s) is not None


def _existence(log: EventLog, root: int, seen: Event | None, at: Instant, half_life_s: Mapping[str, float]) -> float:
    """Returns the probability: the confidence, halved per half-life, less what was seen to be empty since."""
    if seen is None or not isinstance(seen.payload, EntitySeen):
        return 1.0
    probability = seen.payload.confidence
    half_life = half_life_s.get(seen.payload.category)
    if half_life is not None:
        probability *= 0.5 ** (max(0.0, _now_s(log, at) - seen.valid_time_s) / half_life)
    for member in members_at(log, root, at):
        for (seq,) in log.tables.rows(
            "SELECT seq FROM mention WHERE subject = ? AND kind = ? AND valid_time_s >= ? AND valid_time_s <= ? "
            "AND seq <= ?",
            member, log.tables.names.find("absence_seen"), seen.valid_time_s, at.time_s, at.seq,
        ):  # fmt: skip
            event = log.event(seq)
            if event and isinstance(event.payload, AbsenceSeen) and (event.valid_time_s, seq) > _when(seen):
                probability *= 1.0 - event.payload.visible_fraction * event.payload.confidence
    return probability


def _when(event: Event) -> tuple[float, int]:
    return event.valid_time_s, event.seq


def _now_s(log: EventLog, at: Instant) -> float:
    """Returns the instant's time, or the newest valid time among the last events, so that no clock is asked."""
    if at.time_s < math.inf:
        return at.time_s
    found = log.tables.row("SELECT MAX(valid_time_s) FROM event WHERE seq <= ? AND seq > ?", at.seq, at.seq - RECENT)
    return found[0] if found and found[0] is not None else 0.0
