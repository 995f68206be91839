"""Formats the content of a memory bank and its answers as lines of text."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from embodied.errors import ConfigError
from embodied.evaluation.memory_pages import HIDDEN
from embodied.memory import (
    BankView,
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    Event,
    EventFilter,
    LocationBelief,
    Order,
    Place,
    Query,
    RobotRegistered,
    SkillCandidate,
    SkillEnded,
    describe,
    indexed_names,
    validation,
)
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID, embed
from launch.memory_names import ALL, completed, unknown
from launch.memory_query import CompletedQuery, QuerySettings
from launch.memory_things import things

PAGE = 2000
MOST_SIGHTINGS = 100_000
LONGEST_NAME = 90
QUESTIONS = (
    "Give one of things, where, contents, places, skill, similar, why, nth and since, or what moments are about: name, "
    "robot, place, episode, from_s, to_s. `python -m launch.memory --help` shows examples."
)


def summary(bank: BankView, query: QuerySettings) -> Iterator[str]:
    """Yields the numbers of events of the bank, its episodes and their outcomes, skills, places and robots."""
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
            case EpisodeEnded() as ended:
                episodes[ended.episode] = f"{ended.outcome}{f': {ended.reason}' if ended.reason else ''}"
            case SkillEnded() as ended if not event.claimed:
                skills[event.robot, ended.skill, ended.context, ended.success] += 1
    if not kinds:
        yield "The bank is empty."
        return
    yield f"{sum(kinds.values())} events up to number {bank.head}, from {first_s:.2f} s to {last_s:.2f} s"
    yield from _table("Kinds", [(kind, str(count)) for kind, count in kinds.most_common()])
    yield from _table("Robots", [(robot, f"{count} events") for robot, count in sorted(robots.items())])
    places = bank.places()
    few = [(place.name, f"{place.level} of {place.parent}" if place.parent else place.level) for place in places]
    yield from _table(f"Places{_left_out(len(places), query)}", few[-query.limit :])
    yield from _table("Skills", _skill_rows(skills))
    shown = list(episodes.items())[-query.limit :]
    yield from _table(f"Episodes ({len(episodes)}{_left_out(len(episodes), query)})", shown)


def timeline(bank: BankView, query: QuerySettings) -> Iterator[str]:
    """Yields the events as text, by valid time: of an entity, robot or place, in an episode, or on the whole site."""
    query = completed(bank, query)
    from_s, to_s = _interval(query)
    if query.name or not query.episode:
        events = [
            event for event in bank.history(query.name, from_s=from_s, to_s=to_s, kinds=tuple(query.kinds))
            if query.robot in ("", event.robot) and query.episode in ("", event.task)
        ]  # fmt: skip
    else:
        wanted = EventFilter(kinds=tuple(query.kinds), robot=query.robot, task=query.episode)
        events = [
            event for event in all_events(bank, wanted=wanted)
            if (query.kinds or event.kind not in HIDDEN) and from_s <= event.valid_time_s <= to_s
        ]  # fmt: skip
        events.sort(key=lambda event: (event.valid_time_s, event.seq))
    if not events:
        yield "Nothing that fits has happened."
    yield from _lines(bank, events[: query.limit], query)
    if len(events) > query.limit:
        yield f"... {len(events) - query.limit} more; limit={len(events)} shows all"


def answer(bank: BankView, query: QuerySettings) -> Iterator[str]:
    """Yields the answer to one query. Raises `EmbodiedError` for values out of range and for unknown names."""
    query = completed(bank, query)
    if query.things:
        yield from things(bank, query)
    elif query.where:
        there = bank.where_is(query.where, as_of_s=query.as_of_s)
        yield from _where(bank, there, query) if there else [_not_seen(query.where, query)]
    elif query.contents:
        found = bank.contents(query.contents, as_of_s=query.as_of_s)
        shown = [query.shown(name) for name in found]
        yield from shown or [f"Nothing is in, on, part of or held by {query.shown(query.contents)}."]
    elif query.places:
        yield from _places(bank, query)
    elif query.skill:
        yield from _skill_candidates(bank, query)
    elif query.similar:
        yield from _similar(bank, query)
    elif query.why is not None:
        number = validation.whole("why", query.why, least=1)
        yield from _lines(bank, bank.why(number), query) if bank.event(number) else ["There is no such event."]
    elif query.nth is not None:
        event = bank.nth_interaction(
            validation.ordinal("nth", query.nth), entity=query.name, robot=query.robot, action=query.action,
            between_s=_interval_in_episode(query),
        )  # fmt: skip
        yield from _lines(bank, [event], query) if event else ["There is no such interaction."]
    elif query.since is not None:
        yield from _changes(bank, query, validation.whole("since", query.since, least=0))
    elif any((query.name, query.episode, query.robot, query.place)) or (
        query.from_s is not None or query.to_s is not None
    ):
        yield from _moments(bank, query)
    else:
        raise ConfigError("A query must ask for something.", remedy=QUESTIONS)


def json_lines(bank: BankView, query: QuerySettings) -> Iterator[str]:
    """Yields events as JSON, one per line, as `decode_event` reads them; bytes are in base64."""
    query = completed(bank, query)
    from_s, to_s = _interval(query)
    wanted = EventFilter(kinds=tuple(query.kinds), robot=query.robot, task=query.episode)
    for event in all_events(bank, wanted=wanted):
        if from_s <= event.valid_time_s <= to_s and (not query.name or query.name in indexed_names(event)):
            yield msgspec.json.encode(event).decode()


def all_events(bank: BankView, *, wanted: EventFilter | None = None) -> Iterator[Event]:
    """Yields all wanted events, in the order of the log."""
    after = 0
    while page := bank.changes_since(after, wanted=wanted, limit=PAGE):
        yield from page
        after = page[-1].seq


def _where(bank: BankView, there: LocationBelief, query: CompletedQuery) -> Iterator[str]:
    yield there.entity
    if looks := _looks(bank, there.entity):
        yield f"  looks    {looks}"
    if there.pose is not None:
        x, y, z = there.pose.position_m
        yield f"  at       ({x:.3f}, {y:.3f}, {z:.3f}) m"
    if there.parent:
        yield f"  {there.predicate.replace('_', ' '):<8} {query.shown(there.parent)}"
    if there.place:
        yield f"  place    {query.shown(there.place)}"
    yield f"  since    {there.since_s - query.start_s:.2f} s, event {there.seq}"
    yield f"  exists   {100 * there.existence:.1f} %"
    if there.candidates:
        yield f"  may be   {', '.join(map(query.shown, there.candidates))}: they look alike and were hidden together"


def _looks(bank: BankView, entity: str) -> str:
    """Returns the category and the labels of the newest sighting of a thing, "" without one."""
    newest = ""
    wanted = EventFilter(kinds=("entity_seen",), entities=(entity,))
    for event in bank.changes_since(0, wanted=wanted, limit=MOST_SIGHTINGS):
        if isinstance(event.payload, EntitySeen) and bank.withdrawn_by(event.seq) is None:
            newest = " ".join((*event.payload.labels, event.payload.category))
    return newest


def _candidate(one: SkillCandidate) -> str:
    """Returns cost, success rate and distance of a robot, and the estimate where its last runs give another one."""
    success, lately = f"{100 * one.success:.0f} %", f"{100 * one.estimate:.0f} %"
    differs = f", lately {lately}" if lately != success else ""
    return f"{one.cost_s:.1f} s, success {success}, {one.distance_m:.2f} m away{differs}"


def _skill_candidates(bank: BankView, query: CompletedQuery) -> Iterator[str]:
    if query.skill not in (known := _skills(bank)):
        raise unknown("skill", query.skill, known)
    near_m = validation.point_m("near_m", query.near_m)
    if query.near:
        there = bank.where_is(query.near, as_of_s=query.as_of_s)
        if there is None or there.pose is None:
            yield _not_seen(query.near, query)
            return
        near_m = there.pose.position_m
    found = bank.skill_candidates(query.skill, near_m, as_of_s=query.as_of_s, context=query.name)
    rows = [(one.robot, _candidate(one)) for one in found]
    yield from _table("Robots, cheapest first", rows) if rows else [f"No robot can {query.skill} there now."]


def _places(bank: BankView, query: CompletedQuery) -> Iterator[str]:
    """Yields a place and, indented below it, its content; the former extent of a removed place is not shown."""
    places = bank.places(as_of_s=query.as_of_s)
    inside: dict[str, list[Place]] = {}
    for place in places:
        inside.setdefault(place.parent, []).append(place)
    asked = inside.get("", []) if query.places == ALL else [one for one in places if one.name == query.places]
    todo = [(place, 0) for place in reversed(asked)]
    rows = []
    while todo:
        place, depth = todo.pop()
        rows.append((f"{'  ' * depth}{query.shown(place.name)}", f"{place.level}{_extent(place)}"))
        todo += [(below, depth + 1) for below in inside.get(place.name, ())][::-1]
    yield from _table(f"Places{_left_out(len(rows), query)}", rows[-query.limit :]) if rows else ["None yet."]


def _extent(place: Place) -> str:
    if not place.polygon:
        return ""
    x, y = zip(*place.polygon, strict=True)
    ranges = ((min(x), max(x)), (min(y), max(y)), (place.bottom_m, place.top_m))
    return ", " + ", ".join(
        f"{axis} {low:.2f} to {high:.2f} m" for axis, (low, high) in zip("xyz", ranges, strict=True)
    )


def _similar(bank: BankView, query: CompletedQuery) -> Iterator[str]:
    asked = embed(query.similar)
    if asked is None:
        raise ConfigError("An instruction must have words.", value=query.similar, remedy="Write similar='open it'.")
    instructions = {
        event.payload.episode: event.payload.instruction
        for event in bank.history(kinds=("episode_begun",)) if isinstance(event.payload, EpisodeBegun)
    }  # fmt: skip
    found = bank.similar_episodes(asked, MODEL_ID, top_k=query.limit)
    rows = [(name, f"{similarity:.3f}  {instructions.get(name, '')}") for name, similarity in found]
    yield from (
        _table(f"By words in common ({MODEL_ID})", rows) if rows else [f"No instruction was embedded with {MODEL_ID}."]
    )


def _changes(bank: BankView, query: CompletedQuery, since: int) -> Iterator[str]:
    wanted = EventFilter(kinds=tuple(query.kinds), robot=query.robot, task=query.episode)
    found = bank.changes_since(since, wanted=wanted, limit=query.limit)
    yield from _lines(bank, found, query)
    if not found:
        what = "Nothing" if wanted == EventFilter() else "Nothing that fits"
        yield f"{what} has changed since event {since}; the newest event is {bank.head}."


def _left_out(count: int, query: QuerySettings) -> str:
    return f", the last {query.limit} of {count}" if count > query.limit else ""


def _moments(bank: BankView, query: CompletedQuery) -> Iterator[str]:
    wanted = Query(
        time_s=_interval(query), region=query.place or None, robot=query.robot or None,
        episode=query.episode or None, entities=(query.name,) if query.name else (), top_k=query.limit,
        order=Order.NEWEST,
    )  # fmt: skip
    found = bank.recall(wanted)
    for one in found:
        moment = one.moment
        x, y, z = moment.position_m
        things = ", ".join(map(query.shown, moment.entities))
        at = f"({x:.2f}, {y:.2f}, {z:.2f}) m"
        when = f"{moment.time_s - query.start_s:>10.2f} s"
        yield f"{when}  {one.seq:>8}  {moment.robot}  {at}  {moment.model_id}  {things}".rstrip()
    if not found:
        yield "No moments fit. Other questions: where=, contents=, places=, skill=, similar=, why=, nth=, since=."


def _interval(query: CompletedQuery) -> tuple[float, float]:
    from_s = -math.inf if query.from_s is None else query.from_s
    to_s = math.inf if query.to_s is None else query.to_s
    return validation.interval((from_s, to_s))


def _interval_in_episode(query: CompletedQuery) -> tuple[float, float]:
    """Returns the interval of a query, by default that of its episode."""
    if not query.episode:
        return _interval(query)
    from_s = query.start_s if query.from_s is None else query.from_s
    to_s = query.end_s if query.to_s is None else query.to_s
    return validation.interval((from_s, to_s))


def _lines(bank: BankView, events: Sequence[Event], query: CompletedQuery) -> Iterator[str]:
    width = max((len(event.robot) for event in events), default=0)
    for event in events:
        by = bank.withdrawn_by(event.seq)
        text = describe(event, shown=query.shown) + (f" (withdrawn by {by.seq})" if by else "")
        yield f"{event.valid_time_s - query.start_s:>10.2f} s  {event.seq:>8}  {event.robot:<{width}}  {text}"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    width = min(LONGEST_NAME, max(len(name) for name, _ in rows))
    yield ""
    yield title
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"


def _skill_rows(skills: Counter[tuple[str, str, str, bool]]) -> list[tuple[str, str]]:
    rows = []
    for robot, skill, context in dict.fromkeys(key[:3] for key in sorted(skills)):
        good, bad = skills[robot, skill, context, True], skills[robot, skill, context, False]
        name = f"{robot} {skill}{f' {context}' if context else ''}"
        rows.append((name, f"{good} of {good + bad}, Beta({good + 1}, {bad + 1})"))
    return rows


def _skills(bank: BankView) -> set[str]:
    """Returns the skills that robots have registered or tried."""
    found: set[str] = set()
    for event in bank.history(kinds=("robot_registered", "skill_ended")):
        match event.payload:
            case RobotRegistered(skills=skills):
                found.update(skill.name for skill in skills)
            case SkillEnded(skill=skill):
                found.add(skill)
    return found


def _not_seen(name: str, query: CompletedQuery) -> str:
    when = "" if query.as_of_s is None else f" by {query.as_of_s - query.start_s:g} s"
    return f"No location of {query.shown(name)} has been recorded{when}."
