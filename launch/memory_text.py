"""What a memory bank answers, in lines of text."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from embodied.errors import ConfigError
from embodied.evaluation.memory_pages import HIDDEN, shortener
from embodied.memory.projections.inverted_index import mentioned
from embodied.memory.queries.validation import interval, ordinal, point_m, whole
from embodied.memory.schema.event import Event
from embodied.memory.schema.formatting import Shown, describe
from embodied.memory.schema.kinds import EpisodeBegun, EpisodeEnded, RobotRegistered, SkillEnded
from embodied.memory.schema.places import Place
from embodied.memory.schema.query import EventFilter, LocationBelief, Order, Query
from embodied.memory.service.bank import Bank
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID, embed
from launch.memory_names import ALL, completed, unknown

PAGE = 2000
LONGEST_NAME = 90


@dataclass(kw_only=True)
class Question:
    """What is asked of a bank. Times in seconds on the site clock, points in metres.

    A query answers the first that is given of `where`, `contents`, `places` (all, or one and what is in it), `skill`,
    `similar` (an instruction), `why`, `nth` and `since`, else it recalls moments. `name` is an entity, robot or place;
    `nth` counts interactions from 1, or from -1 backwards, of an `action` such as `pick_place` or `pick place`. A
    `skill` is asked for at `near_m`, or where `near` is. Of a name its end is enough (`block`, `3/block`) where only
    one ends so.
    """

    where: str = ""
    contents: str = ""
    places: str = ""
    similar: str = ""
    skill: str = ""
    near_m: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    near: str = ""
    why: int | None = None
    nth: int | None = None
    since: int | None = None
    as_of_s: float | None = None
    name: str = ""
    action: str = ""
    episode: str = ""
    robot: str = ""
    place: str = ""
    kinds: list[str] = field(default_factory=list)
    from_s: float | None = None
    to_s: float | None = None
    limit: int = 200


def summary(bank: Bank, question: Question) -> Iterator[str]:
    """Yields how much of what the bank holds, its episodes and their outcomes, skills, places and robots."""
    kinds: Counter[str] = Counter()
    robots: Counter[str] = Counter()
    skills: Counter[tuple[str, str, str, bool]] = Counter()
    episodes: dict[str, str] = {}
    first_s, last_s = math.inf, -math.inf
    for event in all_events(bank):
        kinds[event.kind] += 1
        first_s, last_s = min(first_s, event.valid_time_s), max(last_s, event.valid_time_s)
        if event.robot:
            robots[event.robot] += 1
        match event.payload:
            case EpisodeBegun(episode=episode):
                episodes[episode] = "still runs"
            case EpisodeEnded() as said:
                episodes[said.episode] = f"{said.outcome}{f': {said.reason}' if said.reason else ''}"
            case SkillEnded() as said:
                skills[event.robot, said.skill, said.context, said.success] += 1
    if not kinds:
        yield "The bank is empty."
        return
    yield f"{sum(kinds.values())} events up to number {bank.head}, from {first_s:.2f} s to {last_s:.2f} s"
    yield from _table("Kinds", [(kind, str(count)) for kind, count in kinds.most_common()])
    yield from _table("Robots", [(robot, f"{count} events") for robot, count in sorted(robots.items())])
    places = bank.places()
    few = [(place.name, f"{place.level} of {place.parent}" if place.parent else place.level) for place in places]
    yield from _table(f"Places{_left_out(len(places), question)}", few[-question.limit :])
    yield from _table("Skills", _skill_rows(skills))
    shown = list(episodes.items())[-question.limit :]
    yield from _table(f"Episodes ({len(episodes)}{_left_out(len(episodes), question)})", shown)


def timeline(bank: Bank, question: Question) -> Iterator[str]:
    """Yields what happened, by valid time: of an entity, robot or place, in an episode, or on the whole site."""
    question = completed(bank, question)
    shown = shortener(question.episode) if question.episode else str
    from_s, to_s = _interval(question)
    if question.name or not question.episode:
        events = [
            event for event in bank.history(question.name, from_s=from_s, to_s=to_s, kinds=tuple(question.kinds))
            if question.robot in ("", event.robot) and question.episode in ("", event.task)
        ]  # fmt: skip
    else:
        wanted = EventFilter(kinds=tuple(question.kinds), robot=question.robot, task=question.episode)
        events = [
            event for event in all_events(bank, wanted=wanted)
            if (question.kinds or event.kind not in HIDDEN) and from_s <= event.valid_time_s <= to_s
        ]  # fmt: skip
        events.sort(key=lambda event: (event.valid_time_s, event.seq))
    if not events:
        yield "Nothing that fits has happened."
    yield from _lines(events[: question.limit], shown)
    if len(events) > question.limit:
        yield f"... {len(events) - question.limit} more; limit={len(events)} shows all"


def answer(bank: Bank, question: Question) -> Iterator[str]:
    """Yields the answer to one question. Raises `EmbodiedError` for one that makes no sense."""
    question = completed(bank, question)
    if question.where:
        there = bank.where_is(question.where, as_of_s=question.as_of_s)
        yield from _where(there) if there else [_unheard(question.where, question.as_of_s)]
    elif question.contents:
        found = bank.contents(question.contents, as_of_s=question.as_of_s)
        yield from found or [f"Nothing is in, on, part of or held by {question.contents}."]
    elif question.places:
        yield from _places(bank, question)
    elif question.skill:
        yield from _skill_candidates(bank, question)
    elif question.similar:
        yield from _similar(bank, question)
    elif question.why is not None:
        number = whole("why", question.why, least=1)
        yield from _lines(bank.why(number), str) if bank.event(number) else ["There is no such event."]
    elif question.nth is not None:
        event = bank.nth_interaction(
            ordinal("nth", question.nth), entity=question.name, robot=question.robot, action=question.action,
            between_s=_interval(question),
        )  # fmt: skip
        yield from _lines([event], str) if event else ["There is no such interaction."]
    elif question.since is not None:
        yield from _changes(bank, question, whole("since", question.since, least=0))
    else:
        yield from _moments(bank, question)


def json_lines(bank: Bank, question: Question) -> Iterator[str]:
    """Yields events as JSON, one per line, as `decode_event` reads them; bytes are in base64."""
    question = completed(bank, question)
    from_s, to_s = _interval(question)
    wanted = EventFilter(kinds=tuple(question.kinds), robot=question.robot, task=question.episode)
    for event in all_events(bank, wanted=wanted):
        if from_s <= event.valid_time_s <= to_s and (not question.name or question.name in mentioned(event)):
            yield msgspec.json.encode(event).decode()


def all_events(bank: Bank, *, wanted: EventFilter | None = None) -> Iterator[Event]:
    """Yields all wanted events, in the order of the log."""
    after = 0
    while page := bank.changes_since(after, wanted=wanted, limit=PAGE):
        yield from page
        after = page[-1].seq


def _where(there: LocationBelief) -> Iterator[str]:
    yield there.entity
    if there.pose is not None:
        x, y, z = there.pose.position_m
        yield f"  at       ({x:.3f}, {y:.3f}, {z:.3f}) m"
    if there.parent:
        yield f"  {there.predicate.replace('_', ' '):<8} {there.parent}"
    if there.place:
        yield f"  place    {there.place}"
    yield f"  since    {there.since_s:.2f} s, event {there.seq}"
    yield f"  exists   {100 * there.existence:.1f} %"


def _skill_candidates(bank: Bank, question: Question) -> Iterator[str]:
    if question.skill not in (known := _skills(bank)):
        raise unknown("skill", question.skill, known)
    near_m = point_m("near_m", question.near_m)
    if question.near:
        there = bank.where_is(question.near, as_of_s=question.as_of_s)
        if there is None or there.pose is None:
            yield _unheard(question.near, question.as_of_s)
            return
        near_m = there.pose.position_m
    found = bank.skill_candidates(question.skill, near_m, as_of_s=question.as_of_s, context=question.name)
    rows = [
        (one.robot, f"{one.cost_s:.1f} s, success {100 * one.success:.0f} %, {one.distance_m:.2f} m away")
        for one in found
    ]
    yield from _table("SkillCandidate, cheapest first", rows) if rows else [f"No robot can {question.skill} there now."]


def _places(bank: Bank, question: Question) -> Iterator[str]:
    """Yields a place and, indented below it, all that are in it; of one that is gone the extent it had is not shown."""
    places = bank.places(as_of_s=question.as_of_s)
    inside: dict[str, list[Place]] = {}
    for place in places:
        inside.setdefault(place.parent, []).append(place)
    asked = inside.get("", []) if question.places == ALL else [one for one in places if one.name == question.places]
    todo = [(place, 0) for place in reversed(asked)]
    rows = []
    while todo:
        place, depth = todo.pop()
        rows.append((f"{'  ' * depth}{place.name}", f"{place.level}{_extent(place)}"))
        todo += [(below, depth + 1) for below in inside.get(place.name, ())][::-1]
    yield from _table(f"Places{_left_out(len(rows), question)}", rows[-question.limit :]) if rows else ["None yet."]


def _extent(place: Place) -> str:
    if not place.polygon:
        return ""
    x, y = zip(*place.polygon, strict=True)
    ranges = ((min(x), max(x)), (min(y), max(y)), (place.bottom_m, place.top_m))
    return ", " + ", ".join(
        f"{axis} {low:.2f} to {high:.2f} m" for axis, (low, high) in zip("xyz", ranges, strict=True)
    )


def _similar(bank: Bank, question: Question) -> Iterator[str]:
    asked = embed(question.similar)
    if asked is None:
        raise ConfigError("An instruction must have words.", value=question.similar, remedy="Write similar='open it'.")
    told = {
        event.payload.episode: event.payload.instruction
        for event in bank.history(kinds=("episode_begun",)) if isinstance(event.payload, EpisodeBegun)
    }  # fmt: skip
    found = bank.similar_episodes(asked, MODEL_ID, top_k=question.limit)
    rows = [(name, f"{likeness:.3f}  {told.get(name, '')}") for name, likeness in found]
    yield from _table(f"By words in common ({MODEL_ID})", rows) if rows else [f"No episode was told with {MODEL_ID}."]


def _changes(bank: Bank, question: Question, since: int) -> Iterator[str]:
    wanted = EventFilter(kinds=tuple(question.kinds), robot=question.robot, task=question.episode)
    found = bank.changes_since(since, wanted=wanted, limit=question.limit)
    yield from _lines(found, str)
    if not found:
        what = "Nothing" if wanted == EventFilter() else "Nothing that fits"
        yield f"{what} has changed since event {since}; the newest event is {bank.head}."


def _left_out(count: int, question: Question) -> str:
    return f", the last {question.limit} of {count}" if count > question.limit else ""


def _moments(bank: Bank, question: Question) -> Iterator[str]:
    query = Query(
        time_s=_interval(question), region=question.place or None, robot=question.robot or None,
        episode=question.episode or None, entities=(question.name,) if question.name else (), top_k=question.limit,
        order=Order.NEWEST,
    )  # fmt: skip
    found = bank.recall(query)
    for one in found:
        moment = one.moment
        x, y, z = moment.position_m
        things = ", ".join(moment.entities)
        at = f"({x:.2f}, {y:.2f}, {z:.2f}) m"
        yield f"{moment.time_s:>10.2f} s  {one.seq:>8}  {moment.robot}  {at}  {moment.model_id}  {things}".rstrip()
    if not found:
        yield "No moments fit. Other questions: where=, contents=, places=, skill=, similar=, why=, nth=, since=."


def _interval(question: Question) -> tuple[float, float]:
    from_s = -math.inf if question.from_s is None else question.from_s
    to_s = math.inf if question.to_s is None else question.to_s
    return interval((from_s, to_s))


def _lines(events: Sequence[Event], shown: Shown) -> Iterator[str]:
    width = max((len(event.robot) for event in events), default=0)
    for event in events:
        words = describe(event, shown=shown)
        yield f"{event.valid_time_s:>10.2f} s  {event.seq:>8}  {event.robot:<{width}}  {words}"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    width = min(LONGEST_NAME, max(len(name) for name, _ in rows))
    yield f"\n{title}"
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"


def _skill_rows(skills: Counter[tuple[str, str, str, bool]]) -> list[tuple[str, str]]:
    rows = []
    for robot, skill, context in dict.fromkeys(key[:3] for key in sorted(skills)):
        good, bad = skills[robot, skill, context, True], skills[robot, skill, context, False]
        name = f"{robot} {skill}{f' {context}' if context else ''}"
        rows.append((name, f"{good} of {good + bad}, Beta({good + 1}, {bad + 1})"))
    return rows


def _skills(bank: Bank) -> set[str]:
    """Returns the skills that robots say they have, or have tried."""
    found: set[str] = set()
    for event in bank.history(kinds=("robot_registered", "skill_ended")):
        match event.payload:
            case RobotRegistered(skills=skills):
                found.update(skill.name for skill in skills)
            case SkillEnded(skill=skill):
                found.add(skill)
    return found


def _unheard(name: str, as_of_s: float | None) -> str:
    when = "" if as_of_s is None else f" by {as_of_s:g} s"
    return f"Nobody has said{when} where {name} is."
