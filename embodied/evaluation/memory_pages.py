"""What a bank remembers of an episode, gathered for the report: a timeline, and where things were at a few times."""

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
    RobotState,
    SubtaskEnded,
    describe,
)

MOST_EVENTS = 20_000
MOST_MAPS = 4
HIDDEN = (
    "entity_seen", "robot_state", "observed", "moment_stored", "robot_registered", "place_defined", "skill_ended",
)  # fmt: skip
TOOL = "tool"


class Reader(Protocol):
    """What is asked of a bank: `Bank`, `View`, `Reads` and `BankClient` all answer it."""

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after `seq`, in order."""
        ...

    def where_is(self, entity: str, *, as_of_s: float | None = None) -> LocationBelief | None:
        """Returns where an entity was believed to be."""
        ...


@dataclass(frozen=True)
class Thing:
    """An entity on the map at one time: x, y and yaw from above; `size_m` None where nobody has told."""

    name: str
    category: str
    pose: Pose
    size_m: tuple[float, float, float] | None
    predicate: str
    parent: str


@dataclass(frozen=True)
class Map:
    """Where everything was at `time_s`; `trail` is the way of each tool since the map before, (x, y) in metres."""

    time_s: float
    things: tuple[Thing, ...]
    robots: dict[str, Pose]
    trail: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class Span:
    """An interval (seconds) in one lane of the timeline, with what it says; without length, an instant."""

    lane: str
    begin_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class TimelineRow:
    """One line of the timeline in words."""

    time_s: float
    seq: int
    robot: str
    text: str


@dataclass(frozen=True)
class Page:
    """One episode as the bank tells it; `dealt_with` are the things of its interactions."""

    name: str
    dealt_with: tuple[str, ...]
    spans: tuple[Span, ...]
    maps: tuple[Map, ...]
    rows: tuple[TimelineRow, ...]


def episode_page(bank: Reader, episode: str) -> Page | None:
    """Returns the page of an episode, None where the bank knows nothing of it."""
    events = bank.changes_since(0, wanted=EventFilter(task=episode), limit=MOST_EVENTS)
    if not events:
        return None
    events = _without_fixtures(sorted(events, key=lambda event: (event.valid_time_s, event.seq)))
    shown = shortener(episode)
    deeds = [event.payload for event in events if isinstance(event.payload, Interaction)]
    return Page(
        name=episode,
        dealt_with=tuple(dict.fromkeys(shown(deed.entity) for deed in deeds)),
        spans=tuple(_spans(events, shown)),
        maps=tuple(_maps(bank, events, shown)),
        rows=tuple(timeline(events, shown=shown)),
    )


def shortener(episode: str) -> Callable[[str], str]:
    """Returns what shortens names that begin with an episode's."""
    return lambda name: name.removeprefix(f"{episode}/").removeprefix(f"{episode}#")


def timeline(events: Sequence[Event], *, shown: Callable[[str], str] = str) -> Iterator[TimelineRow]:
    """Yields what happened, in words: all but sightings, states, observations and moments."""
    for event in events:
        if event.kind not in HIDDEN:
            yield TimelineRow(event.valid_time_s, event.seq, event.robot, describe(event, shown=shown))


def _without_fixtures(events: Sequence[Event]) -> list[Event]:
    """Returns the events without where places, and what is fixed in the site, stand: nothing moves them."""
    places = {event.payload.place: event.payload.level for event in events if isinstance(event.payload, PlaceDefined)}
    return [
        event for event in events
        if not isinstance(said := event.payload, RelationSet)
        or (said.subject not in places and places.get(said.object) != "site")
    ]  # fmt: skip


def _spans(events: Sequence[Event], shown: Callable[[str], str]) -> Iterator[Span]:
    last_s = events[-1].valid_time_s
    open_since: dict[str, tuple[float, str]] = {}
    for event in events:
        time_s, said = event.valid_time_s, event.payload
        if isinstance(said, RelationSet | RelationEnded) and said.predicate != "part_of":
            thing = shown(said.subject)
            if thing in open_since:
                since_s, text = open_since.pop(thing)
                yield Span(thing, since_s, time_s, text)
            if isinstance(said, RelationSet):
                open_since[thing] = time_s, f"{said.predicate.replace('_', ' ')} {shown(said.object)}"
        elif isinstance(said, Interaction):
            yield Span(event.robot, said.pick_start_s, said.place_end_s, _interaction_text(said, shown))
        elif isinstance(said, SubtaskEnded):
            yield Span("phases", time_s, time_s, shown(said.subtask))
    for thing, (since_s, text) in open_since.items():
        yield Span(thing, since_s, last_s, text)


def _interaction_text(said: Interaction, shown: Callable[[str], str]) -> str:
    return f"{said.action.replace('_', ' and ')} {shown(said.entity)}"


def _maps(bank: Reader, events: Sequence[Event], shown: Callable[[str], str]) -> Iterator[Map]:
    seen = {event.payload.entity: event.payload for event in events if isinstance(event.payload, EntitySeen)}
    moving = {event.payload.subject for event in events if isinstance(event.payload, RelationSet)}
    previous_s = events[0].valid_time_s
    for time_s in _instants(events):
        things = []
        for name, said in seen.items():
            there = None if said.category == TOOL else bank.where_is(name, as_of_s=time_s)
            if there is None or there.pose is None:
                continue
            # An arrow from each fixture to its table would hide what moves.
            parent = (there.predicate, shown(there.parent)) if name in moving else ("", "")
            things.append(Thing(shown(name), said.category, there.pose, said.size_m, *parent))
        told = [event for event in events if event.valid_time_s <= time_s]
        robots = {event.robot: event.payload.pose for event in told if isinstance(event.payload, RobotState)}
        recent = [event for event in told if event.valid_time_s >= previous_s]
        yield Map(time_s, tuple(things), robots, tuple(_trails(recent)))
        previous_s = time_s


def _instants(events: Sequence[Event]) -> list[float]:
    """Returns before the first interaction, after interactions, and the end: at most `MOST_MAPS` times."""
    deeds = [event.payload for event in events if isinstance(event.payload, Interaction)]
    instants = {events[-1].valid_time_s, *(deed.place_end_s for deed in deeds)}
    instants.add(min([deed.pick_start_s for deed in deeds], default=events[0].valid_time_s))
    ordered = sorted(instants)
    if len(ordered) <= MOST_MAPS:
        return ordered
    step = (len(ordered) - 1) / (MOST_MAPS - 1)
    return [ordered[round(step * number)] for number in range(MOST_MAPS)]


def _trails(events: Sequence[Event]) -> Iterator[tuple[tuple[float, float], ...]]:
    tools = [event.payload for event in events if isinstance(event.payload, EntitySeen)]
    for name in dict.fromkeys(said.entity for said in tools if said.category == TOOL):
        yield tuple((said.pose.position_m[0], said.pose.position_m[1]) for said in tools if said.entity == name)
