"""Location belief: the pose of an entity, its parent, the place around it, and whether it still exists."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from embodied.memory.projections.parents import ORPHAN, Parent
from embodied.memory.projections.stays import held_by
from embodied.memory.queries.containment_history import NEVER, Instant, having, having_then, now_s, parent_at, root_at
from embodied.memory.queries.entity_resolution import EntityResolution
from embodied.memory.queries.framed_beliefs import FramedBeliefs
from embodied.memory.queries.pose_propagation import DEEPEST, PosePropagation
from embodied.memory.schema.event import LogPosition
from embodied.memory.schema.kinds import EntitySeen, RelationSet
from embodied.memory.schema.places import is_within, may_hold
from embodied.memory.schema.query import LocationBelief
from embodied.memory.storage.log import EventLog

MAY_BE = "may_be"
PAGE = 200
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
    frames = FramedBeliefs(log, at)
    root = frames.site.resolution.root(subject)
    logged = parent_at(log, root, at)
    if frames.site.sighting(root, at.time_s) is None and logged.version == 0:
        return None
    propagation = frames.about(root)
    belief, map_id = propagation.belief(root, at.time_s), propagation.maps.origin
    around = _around(log, propagation, root, logged)
    return LocationBelief(
        entity=entity,
        pose=None if map_id else belief.pose,
        place=around.place,
        parent=names.text(around.parent.object),
        predicate=names.text(around.parent.predicate),
        existence=_existence(log, propagation, root, around.parent, half_life_s),
        since_s=belief.position[0],
        seq=belief.position[1],
        version=logged.version,
        candidates=_candidates(log, entity, at),
        map_id=map_id,
        map_pose=belief.pose if map_id else None,
    )


def _candidates(log: EventLog, entity: str, at: Instant) -> tuple[str, ...]:
    """Returns the names of the things that an entity may be instead, sorted."""
    number, may_be = log.tables.names.find(entity), log.tables.names.find(MAY_BE)
    if number is None or may_be is None:
        return ()
    pairs = [(one, other) for one, _, other in _related(log, number, at, may_be)]
    return tuple(sorted({name for pair in pairs for name in pair} - {entity}))


def evidence(log: EventLog, entity: str, at: Instant) -> frozenset[int]:
    """Returns the sightings and robot states that support `where_is`, as sequence numbers.

    `log`, `entity` and `at` are those of `where_is`.
    """
    subject = log.tables.names.find(entity)
    if subject is None:
        return frozenset()
    frames = FramedBeliefs(log, at)
    frames.about(root_at(log, subject, at))
    return frames.read


def contents(log: EventLog, holder: str, at: Instant) -> list[str]:
    """Returns the names of the direct contents, parts and held things of `holder` in `log` `at` an instant, sorted.

    See `LocationBelief`.
    """
    names = log.tables.names
    number = names.find(holder)
    if number is None:
        return []
    frames = FramedBeliefs(log, at)
    held: list[str] = []
    for subject, parent in _logged_in(log, frames.site, root_at(log, number, at)):
        propagation = frames.about(subject)
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
    return _related(log, number, at)


def _related(log: EventLog, name: int, at: Instant, predicate: int | None = None) -> list[tuple[str, str, str]]:
    """Returns what `related` does, only relations of one predicate where it is given, by its id."""
    resolution = EntityResolution(log, at)
    links = {link for one in resolution.members(resolution.root(name)) for link in _links(log, one.entity, predicate)}
    last: dict[tuple[int, int, int], int] = {}
    changes = filter(None, (_change_of(log, link, at) for link in links))
    for _, _, (subject, relation, other), holds in sorted(changes):
        last[resolution.root(subject), relation, resolution.root(other)] = holds
    text = log.tables.names.text
    return sorted((text(a), text(relation), text(b)) for (a, relation, b), holds in last.items() if holds and a != b)


def _links(log: EventLog, entity: int, predicate: int | None) -> Sequence[tuple[int, int, int]]:
    """Returns subject, predicate and object of all relations that an entity ever had, in either role."""
    only, values = ("", ()) if predicate is None else (" AND predicate = ?", (predicate,))
    return log.tables.select(
        f"SELECT subject, predicate, object FROM link WHERE subject = ?{only} UNION "  # noqa: S608
        f"SELECT subject, predicate, object FROM link WHERE object = ?{only}",
        entity, *values, entity, *values,
    )  # fmt: skip  # type: ignore[return-value]


def _change_of(
    log: EventLog, link: tuple[int, int, int], at: Instant
) -> tuple[float, int, tuple[int, int, int], int] | None:
    """Returns when (seconds, seq) a relation last began or ended to hold, the relation, and whether it holds."""
    subject, predicate, other = link
    found = log.tables.select_one(
        f"SELECT valid_time_s, seq, holds FROM link_change WHERE {having('predicate', at, 'link_change.seq')} "  # noqa: S608
        "AND subject = ? AND object = ? AND valid_time_s <= ? AND seq <= ? "
        "ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
        predicate, subject, other, at.time_s, at.seq,
    )  # fmt: skip
    return (found[0], found[1], link, found[2]) if found else None


def _logged_in(log: EventLog, propagation: PosePropagation, root: int) -> Iterator[tuple[int, Parent]]:
    """Yields the entities whose logged parent is `root` under any of its names, by their root ids, and that parent."""
    at = propagation.at
    past = at.seq < log.head or at.time_s < math.inf
    holders = {member.entity for member in propagation.resolution.members(root)}
    subjects: set[int] = set()
    for holder in holders:
        found = log.tables.select(
            "SELECT subject FROM containment WHERE object = ? AND since_s <= ?", holder, at.time_s
        )
        subjects.update(subject for (subject,) in found)
        if past:
            subjects |= held_by(log.tables, holder, at.time_s, at.seq)
    for subject in subjects:
        parent = parent_at(log, subject, at)
        if parent.object in holders and propagation.resolution.root(subject) == subject != root:
            yield subject, parent


def _around(log: EventLog, propagation: PosePropagation, root: int, logged: Parent) -> _Around:
    """Returns the place and the parent of a thing that agree with its pose; `logged` is the parent by its relations."""
    at, places, text = propagation.at, propagation.places, log.tables.names.text
    holder = propagation.resolution.root(logged.object)
    # After a merge a thing may be its own holder.
    logged = ORPHAN if holder == root else logged._replace(object=holder)
    holder = logged.object
    place, _ = propagation.logged_place(holder, (logged.since_s, logged.seq), at.time_s)
    pose = propagation.belief(root, at.time_s).pose
    if pose is None:
        return _Around(place, logged)
    smallest = places.smallest(pose.position_m)
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
    pose = propagation.maps.seen(seen)
    return pose is not None and not may_hold(places, place, pose.position_m)


def _existence(
    log: EventLog, propagation: PosePropagation, root: int, parent: Parent, half_life_s: Mapping[str, float]
) -> float:
    """Returns the probability: its own, and at most that of its holder where that was missed since it was seen."""
    own = _trace(log, propagation, root, half_life_s)
    holders = _holders(propagation, root, parent)
    if not any(_last_absence(log, propagation, holder, own.seen) > NEVER for holder in holders):
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

    The confidence, halved per half-life, less the share seen to be empty since. The confidence comes from the last
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
        aged_s = max(0.0, now_s(log, at) - since[0]) if half_life < math.inf else 0.0
        probability = payload.confidence * 0.5 ** (aged_s / half_life)
    missed = NEVER
    for factor in _absences(log, propagation, root, since):
        missed = _last_absence(log, propagation, root, since) if missed == NEVER else missed
        probability *= factor
        if not probability:
            break  # However often it was missed after that.
    return _Trace(probability, position, missed)


def _last_related(log: EventLog, propagation: PosePropagation, root: int) -> tuple[LogPosition, RelationSet] | None:
    """Returns the last event that set the parent of an entity, and since when it counts."""
    at, last = propagation.at, NEVER
    for member in propagation.resolution.members_with(root, "parent_change"):
        found = log.tables.select_one(
            "SELECT since_s, parent_change.seq FROM parent_change JOIN event USING (seq) "  # noqa: S608
            f"WHERE {having_then('subject', at)} AND since_s <= ? AND event.kind = ? ORDER BY version DESC LIMIT 1",
            member, at.seq, at.time_s, log.tables.names.find("relation_set"),
        )  # fmt: skip
        last = max(last, found or NEVER)
    event = log.event(last[1])
    return (last, event.payload) if event and isinstance(event.payload, RelationSet) else None


def _absences(log: EventLog, propagation: PosePropagation, root: int, since: LogPosition) -> Iterator[float]:
    """Yields the factors of the absences logged after `since`, under any of the thing's names."""
    at = propagation.at
    for member in propagation.resolution.members(root):
        if member.entity not in propagation.resolution.members_with(root, "absence"):
            continue
        last = since
        while found := log.tables.select(
            f"SELECT valid_time_s, seq, factor FROM absence WHERE {having('subject', at, 'absence.seq')} "  # noqa: S608
            "AND (valid_time_s, seq) > (?, ?) AND valid_time_s <= ? AND seq <= ? ORDER BY valid_time_s, seq LIMIT ?",
            member.entity, *last, at.time_s, at.seq, PAGE,
        ):  # fmt: skip
            yield from (factor for *_, factor in found)
            last = found[-1][:2]


def _last_absence(log: EventLog, propagation: PosePropagation, root: int, since: LogPosition) -> LogPosition:
    """Returns the last absence logged after `since`, under any of the thing's names, `NEVER` for none."""
    at, last = propagation.at, NEVER
    for member in propagation.resolution.members_with(root, "absence"):
        found = log.tables.select_one(
            f"SELECT valid_time_s, seq FROM absence WHERE {having('subject', at, 'absence.seq')} "  # noqa: S608
            "AND (valid_time_s, seq) > (?, ?) AND valid_time_s <= ? AND seq <= ? "
            "ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
            member, *since, at.time_s, at.seq,
        )  # fmt: skip
        last = max(last, found or NEVER)
    return last
