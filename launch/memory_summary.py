"""Counts what a memory bank holds: events by kind and robot, episodes and their outcomes, and skills."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from embodied.memory import BankView, EpisodeBegun, EpisodeEnded, Event, EventFilter, SkillEnded

PAGE = 2000
RUNNING = "still runs"


@dataclass
class BankSummary:
    """The content of a bank: counts of its events, and what became of its episodes.

    Attributes:
        kinds: how many events of each kind
        robots: how many events of each robot
        skills: how many runs by robot, skill, context and success
        episodes: the outcome of each episode, with its reason
        first_s: the earliest valid time, seconds
        last_s: the latest valid time, seconds
    """

    kinds: Counter[str] = field(default_factory=Counter)
    robots: Counter[str] = field(default_factory=Counter)
    skills: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)
    episodes: dict[str, tuple[str, str]] = field(default_factory=dict)
    first_s: float = math.inf
    last_s: float = -math.inf

    @property
    def skill_rows(self) -> Iterator[tuple[str, str, str, int, int]]:
        """Robot, skill, context, and the numbers of runs that succeeded and that failed."""
        for robot, skill, context in dict.fromkeys(key[:3] for key in sorted(self.skills)):
            key = robot, skill, context
            yield *key, self.skills[*key, True], self.skills[*key, False]

    def count(self, event: Event) -> None:
        """Counts one event."""
        self.kinds[event.kind] += 1
        self.first_s, self.last_s = min(self.first_s, event.valid_time_s), max(self.last_s, event.valid_time_s)
        if event.robot:
            self.robots[event.robot] += 1
        match event.payload:
            case EpisodeBegun(episode=episode):
                self.episodes[episode] = RUNNING, ""
            case EpisodeEnded() as ended:
                self.episodes[ended.episode] = ended.outcome, ended.reason
            case SkillEnded() as ended if not event.claimed:
                self.skills[event.robot, ended.skill, ended.context, ended.success] += 1


def summarised(bank: BankView) -> BankSummary:
    """Returns the counts of all events of a bank."""
    found = BankSummary()
    for event in all_events(bank):
        found.count(event)
    return found


def summary_document(bank: BankView, limit: int) -> dict[str, Any]:
    """Returns the same as plain values, with the last `limit` places and episodes."""
    found, places = summarised(bank), bank.places()
    return {
        "head": bank.head,
        "events": found.kinds.total(),
        "first_s": found.first_s,
        "last_s": found.last_s,
        "kinds": dict(found.kinds.most_common()),
        "robots": dict(sorted(found.robots.items())),
        "places": places[-limit:],
        "skills": [
            dict(zip(("robot", "skill", "context", "succeeded", "failed"), row, strict=True))
            for row in found.skill_rows
        ],
        "episodes": [
            {"episode": name, "outcome": "" if outcome == RUNNING else outcome, "reason": reason}
            for name, (outcome, reason) in list(found.episodes.items())[-limit:]
        ],
        "left_out": {"places": max(0, len(places) - limit), "episodes": max(0, len(found.episodes) - limit)},
    }


def all_events(bank: BankView, *, wanted: EventFilter | None = None) -> Iterator[Event]:
    """Yields all wanted events, in the order of the log."""
    after = 0
    while page := bank.changes_since(after, wanted=wanted, limit=PAGE):
        yield from page
        after = page[-1].seq
