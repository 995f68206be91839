"""Pose propagation: where a thing is by its last sighting and by what has held it since, through holders of holders.

From each sighting on, and from each change of its parent, a thing moves with what it is in, on, part of or held by, as
one rigid body: pose(t) = holder(t) @ holder(a)^-1 @ pose(a), where a is the later of the sighting and the change. Of a
robot that reports its tool, the tool counts as the holder. The effect of such a change on the pose:

    it is taken by a robot      it is at the robot's tool; at the robot itself where it reports no tool
    a robot lets go of it       it stays where the carrying ended, and goes from there with its new holder; but where
                                that has a box, only if it was left in or above it, else as below
    it comes into a place       it stays where it was if that lies in the place, else its pose is unknown
    it comes to another holder  it is where the holder is, the best guess; but it stays where it was last seen if it is
                                a part, or lay in or on the box of the holder then, or was seen at that very time and
                                the holder has no box
    it leaves a holder          it stays, but where its pose was only such a guess, it is unknown from now on
    it is seen outside the box  it has left the holder that it was logged in or on, and stays where it was seen,
                                until it is seen in the box, or logged in it, again; so it is with what a robot holds
                                that was seen farther away than it can hold it (see `grasps`)

A thing that was last seen with a size has a box (see `extents`). For a holder without a pose its logged place is used.
Evidence of one valid time is simultaneous.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from embodied.memory.queries.containment_history import NEVER, Instant, Member, last_seen
from embodied.memory.queries.entity_resolution import EntityResolution
from embodied.memory.queries.extents import MARGIN_M, Extent
from embodied.memory.queries.grasps import beyond_grasp
from embodied.memory.queries.map_frames import SITE, MapFrames
from embodied.memory.queries.place_tree import PlaceTree
from embodied.memory.queries.tracks import NOTHING, Belief, Track, moved, position_of, tool_of
from embodied.memory.queries.validity_intervals import FURTHEST, ParentInterval, ValidityIntervals
from embodied.memory.schema.event import Event, LogPosition
from embodied.memory.schema.kinds import EntitySeen
from embodied.memory.schema.places import may_hold
from embodied.memory.storage.log import EventLog

DEEPEST = 100  # The maximum containment depth, with earlier states of each holder, per query.


class PosePropagation:
    """Believed poses at times up to an instant, which fixes entity resolution, places and maps; a cache for one query.

    Poses are in the frame `origin`: the site, or a map that is not placed in it.
    """

    def __init__(self, log: EventLog, at: Instant, origin: str = SITE) -> None:
        self._log, self.at = log, at
        self.resolution = EntityResolution(log, at)
        self._held_by, self._part_of = log.tables.names.find("held_by"), log.tables.names.find("part_of")
        self._in, self._on = log.tables.names.find("in"), log.tables.names.find("on")
        self._beliefs: dict[tuple[int, float], Belief] = {}
        self._left: dict[tuple[int, float], bool] = {}
        self._tracks: dict[tuple[int, float], Track] = {}
        self._logged_places: dict[tuple[int, float], tuple[str, LogPosition]] = {}
        self._events: dict[int, Event] = {}
        self._merged: dict[tuple[int, float], Track] = {}
        self._settled: dict[int, float] = {}
        self.maps = MapFrames(log, at, origin)
        self.places = PlaceTree(self.maps)
        self._depth = 0

    @property
    def read(self) -> frozenset[int]:
        """The sightings and states on which the beliefs so far rest."""
        return frozenset(self._events)

    def sighting(self, root: int, time_s: float) -> Event | None:
        """Returns the last sighting of an entity, or state of a robot, under any of its names."""
        members = self.resolution.members(root)
        if len(members) == 1:
            return self._event(self._own_track(root, time_s).seen_at)
        seen = self.resolution.seen(root, self._known_by(root, time_s))
        return self._event(max(seen.values(), default=NEVER))

    def belief(self, root: int, time_s: float) -> Belief:
        """Returns the believed pose of an entity or robot at a time, seconds."""
        key = (root, time_s)
        if key not in self._beliefs:
            self._beliefs[key] = NOTHING  # Ends the recursion where late events have closed a cycle of holders.
            self._beliefs[key] = self._until(self._track(root, time_s), 0, time_s)
        return self._beliefs[key]

    def left(self, root: int, time_s: float) -> bool:
        """Returns whether an entity was seen outside the box of its logged container or support."""
        key = (root, time_s)
        if key not in self._left:
            self._left[key] = False  # A cycle ends here, too.
            track = self._track(root, time_s)
            interval = track.intervals[0]
            self._left[key] = (
                interval is not None and track.seen_at >= interval.again and self._outside(track, interval)
            )
        return self._left[key]

    def holder(self, root: int, time_s: float) -> int:
        """Returns the logged parent of an entity that it has not left, 0 for none."""
        interval = self._own_track(root, time_s).intervals[0]
        return interval.holder if interval and not self.left(root, time_s) else 0

    def extent(self, root: int, time_s: float) -> Extent | None:
        """Returns the box that an entity had at a time, None where its size or its pose is unknown."""
        event, belief = self.sighting(root, time_s), self.belief(root, time_s)
        size_m = event.payload.size_m if event and isinstance(event.payload, EntitySeen) else None
        return Extent(belief.pose, size_m, bool(belief.guesses)) if belief.pose and size_m else None

    def logged_place(self, holder: int, since: LogPosition, time_s: float) -> tuple[str, LogPosition]:
        """Returns the logged place of `holder` at `time_s`, through its parents, and since when; "" for none.

        The place counts from the last change on the way, `since` being that to this holder.
        """
        way = []
        while (holder, time_s) not in self._logged_places and len(way) < DEEPEST:
            name = self._log.tables.names.text(holder)
            if not holder or name in self.places:
                self._logged_places[holder, time_s] = name, NEVER
            else:
                interval = self._own_track(holder, time_s).intervals[0]
                way.append((holder, interval.again if interval else NEVER))
                holder = self.holder(holder, time_s)
        place, above = self._logged_places.get((holder, time_s), ("", NEVER))
        for below, changed in reversed(way):
            above = max(above, changed)
            self._logged_places[below, time_s] = place, above
        return place, max(since, above)

    def _event(self, position: LogPosition) -> Event | None:
        _, seq = position
        if seq and seq not in self._events:
            event = self._log.event(seq)
            if event is not None:
                self._events[seq] = event
        return self._events.get(seq)

    def _track(self, entity: int, time_s: float) -> Track:
        """Returns the knowledge about an entity; sightings of entities that were merged into it count."""
        if entity not in self._settled:
            self._settle(self.resolution.members(entity))
        time_s = self._known_by(entity, time_s)
        if (entity, time_s) not in self._merged:
            members = self.resolution.members(entity)
            own = self._own_track(entity, time_s)
            self._merged[entity, time_s] = own if len(members) == 1 else self._with_members(members, time_s)
        return self._merged[entity, time_s]

    def _known_by(self, entity: int, time_s: float) -> float:
        """Returns the latest time at which no more is known about an entity, and those merged into it, than then."""
        return self.at.time_s if time_s >= self._settled.get(entity, math.inf) else time_s

    def _settle(self, members: Sequence[Member]) -> None:
        """Notes since when the knowledge about each of the members, with those merged into it, does not change."""
        root, settled = members[0].entity, defaultdict(lambda: -math.inf)
        seen = self.resolution.seen(root, self.at.time_s) if len(members) > 1 else {}
        had_parent = self.resolution.members_with(root, "parent_change")
        for member in reversed(members):
            newest = seen.get(member.entity, NEVER)
            if member.entity in had_parent:
                own = self._own_track(member.entity, self.at.time_s)
                newest = max(own.seen_at, own.intervals.newest)
            own_s = max(settled[member.entity], newest[0])
            self._settled[member.entity] = own_s
            settled[member.into] = max(settled[member.into], own_s, member.merged[0])

    def _with_members(self, members: Sequence[Member], time_s: float) -> Track:
        """Returns the knowledge about the first of the members, each of which comes before those merged into it."""
        root = members[0].entity
        seen = self.resolution.seen(root, self._known_by(root, time_s))
        had_parent = self.resolution.members_with(root, "parent_change") | {root}
        others: dict[int, list[tuple[LogPosition, Belief | None]]] = defaultdict(list)
        for member in reversed(members):
            track = self._own_track(member.entity, time_s) if member.entity in had_parent else None
            position, belief = seen.get(member.entity, NEVER), track and track.seen
            for other in reversed(others.pop(member.entity, [])):
                if position_of(*other) > position_of(position, belief):
                    position, belief = other
            if track is None:  # Without a parent, as are most of many, it only passes on the last sighting.
                others[member.into].append((position, belief))
                continue
            track = Track(position, self._plain(position) if belief is None else belief, track.intervals)
            self._merged[member.entity, time_s] = track
            if member.entity != root:
                others[member.into].append(self._other(member, track, time_s))
        return self._merged[root, time_s]

    def _plain(self, position: LogPosition) -> Belief:
        """Returns the belief that is a sighting itself."""
        event = self._event(position)
        return NOTHING if event is None else Belief(self.maps.seen(event), position)

    def _other(self, member: Member, track: Track, time_s: float) -> tuple[LogPosition, Belief]:
        """Returns the knowledge about an entity before it was merged into another one, and the time of the merge.

        Where the parent of the other is newer than its own, only its own sightings count. `track` is the track of the
        `member` at `time_s`.
        """
        merged_s, seq = member.merged
        until_s = min(time_s, merged_s)
        interval = track.intervals[0]
        if interval is None or track.seen_at[0] > until_s or (interval.holder and merged_s <= time_s):
            return track.seen_at, track.seen
        track = self._track(member.entity, until_s)
        belief = self._until(track, 0, until_s)
        return track.seen_at if belief == track.seen else (until_s, seq), belief

    def _own_track(self, entity: int, time_s: float) -> Track:
        """Returns the knowledge about an entity under this very id."""
        newest = self._read_track(entity, self.at.time_s)
        known = max(newest.seen_at, newest.intervals.newest)[0] <= time_s
        return newest if known else self._read_track(entity, time_s)

    def _read_track(self, entity: int, time_s: float) -> Track:
        key = (entity, time_s)
        if key not in self._tracks:
            by = self.at.by(time_s)
            position = last_seen(self._log, entity, by)
            self._tracks[key] = Track(
                position,
                self._plain(position),
                ValidityIntervals(self._log, entity, by, known=self.resolution, enough=position),
            )
        return self._tracks[key]

    def _until(self, track: Track, index: int, end_s: float) -> Belief:
        """Returns the belief at the end of an interval, counted back from the newest."""
        interval = track.intervals[index]
        if interval is None:
            return track.seen if index < FURTHEST else NOTHING
        if not interval.holder:
            return track.seen if track.inside(interval) else self._before(track, index)
        self._depth += 1
        belief = self._attached(track, index, end_s) if self._depth < DEEPEST else Belief(None, interval.position)
        self._depth -= 1
        return belief

    def _before(self, track: Track, index: int) -> Belief:
        """Returns the rest of a belief when an interval begins: a guess ends with its relation."""
        interval, previous = track.intervals[index], track.intervals[index + 1]
        if interval is None:
            return NOTHING
        belief = self._until(track, index + 1, interval.position[0])
        guessed = (
            previous is not None
            and previous.predicate != self._held_by
            and track.root_of_guess(previous)[1] in belief.guesses
        )
        return Belief(None, interval.position) if guessed or belief.pose is None else belief

    def _attached(self, track: Track, index: int, end_s: float) -> Belief:
        """Returns the belief at the end of an interval with a holder."""
        interval = track.intervals[index]
        if interval is None:
            return NOTHING
        outside = self._outside(track, interval)
        if outside and track.seen_at >= interval.again:
            return track.seen
        begun = track.root_of_guess(interval)
        tool = self._tool(interval, end_s)
        here = tool or self.belief(interval.holder, end_s)
        if here.pose is None:
            return self._with_unknown_holder(track, index, end_s)
        anchor = track.seen if track.inside(interval) and not outside else None
        if tool is None and not track.inside(interval):
            anchor = self._placed_unseen(track, index)
        if anchor is not None and anchor.pose:
            there = self._tool(interval, begun[0]) if tool else self.belief(interval.holder, begun[0])
            if there and there.pose and there.guesses <= here.guesses:
                return moved(anchor, there, here)
        since = interval.again if outside else begun
        return Belief(here.pose, max(since, here.position), here.guesses | {begun[1]})

    def _with_unknown_holder(self, track: Track, index: int, end_s: float) -> Belief:
        """Returns the belief at the end of an interval whose holder has no pose at that time."""
        interval = track.intervals[index]
        if interval is None:
            return NOTHING
        begun, here = track.root_of_guess(interval), self.belief(interval.holder, end_s)
        if self.belief(interval.holder, begun[0]).pose:  # It moved with its holder.
            return Belief(None, self.logged_place(interval.holder, interval.again, end_s)[1])
        fresh = track.seen_at[0] >= interval.position[0] and begun >= here.position
        if here.position[1] in self._events and not fresh:
            return Belief(None, max(begun, here.position))  # It is with its holder, in a map that is not placed.
        inside = track.inside(interval)
        belief = track.seen if inside else self._before(track, index)
        if belief.pose is None:
            return belief
        place, since = self.logged_place(interval.holder, interval.again, end_s)
        stays = not place or (inside and track.seen_at >= since) or may_hold(self.places, place, belief.pose.position_m)
        return belief if stays else Belief(None, since)

    def _placed_unseen(self, track: Track, index: int) -> Belief | None:
        """Returns the pose of a thing that comes to a holder unseen, None unless it is believed to have stayed."""
        interval, previous = track.intervals[index], track.intervals[index + 1]
        if interval is None:
            return None
        if self._carried(track, index):
            before = self._before(track, index)
            handed = previous is not None and previous.predicate == self._held_by
            if self._in_extent(interval, interval.position[0], before, above=True, sure=handed) is not False:
                return before
        if interval.predicate == self._held_by or (previous is not None and not track.inside(previous)):
            return None
        at_once = track.seen_at[0] == interval.position[0]
        fits = self._in_extent(
            interval, interval.position[0], track.seen, above=interval.predicate == self._on, sure=at_once
        )
        stays = fits or (fits is None and at_once) or interval.predicate == self._part_of
        return self._before(track, index) if stays else None

    def _carried(self, track: Track, index: int) -> bool:
        """Returns whether a robot brought a thing to the start of an interval, and nothing else has held it since."""
        while previous := track.intervals[index + 1]:
            if previous.predicate == self._held_by:
                return True
            if previous.holder and self._log.tables.names.text(previous.holder) not in self.places:
                return False
            index += 1
        return False

    def _outside(self, track: Track, interval: ParentInterval) -> bool:
        """Returns whether a thing was last seen outside the box of its logged holder, or beyond the robot's grasp."""
        if not track.inside(interval) or interval.predicate not in (self._in, self._on, self._held_by):
            return False
        event = self._event(track.seen_at) if track.seen.position == track.seen_at else None
        if interval.predicate == self._held_by:
            return beyond_grasp(self.maps, event, self.sighting(interval.holder, track.seen_at[0]))
        payload = event.payload if event else None
        half_m = max(payload.size_m) / 2 if isinstance(payload, EntitySeen) and payload.size_m else 0.0
        extent = self.extent(interval.holder, track.seen_at[0])
        if extent is None or extent.guessed or track.seen.pose is None:
            return False
        above = interval.predicate == self._on
        return not extent.holds(track.seen.pose.position_m, above=above, margin_m=MARGIN_M + half_m)

    def _in_extent(
        self, interval: ParentInterval, time_s: float, thing: Belief, *, above: bool, sure: bool
    ) -> bool | None:
        """Returns whether a thing lay in its holder's box, or `above` it; None where unknown, if `sure` guesses too."""
        extent = self.extent(interval.holder, time_s)
        if extent is None or thing.pose is None or (sure and extent.guessed):
            return None
        return extent.holds(thing.pose.position_m, above=above)

    def _tool(self, interval: ParentInterval, time_s: float) -> Belief | None:
        """Returns the tool of the robot that holds a thing, None where it reported none."""
        if interval.predicate != self._held_by:
            return None
        event = self.sighting(interval.holder, time_s)
        return event and tool_of(self.belief(interval.holder, time_s), event, self.maps)
