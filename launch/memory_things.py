"""Lists the things that a bank knows: what they look like, where they are, and when they were last seen."""

from collections import Counter
from collections.abc import Collection, Iterator

from embodied.memory import BankView, EntitySeen, EventFilter
from launch.memory_names import ALL, unknown
from launch.memory_query import CompletedQuery

PAGE = 2000


def things(bank: BankView, query: CompletedQuery) -> Iterator[str]:
    """Yields a row for each thing whose looks or name have the word `query.things`, or for all.

    They are those of `query.episode`, where it is given, as of `query.as_of_s`; shown times count from its beginning.
    Raises `UnknownNameError` for a word that fits none.
    """
    seen, found = matching(bank, query)
    if not seen:
        yield "Nothing has been seen."
        return
    names = shortest_ends(seen)
    rows = [
        (names[name], seen[name][0], _place(bank, name, query.as_of_s), f"{seen[name][1] - query.start_s:.2f} s")
        for name in found
    ]
    rows = [("name", "looks", "where", "last seen"), *rows[: query.limit]]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if len(found) > query.limit:
        yield f"... {len(found) - query.limit} more; limit={len(found)} shows all"


def matching(bank: BankView, query: CompletedQuery) -> tuple[dict[str, tuple[str, float]], list[str]]:
    """Returns the looks of all things, with the time of their last sighting, and the names of those that are wanted.

    Raises as `things`.
    """
    seen = {name: one for name, one in _sightings(bank, query).items() if name.startswith(query.episode)}
    word = query.things.lower()
    found = [name for name, (looks, _) in seen.items() if word == ALL or word in f"{looks} {name}".lower()]
    if seen and not found:
        raise unknown("word for things", query.things, {word for looks, _ in seen.values() for word in looks.split()})
    return seen, found


def shortest_ends(names: Collection[str]) -> dict[str, str]:
    """Returns for each name its shortest end, after a slash, that no other name has."""
    ends = {name: [name.split("/", at)[-1] for at in range(name.count("/"), -1, -1)] for name in names}
    counts = Counter(end for own in ends.values() for end in own)
    return {name: next((end for end in own if counts[end] == 1), name) for name, own in ends.items()}


def _sightings(bank: BankView, query: CompletedQuery) -> dict[str, tuple[str, float]]:
    """Returns what each thing looked like when it was last seen, and when that was."""
    found: dict[str, tuple[str, float]] = {}
    after, wanted, withdrawn = 0, EventFilter(kinds=("entity_seen",)), bank.withdrawn()
    while page := bank.changes_since(after, wanted=wanted, limit=PAGE):
        after = page[-1].seq
        for event in page:
            if event.seq in withdrawn:
                continue
            if isinstance(event.payload, EntitySeen) and (query.as_of_s is None or event.valid_time_s <= query.as_of_s):
                looks = " ".join((*event.payload.labels, event.payload.category)).strip()
                found[event.payload.entity] = (looks, event.valid_time_s)
    return found


def _place(bank: BankView, name: str, as_of_s: float | None) -> str:
    there = bank.where_is(name, as_of_s=as_of_s)
    if there is None:
        return "unknown"
    parent = f"{there.predicate.replace('_', ' ')} {there.parent.rpartition('/')[2]}" if there.parent else ""
    pose, in_map = there.pose or there.map_pose, f" in map {there.map_id}" if there.map_id else ""
    point = "({:.2f}, {:.2f}, {:.2f}) m{}".format(*pose.position_m, in_map) if pose is not None else ""
    return ", ".join(part for part in (parent, point) if part) or "unknown"
