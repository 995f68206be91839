"""Location belief: the pose of an entity, its parent, the place around it, and whether it still exists."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from embodied.memory.projections.spatial import ORPHAN, Parent
from embodied.memory.queries.containment_history import NEVER, Instant, now_s, parent_at, root_at
from embodied.memory.queries.pose_propagation import DEEPEST, PosePropagation, pose_of
from embodied.memory.schema.event import LogPosition
from embodied.memory.schema.kinds import AbsenceSeen, EntitySeen, RelationSet
from embodied.memory.schema.places import is_within, may_hold, smallest_place
from embodied.memory.schema.query import LocationBelief
from embodied.memory.storage.log import EventLog

MAY_BE = "may_be"
ANY_CATEGORY = ""  # The key of the half-life of all other categories; no entity may have this category.


@dataclass(frozen=True)
class _Around:
    """The surroundings of a thing, consistent with its pose."""

    place: str
    parent: Parent


@dataclass(frozen=True)
class _Trace:
    """The probability that a thing exists by itself, when it was last seen, and when it was last missed since."""

    probability: float
    seen: LogPosition
    missed: LogPosition


def where_is(log: EventLog, entity: str, at: Instant, half_life_s: Mapping[str, float]) -> LocationBelief | None:
    """Returns the location belief of `entity` (or a robot) from `log` `at` an instant, None without events by then.

    `half_life_s` is by category.
    """
    names = log.tables.names
    subject = names.find(entity)
    if subject is None:
        return None
    root = root_at(log, subject, at)
    propagation = PosePropagation(log, at)
    seen = propagation.sighting(root, at.time_s)
    logged = parent_at(log, root, at)
    if seen is None and logged.version == 0:
        return None
    belief = propagation.belief(root, at.time_s)
    around = _around(log, propagation, root, logged)
    return LocationBelief(
        entity=entity,
        pose=belief.pose,
        place=around.place,
        parent=names.text(around.parent.object),
        predicate=names.text(around.parent.predicate),
        existence=_existence(log, propagation, root, around.parent, half_life_s),
        since_s=belief.position[0],
        seq=belief.position[1],
        version=logged.version,
        candidates=_candidates(log, entity, at),
    )


def _candidates(log: EventLog, entity: str, at: Instant) -> tuple[str, ...]:
    """Returns the names of the things that an entity may be instead, sorted."""
    if log.tables.names.find(MAY_BE) is None:
        return ()
    pairs = [(one, other) for one, predicate, other in related(log, entity, at) if predicate == MAY_BE]
    return tuple(sorted({name for pair in pairs for name in pair} - {entity}))


def evidence(log: EventLog, entity: str, at: Instant) -> frozenset[int]:
    """Returns the sightings and robot states that support `where_is`, as sequence numbers.

    `log`, `entity` and `at` are those of `where_is`.
    """
    subject = log.tables.names.find(entity)
    if subject is None:
        return frozenset()
    propagation = PosePropagation(log, at)
    propagation.belief(root_at(log, subject, at), at.time_s)
    return propagation.read


def contents(log: EventLog, holder: str, at: Instant) -> list[str]:
    """Returns the names of the direct contents, parts and held things of `holder` in `log` `at` an instant, sorted.

    See `LocationBelief`.
    """
    names = log.tables.names
    number = names.find(holder)
    if number is None:
        return []
    propagation = PosePropagation(log, at)
    held: list[str] = []
    for subject, parent in _logged_in(log, propagation, root_at(log, number, at)):
        if holder in propagation.places:
            inside = _around(log, propagation, subject, parent).parent.object
        else:
            inside = not propagation.left(subject, at.time_s)
        held += [names.text(subject)] if inside else []
    return sorted(held)


def related(log: EventLog, name: str, at: Instant) -> list[tuple[str, str, str]]:
    """Returns the relations of `name` in `log` `at` an instant that are no containment (`near`, `connects`), sorted.

    Both roles count. Relations of merged entities are those of the one that remains, whose name is used.
    """
    number = log.tables.names.find(name)
    if number is None:
        return []
    resolution = PosePropagation(log, at).resolution
    members = resolution.members(resolution.root(number))
    last: dict[tuple[int, int, int], int] = {}
    for _, _, subject, predicate, other, holds in sorted(
        {row for one in members for row in _links(log, one.entity, at)}
    ):
        last[resolution.root(subject), predicate, resolution.root(other)] = holds
    text = log.tables.names.text
    return sorted((text(a), text(predicate), text(b)) for (a, predicate, b), holds in last.items() if holds and a != b)


def _links(log: EventLog, entity: int, at: Instant) -> Sequence[tuple[float, int, int, int, int, int]]:
    """Returns when (seconds, seq) a relation of an entity, in either role, began or ended to hold, by `at`."""
    return log.tables.select(
        "SELECT valid_time_s, seq, subject, predicate, object, holds FROM link_change "
        "WHERE (subject = ? OR object = ?) AND valid_time_s <= ? AND seq <= ?",
        entity, entity, at.time_s, at.seq,
    )  # fmt: skip


def _logged_in(log: EventLog, propagation: PosePropagation, root: int) -> Iterator[tuple[int, Parent]]:
    """Yields the entities whose logged parent is `root` under any of its names, by their root ids, and that parent."""
    at = propagation.at
    table = "containment" if at.seq >= log.head and at.time_s == math.inf else "parent_change"
    holders = {member.entity for member in propagation.resolution.members(root)}
    statement = f"SELECT DISTINCT subject FROM {table} WHERE object = ?"  # noqa: S608
    for subject in {subject for holder in holders for (subject,) in log.tables.select(statement, holder)}:
        parent = parent_at(log, subject, at)
        if parent.object in holders and propagation.resolution.root(subject) == subject != root:
            yield subject, parent


def _around(log: EventLog, propagation: PosePropagation, root: int, logged: Parent) -> _Around:
    """Returns the place and the parent of a thing that agree with its pose; `logged` is the parent by its relations."""
    at, places, text = propagation.at, propagation.places, log.tables.names.text
    holder = propagation.resolution.root(logged.object)
    # After a merge a thing may be its own holder.
    logged = ORPHAN if holder == root else logged._replace(object=holder)
    place, _ = propagation.logged_place(holder, (logged.since_s, logged.seq), at.time_s)
    pose = propagation.belief(root, at.time_s).pose
    if pose is None:
        return _Around(place, logged)
    smallest = smallest_place(places.values(), pose.position_m)
    if propagation.left(root, at.time_s):
        return _Around(smallest, ORPHAN)
    if not place or text(holder) != place:
        fits = place and may_hold(places, place, pose.position_m) and not is_within(places, smallest, place)
        return _Around(place if fits else smallest, logged)
    if _seen_elsewhere(propagation, root, logged, holder, place):
        return _Around(smallest, ORPHAN)
    return _Around(smallest if is_within(places, smallest, place) else place, logged)


def _seen_elsewhere(propagation: PosePropagation, root: int, logged: Parent, holder: int, place: str) -> bool:
    """Returns whether a thing was seen outside the place of its logged parent.

    A place that has a pose itself may have moved away from its outline, with its contents; where it has a box,
    `PosePropagation.left` decides.
    """
    time_s, places = propagation.at.time_s, propagation.places
    pose = propagation.belief(root, time_s).pose
    if propagation.belief(holder, time_s).pose is None:
        return pose is not None and not may_hold(places, place, pose.position_m)
    seen = propagation.sighting(root, time_s)
    if seen is None or seen.position < (logged.since_s, logged.seq) or propagation.extent(holder, seen.position[0]):
        return False
    return not may_hold(places, place, pose_of(seen).position_m)


def _existence(
    log: EventLog, propagation: PosePropagation, root: int, parent: Parent, half_life_s: Mapping[str, float]
) -> float:
    """Returns the probability: its own, and at most that of its holder where that was missed since it was seen."""
    own = _trace(log, propagation, root, half_life_s)
    holders = _holders(propagation, root, parent)
    if not any(any(_absences(log, propagation, holder, own.seen)) for holder in holders):
        return own.probability
    probability, missed = 1.0, NEVER
    for trace in (*(_trace(log, propagation, holder, half_life_s) for holder in reversed(holders)), own):
        gone = missed > trace.seen
        probability = min(probability, trace.probability) if gone else trace.probability
        missed = max(missed, trace.missed) if gone else trace.missed
    return probability


def _holders(propagation: PosePropagation, root: int, parent: Parent) -> list[int]:
    """Returns the parents of an entity up to the root; late events may have closed a cycle."""
    found: dict[int, None] = {root: None}
    holder = parent.object
    while holder and holder not in found and len(found) <= DEEPEST:
        found[holder] = None
        holder = propagation.holder(holder, propagation.at.time_s)
    return list(found)[1:]


def _trace(log: EventLog, propagation: PosePropagation, root: int, half_life_s: Mapping[str, float]) -> _Trace:
    """Returns the probability from evidence.

    The confidence, halved per half-life, less the share seen to be empty since. The confidence is that of the last
    sighting, or of the relation of a thing that was never seen; both are evidence.
    """
    at = propagation.at
    seen, related = propagation.sighting(root, at.time_s), _last_related(log, propagation, root)
    payload = related[1] if related else None
    if seen is not None:
        if not isinstance(seen.payload, EntitySeen):
            return _Trace(1.0, (math.inf, seen.seq), NEVER)  # A robot reports its own state.
        payload = seen.payload
    position = seen.position if seen else NEVER
    since = max(position, related[0] if related else NEVER)
    probability = 1.0
    if payload is not None:
        category = payload.category if isinstance(payload, EntitySeen) else ANY_CATEGORY
        half_life = half_life_s.get(category, half_life_s.get(ANY_CATEGORY, math.inf))
        probability = payload.confidence * 0.5 ** (max(0.0, now_s(log, at) - since[0]) / half_life)
    missed = NEVER
    for missed_at, absence in _absences(log, propagation, root, since):
        probability *= 1.0 - absence.visible_fraction * absence.confidence
        missed = max(missed, missed_at)
    return _Trace(probability, position, missed)


def _last_related(log: EventLog, propagation: PosePropagation, root: int) -> tuple[LogPosition, RelationSet] | None:
    """Returns the last event that set the parent of an entity, and since when it counts."""
    at, last = propagation.at, NEVER
    for member in propagation.resolution.members(root):
        found = log.tables.select_one(
            "SELECT since_s, parent_change.seq FROM parent_change JOIN event USING (seq) WHERE subject = ? "
            "AND since_s <= ? AND parent_change.seq <= ? AND event.kind = ? ORDER BY version DESC LIMIT 1",
            member.entity, at.time_s, at.seq, log.tables.names.find("relation_set"),
        )  # fmt: skip
        last = max(last, found or NEVER)
    event = log.event(last[1])
    return (last, event.payload) if event and isinstance(event.payload, RelationSet) else None


def _absences(
    log: EventLog, propagation: PosePropagation, root: int, since: LogPosition
) -> Iterator[tuple[LogPosition, AbsenceSeen]]:
    """Yields the absences logged after `since`, under any of the thing's names, and their times."""
    at, kind = propagation.at, log.tables.names.find("absence_seen")
    for member in propagation.resolution.members(root):
        for (seq,) in log.tables.select(
            "SELECT seq FROM mention WHERE subject = ? AND kind = ? AND valid_time_s >= ? AND valid_time_s <= ? "
            "AND seq <= ?",
            member.entity, kind, since[0], at.time_s, at.seq,
        ):  # fmt: skip
            event = log.event(seq)
            if event and isinstance(event.payload, AbsenceSeen) and event.position > since:
                yield event.position, event.payload
