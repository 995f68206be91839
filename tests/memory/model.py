"""What a bank should answer: a plain list of events, looked through from its beginning for every question.

The world is a line: all things lie on the x axis and none is turned. There is one place with an extent, the room, from
0 to 1 in the map `plan`; the shelf was never seen, but is logged to be in the room. Things are also seen in the map
`scan`. Where a map is not placed, poses in it are known only in the frame of that map, the `origin` of an answer then.
"""

import math
from dataclasses import dataclass
from itertools import takewhile

from embodied.geometry import Pose
from embodied.memory import (
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    Event,
    MapPlaced,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    Reopened,
    RobotReported,
    Watermark,
    Withdrawn,
)
from tests.memory.parents import NEVER, NOBODY, circle, root, written

ROOM = "room"
THINGS = ("ball", "cup", "box")
SITE, PLAN, SCAN = "", "plan", "scan"


@dataclass(frozen=True)
class Span:
    """A time in which a thing had one parent, "" for none: first logged at `first`, last at `last` (time, number)."""

    predicate: str
    holder: str
    first: tuple[float, int]
    last: tuple[float, int]


@dataclass(frozen=True)
class Lies:
    """The pose of a thing, None for unknown, the event that determined it, and its guesses."""

    x: float | None = None
    position: tuple[float, int] = NEVER
    guesses: frozenset[int] = frozenset()


class CircleError(Exception):
    """Things held one another in a circle."""


class Model:
    """What should be so: accepted events in order, and questions answered without any index."""

    def __init__(self):
        self.events: list[Event] = []
        self.closed_s = -math.inf
        self.gone = frozenset()
        self._versions = {}
        self._highest = {}
        self._written = (-1,)
        self._asked = []
        self.origin = SITE

    def last(self, writer):
        mine = [event for event in self.events if event.writer == writer]
        return (mine[-1].writer_seq, mine[-1].valid_time_s) if mine else (0, 0.0)

    # --- Merged entities and parents ---

    def written(self):
        """Merges and, by thing, the changes (predicate, object, since, number) of its parent, as logged."""
        if self._written[0] != len(self.events):
            self._written = len(self.events), *written(self.events, self.gone)
        return self._written[1:]

    def merges(self, known_s):
        """The merges that one knows of at a time."""
        return [merge for merge in self.written()[0] if merge.time_s <= known_s]

    def root(self, name, known_s=math.inf):
        return root(name, self.merges(known_s))

    def names(self, thing, known_s):
        """All names of a thing."""
        return [name for name in (*THINGS, "shelf", "ann", ROOM) if self.root(name, known_s) == thing]

    def changes(self, thing, until=math.inf):
        return [change for change in self.written()[1][thing] if change[2] <= until]

    def story(self, thing, until, known_s):
        """All that has held a thing; before it took over a parent, what held the one that it took it over from."""
        merges = {merge.number: merge for merge in self.merges(known_s)}
        found = []
        for predicate, held_by, since, number in self.changes(thing, until):
            merge, holder = merges.get(number), self.root(held_by, known_s)
            if merge and merge.into == thing:
                found = self.story(merge.entity, until, known_s)
            elif (not merge or merge.entity != thing) and holder != self.root(thing, known_s):
                found.append((predicate, holder, since, number))
        return found

    def parent(self, name, *, as_of_s=math.inf):
        """(predicate, object, version, since) of a thing's parent."""
        thing = self.root(name, as_of_s)
        found = self.changes(thing, as_of_s)
        predicate, holder, since, _ = found[-1] if found else NOBODY
        holder = self.root(holder, as_of_s)
        version = self._versions[thing][len(found) - 1] if found else 0
        return (predicate, holder, version, since) if holder != thing else ("", "", version, since)

    # --- What was seen ---

    def logged(self, kind, name, until=math.inf):
        """(time, number) of all events of a kind about a name, ascending."""
        return sorted(
            (event.valid_time_s, number)
            for number, event in enumerate(self.events, 1)
            if number not in self.gone
            and isinstance(event.payload, kind)
            and name == (event.robot if kind is RobotReported else event.payload.entity)
            and event.valid_time_s <= until
        )

    def seen(self, thing, until):
        return max(self.logged(RobotReported if thing == "ann" else EntitySeen, thing, until), default=NEVER)

    def payload(self, position):
        return self.events[position[1] - 1].payload

    def is_known(self, name, *, as_of_s=math.inf):
        thing = self.root(name, as_of_s)
        sightings = [self.seen(one, as_of_s) for one in self.names(thing, as_of_s)]
        return max(sightings) != NEVER or bool(self.changes(thing, as_of_s))

    def existence(self, name, *, as_of_s=math.inf):
        """A thing is at most as probable as its holder, where that was missed after the thing was seen."""
        chain, above = [], self.root(name, as_of_s)
        while above and above not in chain:
            chain.append(above)
            above = self.parent(above, as_of_s=as_of_s)[1]
        probability, missed = 1.0, NEVER
        for thing in reversed(chain):
            own, seen, looked = self.trace(thing, as_of_s)
            if missed > seen:
                probability, missed = min(probability, own), max(missed, looked)
            else:
                probability, missed = own, looked
        return probability

    def trace(self, thing, until):
        """How probable a thing is by itself, and when it was last seen and missed: a look leaves half of a half."""
        if thing == "ann" and self.seen(thing, until) != NEVER:
            return 1.0, (math.inf, 0), NEVER
        names = self.names(thing, until)
        put = [change[2:] for one in names for change in self.changes(one, until)]
        put = [position for position in put if isinstance(self.payload(position), RelationSet)]
        seen = max(self.seen(one, until) for one in names)
        looks = [look for one in names for look in self.logged(AbsenceSeen, one, until) if look > max([*put, seen])]
        return 0.75 ** len(looks), seen, max(looks, default=NEVER)

    # --- Maps ---

    def placing(self, map_id, known_s):
        """Where a map lies, None where that is unknown; it is the same for everything that was seen in it."""
        if map_id == self.origin or self.origin:
            return 0.0 if map_id == self.origin else None
        found = [
            (event.valid_time_s, number, event.payload.pose.position_m[0])
            for number, event in enumerate(self.events, 1)
            if number not in self.gone and isinstance(event.payload, MapPlaced)
            if event.payload.map_id == map_id and event.valid_time_s <= known_s
        ]
        return max(found)[-1] if found else None

    def x(self, position, known_s, *, what="pose"):
        """Where a thing or a tool was seen."""
        payload = self.payload(position)
        placing, pose = self.placing(payload.map_id, known_s), getattr(payload, what)
        return None if placing is None or pose is None else placing + pose.position_m[0]

    def outside(self, x, known_s):
        """Whether something is known to be outside of the room."""
        begin = self.placing(PLAN, known_s)
        return begin is not None and not begin <= x <= begin + 1

    def in_room(self, x, known_s):
        begin = self.placing(PLAN, known_s)
        return begin is not None and begin <= x <= begin + 1

    def answer(self, thing, until):
        """The origin of an answer, and where the thing lies in it."""
        lies = self.lies(thing, until, until)
        if lies.x is not None:
            return SITE, lies
        maps, chain = set(), []
        while thing and thing not in chain:
            chain.append(thing)
            seen = max(self.seen(one, until) for one in self.names(thing, until))
            if seen != NEVER and self.placing(self.payload(seen).map_id, until) is None:
                maps.add(self.payload(seen).map_id)
            thing = self.parent(thing, as_of_s=until)[1]
        found = [(SITE, lies)]
        for self.origin in sorted(maps):
            found.append((self.origin, self.lies(chain[0], until, until)))
        self.origin = SITE
        known = [one for one in found if one[1].x is not None]
        return max(known, key=lambda one: one[1].position) if known else found[0]

    # --- Where things lie ---

    def lies(self, thing, until, known_s):
        """Goes through a thing's parents from the first on, propagating its pose; merges are those known.

        Raises `CircleError` where late news has closed a circle of holders: its pose is then undefined.
        """
        if (thing, until) in self._asked:
            raise CircleError
        self._asked.append((thing, until))
        try:
            return self.carried(thing, until, known_s)
        except CircleError:
            self.origin = SITE
            raise
        finally:
            self._asked.pop()

    def carried(self, thing, until, known_s):
        seen, sighting = self.shown(thing, until, known_s)
        spans = self.spans(thing, until, known_s)
        lies = sighting if not spans or seen < spans[0].first else Lies()
        brought = False
        for number, span in enumerate(spans):
            before = spans[number - 1] if number else None
            after = spans[number + 1] if number + 1 < len(spans) else None
            if before and before.predicate != "held_by" and self.guess(before, seen) in lies.guesses:
                lies = Lies()
            brought = before is not None and (
                before.predicate == "held_by" or (brought and before.holder in ("", ROOM))
            )
            shown = span.first <= seen and (after is None or seen < after.first)
            if shown:
                lies = sighting
            elif lies.x is None:
                lies = Lies(None, span.first)
            just_seen = before is None or before.first <= seen
            stays = shown or brought or (
                span.predicate != "held_by" and just_seen and (span.predicate == "part_of" or seen[0] == span.first[0])
            )  # fmt: skip
            if span.holder:
                lies = self.with_holder(lies, span, seen, stays, after.first[0] if after else until, known_s)
        return lies

    def shown(self, thing, until, known_s):
        """When and where a thing was last seen: sightings of entities merged into it count too."""
        position = self.seen(thing, until)
        lies = Lies(self.x(position, known_s), position) if position != NEVER else Lies()
        for merge in self.merges(known_s):
            if merge.into == thing:
                other_spot, other = self.other(merge, until, known_s)
                position, lies = (other_spot, other) if other.position > lies.position else (position, lies)
        return position, lies

    def other(self, merge, until, known_s):
        position, lies = self.shown(merge.entity, until, known_s)
        story, end_s = self.story(merge.entity, until, known_s), min(until, merge.time_s)
        if not story or position[0] > end_s or (story[-1][1] and merge.time_s <= until):
            return position, lies
        position, sighting = self.shown(merge.entity, end_s, known_s)
        lies = self.lies(merge.entity, end_s, known_s)
        return (position if lies == sighting else (end_s, merge.number)), lies

    def with_holder(self, lies, span, seen, stays, end_s, known_s):  # noqa: PLR0917
        """Where a thing lies at the end of a span, if it lay there at its beginning, or when it was seen in it."""
        shown = span.first <= seen
        begun = seen if shown else span.first
        tool = self.tool(span, end_s, known_s)
        base = self.lies(span.holder, begun[0], known_s)
        here = tool or self.lies(span.holder, end_s, known_s)
        there = (self.tool(span, begun[0], known_s) or Lies()) if tool else base
        if here.x is None:
            room, since = self.logged_room(span.holder, span.last, end_s, known_s)
            older = not (shown and seen >= since)
            fresh = seen[0] >= span.first[0] and begun >= here.position
            if base.x is None and self.sighted(here.position) and not fresh:
                return Lies(None, max(begun, here.position))
            beyond = lies.x is not None and self.outside(lies.x, known_s)
            lost = base.x is not None or (beyond and room and older)
            return Lies(None, since) if lost else lies
        stays = shown if tool else stays
        if stays and lies.x is not None and there.x is not None and there.guesses <= here.guesses:
            position = lies.position if there.position == here.position else max(lies.position, here.position)
            return Lies(lies.x + here.x - there.x, position, lies.guesses | here.guesses)
        return Lies(here.x, max(begun, here.position), here.guesses | {begun[1]})

    def spans(self, thing, until, known_s):
        spans = []
        for predicate, holder, time_s, number in self.story(thing, until, known_s):
            position = (time_s, number)
            if spans and (spans[-1].predicate, spans[-1].holder) == (predicate, holder):
                spans[-1] = Span(predicate, holder, spans[-1].first, position)
            else:
                spans.append(Span(predicate, holder, position, position))
        return spans

    def guess(self, span, seen):
        return seen[1] if seen >= span.first else span.first[1]

    def sighted(self, position):
        return position != NEVER and isinstance(self.payload(position), EntitySeen | RobotReported)

    def tool(self, span, time_s, known_s):
        state = self.seen("ann", time_s)
        if (span.predicate, span.holder) != ("held_by", "ann") or state == NEVER:
            return None
        x = self.x(state, known_s, what="tool")
        return None if x is None else Lies(x, state)

    def logged_room(self, holder, since, time_s, known_s):
        passed = set()
        while holder not in ("", ROOM):
            if holder in passed:
                raise CircleError
            passed.add(holder)
            found = self.story(holder, time_s, known_s)
            holder = found[-1][1] if found else ""
            since = max(since, found[-1][2:]) if found else since
        return holder == ROOM, since

    # --- What it takes ---

    def inside(self, thing, holder):
        while holder:
            if holder == thing:
                return True
            holder = self.parent(holder)[1]
        return False

    def accepts(self, event):
        number, time_s = self.last(event.writer)
        payload = event.payload
        closed = event.valid_time_s < self.closed_s and not isinstance(payload, Reopened)
        if event.writer_seq <= number or event.valid_time_s < time_s or closed:
            return False
        if isinstance(payload, Watermark | Reopened):
            before_s = payload.before_s if isinstance(payload, Watermark) else -math.inf
            return event.writer.startswith("site/") and before_s <= event.valid_time_s
        if isinstance(payload, Withdrawn):
            return self.accepts_withdrawal(event.writer, payload.seqs)
        if isinstance(payload, EntityMerged):
            entity, into = self.root(payload.entity), self.root(payload.into)
            return entity == payload.entity != into and not self.inside(entity, self.parent(into)[1])
        return not isinstance(payload, RelationSet | RelationEnded) or self.accepts_relation(payload)

    def accepts_relation(self, payload):
        predicate, holder, version, _ = self.parent(payload.subject)
        if payload.subject == payload.object or payload.expected_version not in (None, version):
            return False
        if isinstance(payload, RelationEnded):
            return (predicate, holder) == (payload.predicate, self.root(payload.object))
        inside = self.inside(self.root(payload.subject), self.root(payload.object))
        return not (predicate and payload.expected_version is None) and not inside

    def accepts_withdrawal(self, writer, numbers):
        if max(numbers) > len(self.events) or self.gone.intersection(numbers):
            return False
        events = [self.events[number - 1] for number in numbers]
        kinds = AbsenceSeen | EntityMerged | EntitySeen | MapPlaced | RelationEnded | RelationSet | RobotReported
        own = writer.partition("/")[0]
        mine = all(own in (event.writer.partition("/")[0], "site") for event in events)
        if not mine or not all(isinstance(event.payload, kinds) for event in events):
            return False
        return not circle(written(self.events, self.gone.union(numbers))[1])

    def take(self, event):
        before = {thing: list(changes) for thing, changes in self.written()[1].items()}
        self.events.append(event)
        if isinstance(event.payload, Withdrawn):
            self.gone = self.gone.union(event.payload.seqs)
        for thing, changes in self.written()[1].items():
            self.count(thing, before.get(thing, []), changes)
        if isinstance(event.payload, Watermark):
            self.closed_s = max(self.closed_s, event.payload.before_s)
        if isinstance(event.payload, Reopened):
            open_s = -math.inf if event.payload.before_s is None else event.payload.before_s
            self.closed_s = min(self.closed_s, open_s)

    def count(self, thing, before, changes):
        """Numbers the changes of a thing's parent: those that stay keep their versions, others get new ones."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, changes, strict=False)))
        kept, highest = self._versions.get(thing, [])[:same], self._highest.get(thing, 0)
        self._versions[thing] = [*kept, *range(highest + 1, highest + 1 + len(changes) - same)]
        self._highest[thing] = max([highest, *self._versions[thing]])


def world():
    """What the map contains before anything happens."""
    broad, narrow = (((a, -1.0), (b, -1.0), (b, 1.0), (a, 1.0)) for a, b in ((-1000.0, 1000.0), (0.0, 1.0)))
    payload = [
        PlaceDefined("home", "site", polygon=broad),
        PlaceDefined(ROOM, "region", "home", narrow, map_id=PLAN),
        RelationSet("shelf", "in", ROOM, expected_version=0),
        MapPlaced(PLAN, Pose()),
    ]
    return [Event("map", number, 0.0, one) for number, one in enumerate(payload, 1)]
