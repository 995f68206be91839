"""Formats the content of a memory bank and its answers as lines of text."""

from collections.abc import Iterator, Sequence

import msgspec

from embodied.memory import (
    BankView,
    EntitySeen,
    Event,
    EventFilter,
    LocationBelief,
    Place,
    SkillCandidate,
    describe,
    indexed_names,
)
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID
from launch.memory_names import ALL, completed
from launch.memory_query import CompletedQuery, QuerySettings
from launch.memory_selection import (
    causes,
    changed_events,
    interval,
    moments_query,
    nth_interaction,
    similar_episodes,
    skill_point,
    timeline_events,
)
from launch.memory_summary import BankSummary, all_events, summarised
from launch.memory_things import things

MOST_SIGHTINGS = 100_000
LONGEST_NAME = 90


def summary(bank: BankView, query: QuerySettings) -> Iterator[str]:
    """Yields the numbers of events of the bank, its episodes and their outcomes, skills, places and robots."""
    found = summarised(bank)
    if not found.kinds:
        yield "The bank is empty."
        return
    total = f"{found.kinds.total()} events up to number {bank.head}"
    yield f"{total}, from {found.first_s:.2f} s to {found.last_s:.2f} s"
    yield from _table("Kinds", [(kind, str(count)) for kind, count in found.kinds.most_common()])
    yield from _table("Robots", [(robot, f"{count} events") for robot, count in sorted(found.robots.items())])
    places = bank.places()
    few = [(place.name, f"{place.level} of {place.parent}" if place.parent else place.level) for place in places]
    yield from _table(f"Places{_left_out(len(places), query)}", few[-query.limit :])
    yield from _table("Skills", _skill_rows(found))
    episodes = [(name, f"{end}{f': {reason}' if reason else ''}") for name, (end, reason) in found.episodes.items()]
    yield from _table(f"Episodes ({len(episodes)}{_left_out(len(episodes), query)})", episodes[-query.limit :])


def timeline(bank: BankView, query: QuerySettings) -> Iterator[str]:
    """Yields the events as text, by valid time: of an entity, robot or place, in an episode, or on the whole site."""
    query = completed(bank, query)
    events = timeline_events(bank, query)
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
        yield from _lines(bank, causes(bank, query), query, otherwise="There is no such event.")
    elif query.nth is not None:
        event = nth_interaction(bank, query)
        yield from _lines(bank, [event] if event else [], query, otherwise="There is no such interaction.")
    elif query.since is not None:
        yield from _changes(bank, query)
    else:
        yield from _moments(bank, query)


def json_lines(bank: BankView, query: QuerySettings) -> Iterator[str]:
    """Yields events as JSON, one per line, as `decode_event` reads them; bytes are in base64."""
    query = completed(bank, query)
    from_s, to_s = interval(query)
    wanted = EventFilter(kinds=tuple(query.kinds), robot=query.robot, task=query.episode)
    for event in all_events(bank, wanted=wanted):
        if from_s <= event.valid_time_s <= to_s and (not query.name or query.name in indexed_names(event)):
            yield msgspec.json.encode(event).decode()


def _where(bank: BankView, there: LocationBelief, query: CompletedQuery) -> Iterator[str]:
    yield there.entity
    if looks := _looks(bank, there.entity):
        yield f"  looks    {looks}"
    if there.pose is not None:
        x, y, z = there.pose.position_m
        yield f"  at       ({x:.3f}, {y:.3f}, {z:.3f}) m"
    if there.map_pose is not None:
        x, y, z = there.map_pose.position_m
        yield f"  at       ({x:.3f}, {y:.3f}, {z:.3f}) m in map {there.map_id}, which is not placed in the site"
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
    near_m = skill_point(bank, query)
    if near_m is None:
        yield _not_seen(query.near, query)
        return
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
    found = similar_episodes(bank, query)
    rows = [(name, f"{similarity:.3f}  {instruction}") for name, similarity, instruction in found]
    yield from (
        _table(f"By words in common ({MODEL_ID})", rows) if rows else [f"No instruction was embedded with {MODEL_ID}."]
    )


def _changes(bank: BankView, query: CompletedQuery) -> Iterator[str]:
    found, wanted = changed_events(bank, query)
    what = "Nothing" if wanted == EventFilter() else "Nothing that fits"
    nothing = f"{what} has changed since event {query.since}; the newest event is {bank.head}."
    yield from _lines(bank, found, query, otherwise=nothing)


def _left_out(count: int, query: QuerySettings) -> str:
    return f", the last {query.limit} of {count}" if count > query.limit else ""


def _moments(bank: BankView, query: CompletedQuery) -> Iterator[str]:
    found = bank.recall(moments_query(query))
    for one in found:
        moment = one.moment
        x, y, z = one.map_position_m or moment.position_m
        things = ", ".join(map(query.shown, moment.entities))
        at = f"({x:.2f}, {y:.2f}, {z:.2f}) m{f' in map {one.map_id}' if one.map_id else ''}"
        when = f"{moment.time_s - query.start_s:>10.2f} s"
        yield f"{when}  {one.seq:>8}  {moment.robot}  {at}  {moment.model_id}  {things}".rstrip()
    if not found:
        yield "No moments fit. Other questions: where=, contents=, places=, skill=, similar=, why=, nth=, since=."


def _lines(bank: BankView, events: Sequence[Event], query: CompletedQuery, *, otherwise: str = "") -> Iterator[str]:
    """Yields a line for each event; `otherwise` where there is none."""
    width = max((len(event.robot) for event in events), default=0)
    for event in events:
        by = bank.withdrawn_by(event.seq)
        text = describe(event, shown=query.shown) + (f" (withdrawn by {by.seq})" if by else "")
        yield f"{event.valid_time_s - query.start_s:>10.2f} s  {event.seq:>8}  {event.robot:<{width}}  {text}"
    if otherwise and not events:
        yield otherwise


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    width = min(LONGEST_NAME, max(len(name) for name, _ in rows))
    yield ""
    yield title
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"


def _skill_rows(found: BankSummary) -> list[tuple[str, str]]:
    return [
        (
            f"{robot} {skill}{f' {context}' if context else ''}",
            f"{good} of {good + bad}, Beta({good + 1}, {bad + 1})",
        )
        for robot, skill, context, good, bad in found.skill_rows
    ]


def _not_seen(name: str, query: CompletedQuery) -> str:
    when = "" if query.as_of_s is None else f" by {query.as_of_s - query.start_s:g} s"
    return f"No location of {query.shown(name)} has been recorded{when}."
