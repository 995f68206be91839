"""What one can ask the bank: at its newest state, or as of one sequence number."""

from collections.abc import Mapping, Sequence

import numpy as np

from embodied.geometry import Vector3
from embodied.memory.stem.event import Event
from embodied.memory.stem.log import EventLog
from embodied.memory.stem.query import Able, EventFilter, Query, Recalled, Whereabouts


class View:
    """Questions to the bank. `as_of_s` asks what was so at a valid time, seconds on the site clock; None: the latest.

    A view with a sequence number sees only events up to it, and answers the same for ever.
    """

    def __init__(self, log: EventLog, seq: int | None, half_life_s: Mapping[str, float]) -> None:
        self._log = log
        self._seq = seq
        self._half_life_s = dict(half_life_s)

    @property
    def head(self) -> int:
        """The newest sequence number that this view sees, 0 where there is none."""
        return self._log.head if self._seq is None else self._seq

    def recall(self, query: Query) -> list[Recalled]:
        """Returns the moments that pass all filters of the query, at most `top_k`, in its order."""
        raise NotImplementedError

    def where_is(self, entity: str, *, as_of_s: float | None = None) -> Whereabouts | None:
        """Returns where an entity (or robot) is believed to be, None for one never heard of by then."""
        names = self._log.names
        subject, kind = names.find(entity), names.find("entity_seen")
        found = self._log.db.execute(
            "SELECT seq FROM mention WHERE subject = ? AND kind = ? AND valid_time_s <= ? AND seq <= ? "
            "ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
            (subject, kind, float("inf") if as_of_s is None else as_of_s, self.head),
        ).fetchone()
        event = None if found is None else self._log.event(found[0])
        if event is None:
            return None
        return Whereabouts(entity, event.payload.pose, "", "", "", 1.0, event.valid_time_s, event.seq, 0)

    def contents(self, holder: str, *, as_of_s: float | None = None) -> list[str]:
        """Returns the names of what is directly in, on, part of or held by a place, entity or robot, sorted."""
        raise NotImplementedError

    def history(
        self, name: str, *, from_s: float = -np.inf, to_s: float = np.inf, kinds: Sequence[str] = ()
    ) -> list[Event]:
        """Returns the events about an entity, place or robot, by valid time, both ends included."""
        raise NotImplementedError

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after `seq` in the order of the log, at most `limit`, that `wanted` lets through."""
        raise NotImplementedError

    def able(self, skill: str, near_m: Vector3, *, at_s: float | None = None, context: str = "") -> list[Able]:
        """Returns the robots that can do a skill at a point (site frame, metres) now, cheapest first."""
        raise NotImplementedError

    def why(self, seq: int) -> list[Event]:
        """Returns the events that led to event `seq`, causes of causes included, oldest first, itself last."""
        raise NotImplementedError

    def nth_interaction(
        self, number: int, *, entity: str = "", robot: str = "", action: str = "", episode: str = ""
    ) -> Event | None:
        """Returns the n-th interaction by valid time that fits (1 the first, -1 the last), None where there is none."""
        raise NotImplementedError

    def similar_episodes(self, embedding: np.ndarray, model_id: str, *, top_k: int = 5) -> list[tuple[str, float]]:
        """Returns the episodes whose tasks are most alike, and their cosines, best first."""
        raise NotImplementedError
