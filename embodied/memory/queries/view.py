"""A view of a bank answers queries from the log, at its newest state or as of one sequence number."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from embodied.memory.queries import location_belief, validation
from embodied.memory.queries.log_view import LogView
from embodied.memory.queries.moment_search import MomentIndex
from embodied.memory.queries.reads import Reads
from embodied.memory.storage.log import EventLog


class BankView(Reads):
    """Answers the queries of `Reads` from the log.

    A view with a sequence number sees only events up to it, and always gives the same answers, except for what
    retention has removed since.
    """

    def __init__(
        self,
        log: EventLog,
        moments: Callable[[], MomentIndex],
        *,
        seq: int | None = None,
        half_life_s: Mapping[str, float] | None = None,
    ) -> None:
        self._log = log
        self._view = LogView(log, moments, seq=seq, half_life_s=half_life_s)

    @property
    def head(self) -> int:
        """The newest sequence number that this view sees, 0 where there is none."""
        return self._view.head

    def evidence(self, entity: str) -> frozenset[int]:
        """Returns the sightings and robot states that support `where_is`, as sequence numbers."""
        validation.text("entity", entity)
        with self._log.tables.lock:
            return location_belief.evidence(self._log, entity, self._view.at(None))

    def withdrawn(self) -> dict[int, int]:
        """Returns the numbers of the events that were withdrawn, and of the event that did it."""
        found = self._log.tables.select("SELECT seq, by_seq FROM withdrawn WHERE by_seq <= ?", self.head)
        return dict(found)  # type: ignore[arg-type]

    def _run(self, answer: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        find = self._log.tables.names.find
        for what, value in (*zip(itertools.repeat(answer.__name__), arguments), *options.items()):
            validation.sound_names(what, value, find)
        return answer(self, *arguments, **options)
