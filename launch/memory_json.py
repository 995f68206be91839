"""The content of a memory bank and its answers as documents that become JSON.

Names are whole, and times are those of the site clock, also with `episode=`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from embodied.memory import BankView, Event
from launch.memory_names import ALL, completed
from launch.memory_query import CompletedQuery, QuerySettings
from launch.memory_selection import (
    causes,
    changed_events,
    moments_query,
    nth_interaction,
    similar_episodes,
    skill_point,
    timeline_events,
)
from launch.memory_summary import summary_document
from launch.memory_things import matching

Document = Mapping[str, Any]


def summary(bank: BankView, query: QuerySettings) -> Document:
    """Returns the counts of a bank, as `memory_text.summary`."""
    return summary_document(bank, query.limit)


def timeline(bank: BankView, query: QuerySettings) -> Document:
    """Returns the first `limit` events of a timeline, as `memory_text.timeline`."""
    events = timeline_events(bank, completed(bank, query))
    return {"head": bank.head, **_events(bank, events[: query.limit]), "left_out": max(0, len(events) - query.limit)}


def answer(bank: BankView, query: QuerySettings) -> Document:
    """Returns the answer to one query, as `memory_text.answer`, with the newest event `head` that it counts."""
    return {"head": bank.head, **_answer(bank, completed(bank, query))}


def _answer(bank: BankView, query: CompletedQuery) -> Document:  # noqa: PLR0911 - one question each
    if query.things:
        return _things(bank, query)
    if query.where:
        return {"location": bank.where_is(query.where, as_of_s=query.as_of_s)}
    if query.contents:
        return {"contents": bank.contents(query.contents, as_of_s=query.as_of_s)}
    if query.places:
        places = _places(bank, query)
        return {"places": places[-query.limit :], "left_out": max(0, len(places) - query.limit)}
    if query.skill:
        near_m = skill_point(bank, query)
        given = {"as_of_s": query.as_of_s, "context": query.name}
        return {"robots": [] if near_m is None else bank.skill_candidates(query.skill, near_m, **given)}
    if query.similar:
        keys = ("episode", "similarity", "instruction")
        return {"episodes": [dict(zip(keys, row, strict=True)) for row in similar_episodes(bank, query)]}
    if query.why is not None:
        return _events(bank, causes(bank, query))
    if query.nth is not None:
        return _events(bank, filter(None, [nth_interaction(bank, query)]))
    if query.since is not None:
        return _events(bank, changed_events(bank, query)[0])
    found = [bank.event(one.seq) for one in bank.recall(moments_query(query))]
    return {"moments": _events(bank, filter(None, found))["events"]}


def event_document(event: Event) -> dict[str, Any]:
    """Returns an event as plain values, with the fields that `decode_event` reads; bytes are in base64."""
    return msgspec.json.decode(msgspec.json.encode(event))


def _events(bank: BankView, events: Iterable[Event]) -> Document:
    found = []
    for event in events:
        by = bank.withdrawn_by(event.seq)
        found.append(event_document(event) | {"withdrawn_by": by.seq if by else None})
    return {"events": found}


def _things(bank: BankView, query: CompletedQuery) -> Document:
    seen, found = matching(bank, query)
    rows = [
        {
            "name": name,
            "looks": seen[name][0],
            "last_seen_s": seen[name][1],
            "location": bank.where_is(name, as_of_s=query.as_of_s),
        }
        for name in found[: query.limit]
    ]
    return {"things": rows, "left_out": max(0, len(found) - query.limit)}


def _places(bank: BankView, query: CompletedQuery) -> list[Any]:
    """Returns all places, or one and those below it."""
    places = bank.places(as_of_s=query.as_of_s)
    if query.places == ALL:
        return places
    wanted = {query.places}
    while more := {one.name for one in places if one.parent in wanted} - wanted:
        wanted |= more
    return [one for one in places if one.name in wanted]
