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

    A view with a sequence number sees only events up to it, and always gives the same answers, except for those that
    rested on events that retention has removed since: see `removed`.
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

    @property
    def removed(self) -> int:
        """How many of the events up to `head` the log no longer has.

        Retention keeps what current answers rest on. Where this has grown since a view was made, its answers, and those
        about earlier times, may lack what was removed: a pose is then None or an earlier one, a history shorter.
        """
        (count,) = self._log.tables.select_one(
            "SELECT COALESCE(SUM(MIN(last_seq, ?) - first_seq + 1), 0) FROM gap WHERE first_seq <= ?",
            self.head, self.head,
        )  # type: ignore[misc]  # fmt: skip
        return int(count)

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
