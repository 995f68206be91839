"""Collects the content of a bank about one episode for the report: a timeline, and maps of things at a few times."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from embodied.geometry import Pose
from embodied.memory import (
    EntitySeen,
    Event,
    EventFilter,
    Interaction,
    LocationBelief,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    RobotReported,
    SubtaskEnded,
    Withdrawn,
    describe,
)

MOST_EVENTS = 20_000
MOST_MAPS = 4
HIDDEN = (
    "entity_seen", "robot_state", "observed", "moment_stored", "robot_registered", "place_defined", "skill_ended",
)  # fmt: skip
TOOL = "tool"


class PageSource(Protocol):
    """The queries that a page needs; `Bank`, its snapshots and `BankClient` have them."""

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after number `seq` that match `wanted`, at most `limit`, in order."""
        ...

    def history(self, name: str = "", *, kinds: Sequence[str] = ()) -> list[Event]:
        """Returns the events of `kinds` about `name`, or of the whole site, in the order of time."""
        ...

    def where_is(self, entity: str, *, as_of_s: float | None = None) -> LocationBelief | None:
        """Returns the believed location of an entity."""
        ...


@dataclass(frozen=True)
class Thing:
    """An entity on the map at one time: x, y and yaw from above; `size_m` None where it is unknown."""

    name: str
    category: str
    pose: Pose
    size_m: tuple[float, float, float] | None
    predicate: str
    parent: str


@dataclass(frozen=True)
class Map:
    """The locations of all things at `time_s`; `trail` is the path (x, y) m of each tool since the previous map."""

    time_s: float
    things: tuple[Thing, ...]
    robots: dict[str, Pose]
    trail: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class TimelineInterval:
    """An interval (seconds) in one lane of the timeline, with its text; without length, an instant."""

    lane: str
    begin_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class TimelineRow:
    """One line of the timeline."""

    time_s: float
    seq: int
    robot: str
    text: str


@dataclass(frozen=True)
class Page:
    """One episode as a bank has it; `dealt_with` are the things that robots handled, `what` is belief or truth."""

    name: str
    what: str
    dealt_with: tuple[str, ...]
    intervals: tuple[TimelineInterval, ...]
    maps: tuple[Map, ...]
    rows: tuple[TimelineRow, ...]


def episode_page(bank: PageSource, episode: str, *, what: str = "belief") -> Page | None:
    """Returns the page of an `episode`, None where `bank` has no events of it; `what` is "belief" or "truth"."""
    events = bank.changes_since(0, wanted=EventFilter(task=episode), limit=MOST_EVENTS)
    if not events:
        return None
    events = _without_fixtures(sorted(events, key=lambda event: (event.valid_time_s, event.seq)))
    shown = shortener(episode)
    withdrawals = (event.payload for event in bank.history(kinds=("withdrawn",)))
    withdrawn = {seq for payload in withdrawals if isinstance(payload, Withdrawn) for seq in payload.seqs}
    counted = [event for event in events if not event.claimed and event.seq not in withdrawn]
    interactions = [event.payload for event in counted if isinstance(event.payload, Interaction)]
    return Page(
        name=episode,
        what=what,
        dealt_with=tuple(dict.fromkeys(shown(interaction.entity) for interaction in interactions)),
        intervals=tuple(_intervals(counted, shown)) if counted else (),
        maps=tuple(_maps(bank, counted, shown)) if counted else (),
        rows=tuple(timeline(events, shown=shown)),
    )


def shortener(episode: str) -> Callable[[str], str]:
    """Returns a function that shortens names beginning with the name of an episode."""
    return lambda name: name.removeprefix(f"{episode}/").removeprefix(f"{episode}#")


def timeline(events: Sequence[Event], *, shown: Callable[[str], str] = str) -> Iterator[TimelineRow]:
    """Yields the events as text: all but sightings, states, observations and moments."""
    for event in events:
        if event.kind not in HIDDEN:
            yield TimelineRow(event.valid_time_s, event.seq, event.robot, describe(event, shown=shown))


def _without_fixtures(events: Sequence[Event]) -> list[Event]:
    """Returns the events without the poses of places and fixed things, which do not move."""
    places = {event.payload.place: event.payload.level for event in events if isinstance(event.payload, PlaceDefined)}
    return [
        event for event in events
        if not isinstance(payload := event.payload, RelationSet)
        or (payload.subject not in places and places.get(payload.object) != "site")
    ]  # fmt: skip


def _intervals(events: Sequence[Event], shown: Callable[[str], str]) -> Iterator[TimelineInterval]:
    last_s = events[-1].valid_time_s
    open_since: dict[str, tuple[float, str]] = {}
    for event in events:
        time_s, payload = event.valid_time_s, event.payload
        if isinstance(payload, RelationSet | RelationEnded) and payload.predicate != "part_of":
            thing = shown(payload.subject)
            if thing in open_since:
                since_s, text = open_since.pop(thing)
                yield TimelineInterval(thing, since_s, time_s, text)
            if isinstance(payload, RelationSet):
                open_since[thing] = time_s, f"{payload.predicate.replace('_', ' ')} {shown(payload.object)}"
        elif isinstance(payload, Interaction):
            yield TimelineInterval(
                event.robot, payload.pick_start_s, payload.place_end_s, _interaction_text(payload, shown)
            )
        elif isinstance(payload, SubtaskEnded):
            yield TimelineInterval("phases", time_s, time_s, shown(payload.subtask))
    for thing, (since_s, text) in open_since.items():
        yield TimelineInterval(thing, since_s, last_s, text)


def _interaction_text(payload: Interaction, shown: Callable[[str], str]) -> str:
    return f"{payload.action.replace('_', ' and ')} {shown(payload.entity)}"


def _maps(bank: PageSource, events: Sequence[Event], shown: Callable[[str], str]) -> Iterator[Map]:
    seen = {event.payload.entity: event.payload for event in events if isinstance(event.payload, EntitySeen)}
    moving = {event.payload.subject for event in events if isinstance(event.payload, RelationSet)}
    previous_s = events[0].valid_time_s
    for time_s in _instants(events):
        things = []
        for name, payload in seen.items():
            there = None if payload.category == TOOL else bank.where_is(name, as_of_s=time_s)
            if there is None or there.pose is None:
                continue
            # An arrow from each fixture to its table would hide the things that move.
            parent = (there.predicate, shown(there.parent)) if name in moving else ("", "")
            things.append(Thing(shown(name), payload.category, there.pose, payload.size_m, *parent))
        past = [event for event in events if event.valid_time_s <= time_s]
        robots = {event.robot: event.payload.pose for event in past if isinstance(event.payload, RobotReported)}
        recent = [event for event in past if event.valid_time_s >= previous_s]
        yield Map(time_s, tuple(things), robots, tuple(_trails(recent)))
        previous_s = time_s


def _instants(events: Sequence[Event]) -> list[float]:
    """Returns the times of the maps.

    These are before the first interaction, after interactions, and at the end, at most `MOST_MAPS`.
    """
    interactions = [event.payload for event in events if isinstance(event.payload, Interaction)]
    instants = {events[-1].valid_time_s, *(interaction.place_end_s for interaction in interactions)}
    instants.add(min([interaction.pick_start_s for interaction in interactions], default=events[0].valid_time_s))
    ordered = sorted(instants)
    if len(ordered) <= MOST_MAPS:
        return ordered
    step = (len(ordered) - 1) / (MOST_MAPS - 1)
    return [ordered[round(step * number)] for number in range(MOST_MAPS)]


def _trails(events: Sequence[Event]) -> Iterator[tuple[tuple[float, float], ...]]:
    tools = [event.payload for event in events if isinstance(event.payload, EntitySeen)]
    for name in dict.fromkeys(payload.entity for payload in tools if payload.category == TOOL):
        yield tuple(
            (payload.pose.position_m[0], payload.pose.position_m[1]) for payload in tools if payload.entity == name
        )
