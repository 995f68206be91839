"""Where a thing must be by its last sighting and by what has held it since: dead reckoning, through holders of holders.

From each sighting on, and from each change of its parent, a thing moves with what it is in, on, part of or held by, as
one rigid body: pose(t) = holder(t) @ holder(a)^-1 @ pose(a), where a is the later of the sighting and the change. Of a
robot that tells its tool, the tool counts as the holder. What such a change means for the pose:

    it is taken by a robot      it is at the robot's tool; at the robot itself where that tells no tool
    a robot lets go of it       it stays where the carrying ended, and goes from there with its new holder; but where
                                that has a box, only if it was left in or above it, else as below
    it comes into a place       it stays where it was if that lies in the place, else its pose is unknown
    it comes to another holder  it is where the holder is, the best guess; but it stays where it was last seen if it is
                                a part, or lay in or on the box of the holder then, or was seen at that very time and
                                the holder has no box
    it leaves a holder          it stays, but where its pose was only such a guess, it is unknown from now on
    it is seen outside the box  it has left the holder that it was told to be in or on, and stays where it was seen,
                                until it is seen in the box, or told to be in it, again

What was last seen with a size has a box (see `boxes`). A holder without a pose counts as the place that it is told to
be in. Evidence of one valid time is of one moment.
"""

from dataclasses import dataclass, replace

from embodied.geometry import Pose, compose, invert
from embodied.memory.queries.containment_history import NEVER, Instant, Member, last_seen, places_at
from embodied.memory.queries.entity_resolution import EntityResolution
from embodied.memory.queries.extents import MARGIN_M, Box
from embodied.memory.queries.validity_intervals import FURTHEST, Span, ValidityIntervals
from embodied.memory.schema.event import Event, LogPosition
from embodied.memory.schema.kinds import EntitySeen, RobotState
from embodied.memory.schema.places import Place, may_hold
from embodied.memory.storage.log import EventLog

DEEPEST = 100  # Holders above one another, and what was before of each, that one answer may go through.


@dataclass(frozen=True)
class Belief:
    """A pose, None where it is unknown, and the evidence that settled it.

    `guesses` are the events of relations on which the pose rests though nobody knows how the one lies to the other:
    two poses of a thing differ by how it moved only where the guesses of the first are among those of the second.
    """

    pose: Pose | None
    position: LogPosition
    guesses: frozenset[int] = frozenset()


NOTHING = Belief(None, NEVER)


@dataclass(frozen=True)
class Track:
    """What is known of one thing by some time: the position and the pose of its last sighting, and its parents."""

    seen_spot: LogPosition
    seen: Belief
    spans: ValidityIntervals

    def inside(self, span: Span) -> bool:
        """Returns whether the last sighting is of this span or a later one."""
        return self.seen_spot >= span.position

    def root_of_guess(self, span: Span) -> LogPosition:
        """Returns the event with which a guess about a span begins: its last sighting, or the span's own."""
        return self.seen_spot if self.inside(span) else span.position


class PosePropagation:
    """Poses as believed at times up to an instant, by all that is known then. For one question: it keeps all it reads.

    Times within may differ, identities and places are those of the instant.
    """

    def __init__(self, log: EventLog, at: Instant) -> None:
        self._log, self.at = log, at
        self.identities = EntityResolution(log, at)
        self._held_by = log.tables.names.find("held_by")
        self._part_of = log.tables.names.find("part_of")
        self._in, self._on = log.tables.names.find("in"), log.tables.names.find("on")
        self._beliefs: dict[tuple[int, float], Belief] = {}
        self._left: dict[tuple[int, float], bool] = {}
        self._tracks: dict[tuple[int, float], Track] = {}
        self._told: dict[tuple[int, float], tuple[str, LogPosition]] = {}
        self._events: dict[int, Event] = {}
        self._places: dict[str, Place] | None = None
        self._depth = 0

    @property
    def places(self) -> dict[str, Place]:
        """The places by name, in the order of their first definition."""
        if self._places is None:
            self._places = {place.name: place for place in places_at(self._log, self.at)}
        return self._places

    @property
    def read(self) -> frozenset[int]:
        """The sightings and states that the beliefs so far rest on."""
        return frozenset(self._events)

    def sighting(self, root: int, time_s: float) -> Event | None:
        """Returns the last sighting of an entity, or state of a robot, under any of its names."""
        return self._event(
            max(self._alone(member.entity, time_s).seen_spot for member in self.identities.members(root))
        )

    def belief(self, root: int, time_s: float) -> Belief:
        """Returns where an entity or robot is believed to have been at a time, seconds."""
        key = (root, time_s)
        if key not in self._beliefs:
            self._beliefs[key] = NOTHING  # Late events can close a circle of holders in the past: it ends here.
            self._beliefs[key] = self._until(self._track(root, time_s), 0, time_s)
        return self._beliefs[key]

    def left(self, root: int, time_s: float) -> bool:
        """Returns whether an entity was seen outside the box of what it had been told to be in or on."""
        key = (root, time_s)
        if key not in self._left:
            self._left[key] = False  # A circle ends here, too.
            track = self._track(root, time_s)
            span = track.spans[0]
            self._left[key] = span is not None and track.seen_spot >= span.again and self._outside(track, span)
        return self._left[key]

    def holder(self, root: int, time_s: float) -> int:
        """Returns what an entity was told to be in, on, part of or held by and has not left, 0 for nothing."""
        span = self._alone(root, time_s).spans[0]
        return span.holder if span and not self.left(root, time_s) else 0

    def box(self, root: int, time_s: float) -> Box | None:
        """Returns the box that an entity had at a time, None where its size or its pose is unknown."""
        event, belief = self.sighting(root, time_s), self.belief(root, time_s)
        size_m = event.payload.size_m if event and isinstance(event.payload, EntitySeen) else None
        return Box(belief.pose, size_m, bool(belief.guesses)) if belief.pose and size_m else None

    def logged_place(self, holder: int, since: LogPosition, time_s: float) -> tuple[str, LogPosition]:
        """Returns the place that something is told to be in, its holder included, and since when; "" for none.

        `since` is when it came to that holder: the place counts from the last change on the way.
        """
        way = []
        while (holder, time_s) not in self._told and len(way) < DEEPEST:
            name = self._log.tables.names.text(holder)
            if not holder or name in self.places:
                self._told[holder, time_s] = name, NEVER
            else:
                span = self._alone(holder, time_s).spans[0]
                way.append((holder, span.again if span else NEVER))
                holder = self.holder(holder, time_s)
        place, above = self._told.get((holder, time_s), ("", NEVER))
        for below, changed in reversed(way):
            above = max(above, changed)
            self._told[below, time_s] = place, above
        return place, max(since, above)

    def _event(self, position: LogPosition) -> Event | None:
        _, seq = position
        if seq and seq not in self._events:
            event = self._log.event(seq)
            if event is not None:
                self._events[seq] = event
        return self._events.get(seq)

    def _track(self, entity: int, time_s: float) -> Track:
        """Returns what is known of an entity; what was known of one that turned out to be it counts as a sighting."""
        own = self._alone(entity, time_s)
        for member in self.identities.members(entity)[1:]:
            if member.into == entity:
                position, belief = self._other(member, time_s)
                if belief.position > own.seen.position:
                    own = Track(position, belief, own.spans)
        return own

    def _other(self, member: Member, time_s: float) -> tuple[LogPosition, Belief]:
        """Returns what was known of an entity before it turned out to be another one, and when that was so.

        What held it when it did holds the other since, or something else does: then its own sightings are all.
        """
        merged_s, seq = member.merged
        track, until_s = self._track(member.entity, time_s), min(time_s, merged_s)
        span = track.spans[0]
        if span is None or track.seen_spot[0] > until_s or (span.holder and merged_s <= time_s):
            return track.seen_spot, track.seen
        track = self._track(member.entity, until_s)
        belief = self._until(track, 0, until_s)
        return track.seen_spot if belief == track.seen else (until_s, seq), belief

    def _alone(self, entity: int, time_s: float) -> Track:
        """Returns what is known of an entity under this very id."""
        newest = self._read_track(entity, self.at.time_s)
        known = max(newest.seen_spot, newest.spans.newest)[0] <= time_s
        return newest if known else self._read_track(entity, time_s)

    def _read_track(self, entity: int, time_s: float) -> Track:
        key = (entity, time_s)
        if key not in self._tracks:
            by = Instant(self.at.seq, time_s)
            position = last_seen(self._log, entity, by)
            event = self._event(position)
            seen = NOTHING if event is None else Belief(pose_of(event), position)
            self._tracks[key] = Track(
                position, seen, ValidityIntervals(self._log, entity, by, known=self.identities, enough=position)
            )
        return self._tracks[key]

    def _until(self, track: Track, index: int, end_s: float) -> Belief:
        """Returns what is believed at the end of a span, counted back from the newest."""
        span = track.spans[index]
        if span is None:
            return track.seen if index < FURTHEST else NOTHING
        if not span.holder:
            return track.seen if track.inside(span) else self._before(track, index)
        self._depth += 1
        belief = self._attached(track, index, end_s) if self._depth < DEEPEST else Belief(None, span.position)
        self._depth -= 1
        return belief

    def _before(self, track: Track, index: int) -> Belief:
        """Returns what is left of a belief when a span begins: a guess ends with the relation that it rests on."""
        span, previous = track.spans[index], track.spans[index + 1]
        if span is None:
            return NOTHING
        belief = self._until(track, index + 1, span.position[0])
        guessed = (
            previous is not None
            and previous.predicate != self._held_by
            and track.root_of_guess(previous)[1] in belief.guesses
        )
        return Belief(None, span.position) if guessed or belief.pose is None else belief

    def _attached(self, track: Track, index: int, end_s: float) -> Belief:
        """Returns what is believed at the end of a span with a holder."""
        span = track.spans[index]
        if span is None:
            return NOTHING
        outside = self._outside(track, span)
        if outside and track.seen_spot >= span.again:
            return track.seen
        begun = track.root_of_guess(span)
        tool = self._tool(span, end_s)
        here = tool or self.belief(span.holder, end_s)
        if here.pose is None:
            return self._adrift(track, index, end_s)
        anchor = track.seen if track.inside(span) and not outside else None
        if tool is None and not track.inside(span):
            anchor = self._brought(track, index)
        if anchor is not None and anchor.pose:
            there = self._tool(span, begun[0]) if tool else self.belief(span.holder, begun[0])
            if there and there.pose and there.guesses <= here.guesses:
                return _moved(anchor, there, here)
        since = span.again if outside else begun
        return Belief(here.pose, max(since, here.position), here.guesses | {begun[1]})

    def _adrift(self, track: Track, index: int, end_s: float) -> Belief:
        """Returns what is believed at the end of a span whose holder then has no pose."""
        span = track.spans[index]
        if span is None:
            return NOTHING
        place, since = self.logged_place(span.holder, span.again, end_s)
        if self.belief(span.holder, track.root_of_guess(span)[0]).pose:
            return Belief(None, since)  # It went where its holder went, and nobody knows where that is.
        inside = track.inside(span)
        belief = track.seen if inside else self._before(track, index)
        if belief.pose is None or not place or (inside and track.seen_spot >= since):
            return belief
        return belief if may_hold(self.places, place, belief.pose.position_m) else Belief(None, since)

    def _brought(self, track: Track, index: int) -> Belief | None:
        """Returns where a thing lay that comes to a holder unseen, None unless it is still believed to lie there."""
        span, previous = track.spans[index], track.spans[index + 1]
        if span is None:
            return None
        if self._carried(track, index):
            before = self._before(track, index)
            handed = previous is not None and previous.predicate == self._held_by
            if self._in_box(span, span.position[0], before, above=True, sure=handed) is not False:
                return before
        if span.predicate == self._held_by or (previous is not None and not track.inside(previous)):
            return None
        at_once = track.seen_spot[0] == span.position[0]
        fits = self._in_box(span, span.position[0], track.seen, above=span.predicate == self._on, sure=at_once)
        stays = fits or (fits is None and at_once) or span.predicate == self._part_of
        return self._before(track, index) if stays else None

    def _carried(self, track: Track, index: int) -> bool:
        """Returns whether a robot brought a thing to where a span begins, and nothing else has held it since."""
        while previous := track.spans[index + 1]:
            if previous.predicate == self._held_by:
                return True
            if previous.holder and self._log.tables.names.text(previous.holder) not in self.places:
                return False
            index += 1
        return False

    def _outside(self, track: Track, span: Span) -> bool:
        """Returns whether a thing was last seen outside the box of the holder that it was told to be in or on."""
        if not track.inside(span) or span.predicate not in (self._in, self._on):
            return False
        event = self._event(track.seen_spot) if track.seen.position == track.seen_spot else None
        said = event.payload if event else None
        half_m = max(said.size_m) / 2 if isinstance(said, EntitySeen) and said.size_m else 0.0
        box = self.box(span.holder, track.seen_spot[0])
        if box is None or box.guessed or track.seen.pose is None:
            return False
        above = span.predicate == self._on
        return not box.holds(track.seen.pose.position_m, above=above, margin_m=MARGIN_M + half_m)

    def _in_box(self, span: Span, time_s: float, thing: Belief, *, above: bool, sure: bool) -> bool | None:
        """Returns whether a thing lay in the box of its holder or `above` it, None where one of them is unknown.

        With `sure`, a box whose pose is only a guess is unknown.
        """
        box = self.box(span.holder, time_s)
        if box is None or thing.pose is None or (sure and box.guessed):
            return None
        return box.holds(thing.pose.position_m, above=above)

    def _tool(self, span: Span, time_s: float) -> Belief | None:
        """Returns the tool of the robot that holds something, None where it told none."""
        if span.predicate != self._held_by:
            return None
        event = self.sighting(span.holder, time_s)
        if event is None or not isinstance(event.payload, RobotState) or event.payload.tool is None:
            return None
        robot = self.belief(span.holder, time_s)
        if robot.pose is None:
            return None
        if robot.position == event.position:
            return replace(robot, pose=event.payload.tool)
        return replace(robot, pose=compose(robot.pose, compose(invert(event.payload.pose), event.payload.tool)))


def pose_of(event: Event) -> Pose:
    """Returns the pose that a sighting or a robot's state tells."""
    return event.payload.pose if isinstance(event.payload, EntitySeen | RobotState) else Pose()


def _moved(thing: Belief, there: Belief, here: Belief) -> Belief:
    """Returns a thing that has moved with its holder, which was there when the thing was where it was, and is here."""
    guesses = thing.guesses | here.guesses
    position = thing.position if here.position == there.position else max(thing.position, here.position)
    if here.pose == there.pose or not (thing.pose and there.pose and here.pose):
        return Belief(thing.pose, position, guesses)
    return Belief(compose(here.pose, compose(invert(there.pose), thing.pose)), position, guesses)
