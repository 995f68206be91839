"""What a bank should answer: a plain list of events, looked through from its beginning for every question.

The world is a line: all things lie on the x axis and none is turned. There is one place with an extent, the room, from
0 to 1; the shelf was never seen, but is told to be in the room.
"""

import math
from dataclasses import dataclass

from embodied.memory.stem.event import Event
from embodied.memory.stem.kinds import (
    CONTAINMENT,
    AbsenceSeen,
    EntitySeen,
    PastClosed,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    RobotState,
)

ROOM = "room"
NEVER = (-math.inf, 0)


@dataclass(frozen=True)
class Span:
    """A time in which a thing had one parent, "" for none: first told at `first`, last at `last` (time, number)."""

    predicate: str
    holder: str
    first: tuple[float, int]
    last: tuple[float, int]


@dataclass(frozen=True)
class Lies:
    """Where a thing lies, None for nobody knows, by which event, and by which guesses."""

    x: float | None = None
    spot: tuple[float, int] = NEVER
    guesses: frozenset[int] = frozenset()


class Model:
    """What should be so: accepted events in order, and questions answered without any index."""

    def __init__(self):
        self.events: list[Event] = []
        self.closed_s = -math.inf

    def last(self, writer):
        mine = [event for event in self.events if event.writer == writer]
        return (mine[-1].writer_seq, mine[-1].valid_time_s) if mine else (0, 0.0)

    def changes(self, thing, *, until=math.inf, upto=None):
        """(predicate, object, since, number) of a thing's parents: from their time, never before the last one."""
        found = []
        for number, event in enumerate(self.events[:upto], 1):
            said = event.payload
            if (
                isinstance(said, RelationSet | RelationEnded)
                and said.subject == thing
                and said.predicate in CONTAINMENT
            ):
                held = (said.predicate, said.object) if isinstance(said, RelationSet) else ("", "")
                since = max(found[-1][2] if found else -math.inf, event.valid_time_s)
                found.append((*held, since, number))
        return [change for change in found if change[2] <= until]

    def parent(self, thing, *, as_of_s=math.inf, upto=None):
        """(predicate, object, version, since) of a thing's parent."""
        found = self.changes(thing, until=as_of_s, upto=upto)
        return (*found[-1][:2], len(found), found[-1][2]) if found else ("", "", 0, -math.inf)

    def told(self, kind, name, *, until=math.inf, upto=None):
        """(time, number) of all events of a kind about a thing, ascending."""
        return sorted(
            (event.valid_time_s, number)
            for number, event in enumerate(self.events[:upto], 1)
            if isinstance(event.payload, kind)
            and name == (event.robot if kind is RobotState else event.payload.entity)
            and event.valid_time_s <= until
        )

    def seen(self, thing, *, as_of_s=math.inf, upto=None):
        kind = RobotState if thing == "ann" else EntitySeen
        return max(self.told(kind, thing, until=as_of_s, upto=upto), default=None)

    def payload(self, spot):
        return self.events[spot[1] - 1].payload

    def existence(self, thing, *, as_of_s=math.inf, upto=None):
        """Every look that found nothing since the last evidence leaves half of a half."""
        set_at = [change[2:] for change in self.changes(thing, until=as_of_s, upto=upto) if change[0]]
        evidence = max([*set_at, self.seen(thing, as_of_s=as_of_s, upto=upto) or NEVER], default=NEVER)
        looks = self.told(AbsenceSeen, thing, until=as_of_s, upto=upto)
        return 0.75 ** sum(look > evidence for look in looks)

    # --- Where things lie ---

    def lies(self, thing, *, as_of_s=math.inf, upto=None):
        """Goes through a thing's parents from the first on, carrying along where it lies."""
        seen = self.seen(thing, as_of_s=as_of_s, upto=upto) or NEVER
        sighting = Lies(self.payload(seen).pose.position_m[0], seen) if seen != NEVER else Lies()
        spans = self.spans(thing, as_of_s, upto)
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
                lies = self.with_holder(lies, span, seen, stays, after.first[0] if after else as_of_s, upto)
        return lies

    def with_holder(self, lies, span, seen, stays, end_s, upto):  # noqa: PLR0917
        """Where a thing lies at the end of a span, if it lay there at its beginning, or when it was seen in it."""
        shown = span.first <= seen
        begun = seen if shown else span.first
        tool = self.tool(span, end_s, upto)
        base = self.lies(span.holder, as_of_s=begun[0], upto=upto)
        here = tool or self.lies(span.holder, as_of_s=end_s, upto=upto)
        there = (self.tool(span, begun[0], upto) or Lies()) if tool else base
        if here.x is None:
            room, since = self.told_room(span.holder, span.last, end_s, upto)
            older = not (shown and seen >= since)
            lost = base.x is not None or (lies.x is not None and room and older and not 0 <= lies.x <= 1)
            return Lies(None, since) if lost else lies
        stays = shown if tool else stays
        if stays and lies.x is not None and there.x is not None and there.guesses <= here.guesses:
            spot = lies.spot if there.spot == here.spot else max(lies.spot, here.spot)
            return Lies(lies.x + here.x - there.x, spot, lies.guesses | here.guesses)
        return Lies(here.x, max(begun, here.spot), here.guesses | {begun[1]})

    def spans(self, thing, until, upto):
        spans = []
        for predicate, holder, time_s, number in self.changes(thing, until=until, upto=upto):
            spot = (time_s, number)
            if spans and (spans[-1].predicate, spans[-1].holder) == (predicate, holder):
                spans[-1] = Span(predicate, holder, spans[-1].first, spot)
            else:
                spans.append(Span(predicate, holder, spot, spot))
        return spans

    def guess(self, span, seen):
        return seen[1] if seen >= span.first else span.first[1]

    def tool(self, span, time_s, upto):
        state = self.seen("ann", as_of_s=time_s, upto=upto)
        if (span.predicate, span.holder) != ("held_by", "ann") or state is None or self.payload(state).tool is None:
            return None
        return Lies(self.payload(state).tool.position_m[0], state)

    def told_room(self, holder, since, time_s, upto):
        while holder not in ("", ROOM):
            found = self.changes(holder, until=time_s, upto=upto)
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
        if event.writer_seq <= number or event.valid_time_s < time_s or event.valid_time_s < self.closed_s:
            return False
        said = event.payload
        if isinstance(said, PastClosed):
            return said.before_s <= event.valid_time_s
        if isinstance(said, RelationSet | RelationEnded):
            predicate, thing, version, _ = self.parent(said.subject)
            if said.subject == said.object or said.expected_version not in (None, version):
                return False
            if isinstance(said, RelationEnded):
                return (predicate, thing) == (said.predicate, said.object)
            return not (predicate and said.expected_version is None) and not self.inside(said.subject, said.object)
        return True

    def take(self, event):
        self.events.append(event)
        if isinstance(event.payload, PastClosed):
            self.closed_s = max(self.closed_s, event.payload.before_s)


def world():
    """What the map tells before anything happens."""
    broad, narrow = (((a, -1.0), (b, -1.0), (b, 1.0), (a, 1.0)) for a, b in ((-1000.0, 1000.0), (0.0, 1.0)))
    said = [
        PlaceDefined("home", "site", polygon=broad),
        PlaceDefined(ROOM, "region", "home", narrow),
        RelationSet("shelf", "in", ROOM, expected_version=0),
    ]
    return [Event("map", number, 0.0, one) for number, one in enumerate(said, 1)]
