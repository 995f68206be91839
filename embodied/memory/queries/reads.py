"""The questions of a `BankView`, put to the owner of a bank."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embodied.geometry import Vector3
from embodied.memory.projections.inverted_index import EVERYBODY
from embodied.memory.schema.event import Event
from embodied.memory.schema.places import Place
from embodied.memory.schema.query import EventFilter, LocationBelief, Query, Recalled, SkillCandidate
from embodied.memory.service.service import Question


class Reads:
    """Asks what `BankView` answers, except `evidence` and `head`; methods have the names they have there."""

    def __init__(self, ask: Callable[[Question], Any]) -> None:
        self._put = ask

    def recall(self, query: Query) -> list[Recalled]:
        """Returns the moments that pass all filters of the query, at most `top_k`, in its order."""
        return self._put(Question("recall", (query,)))

    def where_is(self, entity: str, *, as_of_s: float | None = None) -> LocationBelief | None:
        """Returns where an entity or robot is believed to be, None for one that nobody has spoken of by then."""
        return self._put(Question("where_is", (entity,), {"as_of_s": as_of_s}))

    def contents(self, holder: str, *, as_of_s: float | None = None) -> list[str]:
        """Returns the names of what is directly in, on, part of or held by a place, entity or robot, sorted."""
        return self._put(Question("contents", (holder,), {"as_of_s": as_of_s}))

    def related(self, name: str, *, as_of_s: float | None = None) -> list[tuple[str, str, str]]:
        """Returns the relations (subject, predicate, object) of an entity or place that are no containment, sorted."""
        return self._put(Question("related", (name,), {"as_of_s": as_of_s}))

    def places(self, *, as_of_s: float | None = None) -> list[Place]:
        """Returns the tree of places, in the order of their first definition."""
        return self._put(Question("places", (), {"as_of_s": as_of_s}))

    def latest_s(self) -> float | None:
        """Returns the newest valid time of all events, seconds on the site clock, None where there are none."""
        return self._put(Question("latest_s"))

    def names(self) -> list[str]:
        """Returns the names of all entities, places and robots that somebody has spoken of, sorted."""
        return self._put(Question("names"))

    def history(
        self, name: str = EVERYBODY, *, from_s: float = -math.inf, to_s: float = math.inf, kinds: Sequence[str] = ()
    ) -> list[Event]:
        """Returns the events about an entity, place or robot by valid time, both ends (seconds) included."""
        return self._put(Question("history", (name,), {"from_s": from_s, "to_s": to_s, "kinds": kinds}))

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after `seq` in the order of the log, at most `limit`, that `wanted` lets through."""
        return self._put(Question("changes_since", (seq,), {"wanted": wanted, "limit": limit}))

    def skill_candidates(
        self, skill: str, near_m: Vector3, *, as_of_s: float | None = None, context: str = ""
    ) -> list[SkillCandidate]:
        """Returns the robots that can do a skill at a point (site frame, metres) now, cheapest first."""
        return self._put(Question("skill_candidates", (skill, near_m), {"as_of_s": as_of_s, "context": context}))

    def why(self, seq: int) -> list[Event]:
        """Returns the events that led to event `seq`, causes of causes included, oldest first, itself last."""
        return self._put(Question("why", (seq,)))

    def event(self, seq: int) -> Event | None:
        """Returns one event, None where there is none."""
        return self._put(Question("event", (seq,)))

    def nth_interaction(
        self,
        number: int,
        *,
        entity: str = "",
        robot: str = "",
        action: str = "",
        between_s: tuple[float, float] = (-math.inf, math.inf),
    ) -> Event | None:
        """Returns the n-th interaction that fits, by valid time: 1 the first, -1 the last; None where there is none."""
        options = {"entity": entity, "robot": robot, "action": action, "between_s": between_s}
        return self._put(Question("nth_interaction", (number,), options))

    def similar_episodes(self, embedding: np.ndarray, model_id: str, *, top_k: int = 5) -> list[tuple[str, float]]:
        """Returns the episodes whose tasks are most alike, and their cosines, best first."""
        return self._put(Question("similar_episodes", (embedding, model_id), {"top_k": top_k}))
