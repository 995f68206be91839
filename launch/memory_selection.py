"""Selects what a query of `launch.memory` is about, for answers as text and as JSON."""

import math

from embodied.errors import ConfigError
from embodied.evaluation.memory_pages import HIDDEN
from embodied.geometry import Vector3
from embodied.memory import (
    BankView,
    EpisodeBegun,
    Event,
    EventFilter,
    Order,
    Query,
    RobotRegistered,
    SkillEnded,
    validation,
)
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID, embed
from launch.memory_names import unknown
from launch.memory_query import CompletedQuery
from launch.memory_summary import all_events

QUESTIONS = (
    "Give one of things, where, contents, places, skill, similar, why, nth and since, or what moments are about: name, "
    "robot, place, episode, from_s, to_s. `python -m launch.memory --help` shows examples."
)


def timeline_events(bank: BankView, query: CompletedQuery) -> list[Event]:
    """Returns the events of a timeline, by valid time."""
    from_s, to_s = interval(query)
    if query.name or not query.episode:
        return [
            event for event in bank.history(query.name, from_s=from_s, to_s=to_s, kinds=tuple(query.kinds))
            if query.robot in ("", event.robot) and query.episode in ("", event.task)
        ]  # fmt: skip
    wanted = EventFilter(kinds=tuple(query.kinds), robot=query.robot, task=query.episode)
    events = [
        event for event in all_events(bank, wanted=wanted)
        if (query.kinds or event.kind not in HIDDEN) and from_s <= event.valid_time_s <= to_s
    ]  # fmt: skip
    return sorted(events, key=lambda event: (event.valid_time_s, event.seq))


def changed_events(bank: BankView, query: CompletedQuery) -> tuple[list[Event], EventFilter]:
    """Returns the events after the number `query.since`, and which were wanted."""
    wanted = EventFilter(kinds=tuple(query.kinds), robot=query.robot, task=query.episode)
    since = validation.whole("since", query.since, least=0)
    return bank.changes_since(since, wanted=wanted, limit=query.limit), wanted


def nth_interaction(bank: BankView, query: CompletedQuery) -> Event | None:
    """Returns the interaction of the number `query.nth`, None where there are fewer."""
    return bank.nth_interaction(
        validation.ordinal("nth", query.nth), entity=query.name, robot=query.robot, action=query.action,
        between_s=_interval_in_episode(query),
    )  # fmt: skip


def causes(bank: BankView, query: CompletedQuery) -> list[Event]:
    """Returns what led to the event `query.why`, nothing where there is no such event."""
    number = validation.whole("why", query.why, least=1)
    return bank.why(number) if bank.event(number) else []


def skill_point(bank: BankView, query: CompletedQuery) -> Vector3 | None:
    """Returns where `query.skill` is needed, None where the location of `query.near` is unknown.

    Raises `UnknownNameError` for a skill that no robot has registered or tried.
    """
    if query.skill not in (known := _skills(bank)):
        raise unknown("skill", query.skill, known)
    if not query.near:
        return validation.point_m("near_m", query.near_m)
    there = bank.where_is(query.near, as_of_s=query.as_of_s)
    return None if there is None or there.pose is None else there.pose.position_m


def similar_episodes(bank: BankView, query: CompletedQuery) -> list[tuple[str, float, str]]:
    """Returns episodes with an instruction like `query.similar`: name, similarity and instruction, the best first."""
    asked = embed(query.similar)
    if asked is None:
        raise ConfigError("An instruction must have words.", value=query.similar, remedy="Write similar='open it'.")
    instructions = {
        event.payload.episode: event.payload.instruction
        for event in bank.history(kinds=("episode_begun",)) if isinstance(event.payload, EpisodeBegun)
    }  # fmt: skip
    found = bank.similar_episodes(asked, MODEL_ID, top_k=query.limit)
    return [(name, similarity, instructions.get(name, "")) for name, similarity in found]


def moments_query(query: CompletedQuery) -> Query:
    """Returns the query for moments about a name, a place, a robot, an episode or a time. Raises `ConfigError`."""
    about = (query.name, query.episode, query.robot, query.place)
    if not any(about) and query.from_s is None and query.to_s is None:
        raise ConfigError("A query must ask for something.", remedy=QUESTIONS)
    return Query(
        time_s=interval(query), region=query.place or None, robot=query.robot or None,
        episode=query.episode or None, entities=(query.name,) if query.name else (), top_k=query.limit,
        order=Order.NEWEST,
    )  # fmt: skip


def interval(query: CompletedQuery) -> tuple[float, float]:
    """Returns the time range of a query, seconds; infinite where it is open."""
    from_s = -math.inf if query.from_s is None else query.from_s
    to_s = math.inf if query.to_s is None else query.to_s
    return validation.interval((from_s, to_s))


def _interval_in_episode(query: CompletedQuery) -> tuple[float, float]:
    """Returns the interval of a query, by default that of its episode."""
    if not query.episode:
        return interval(query)
    from_s = query.start_s if query.from_s is None else query.from_s
    to_s = query.end_s if query.to_s is None else query.to_s
    return validation.interval((from_s, to_s))


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
