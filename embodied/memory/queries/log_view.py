"""The data that queries read: the log up to one sequence number, and the index of moments."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from embodied.errors import MemoryBankError
from embodied.memory.projections.inverted_index import RARE, rare_events
from embodied.memory.queries import containment_history, validation
from embodied.memory.queries.containment_history import Instant
from embodied.memory.queries.moment_search import MomentIndex
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS
from embodied.memory.schema.kinds import PlaceDefined, Polygon
from embodied.memory.schema.query import EventFilter
from embodied.memory.storage.log import EventLog

READ_THROUGH = 20_000


class LogView:
    """The log up to `seq` (None: the newest event), with look-ups that several queries share.

    `moments` returns the index of moments; `half_life_s` is by category, see `open_bank`.
    """

    def __init__(
        self,
        log: EventLog,
        moments: Callable[[], MomentIndex],
        *,
        seq: int | None = None,
        half_life_s: Mapping[str, float] | None = None,
    ) -> None:
        self.log = log
        self.moments = moments
        self.seq = seq
        self.half_life_s = dict(half_life_s or {})

    @property
    def head(self) -> int:
        """The newest sequence number that this view sees, 0 where there is none."""
        newest = self.log.head  # Read in any case, so that a closed bank raises.
        return newest if self.seq is None else self.seq

    def at(self, as_of_s: float | None) -> Instant:
        """Returns the instant of a query about a valid time (seconds, None: the latest)."""
        return Instant(self.head, validation.instant_s(as_of_s))

    def wanted_events(self, seq: int, wanted: EventFilter) -> Iterator[Event]:
        """Yields the events after `seq` that fit a filter, whose entities are not considered, in the order of the log.

        Rare kinds are looked up in the index once a stretch of the log has been read through.
        """
        where, values = self._condition(wanted)
        head = self.head
        to = min(head, seq + READ_THROUGH) if wanted.kinds and RARE.issuperset(wanted.kinds) else head
        yield from self.log.events(seq, to=to, where=where, values=values)
        if to < head:
            numbers = rare_events(self.log.tables, wanted.kinds, to, head)
            yield from self.log.events_of(numbers, where=where, values=values)

    def event_numbers(self, name: str, from_s: float, to_s: float, kinds: Sequence[str]) -> list[int]:
        """Returns the sequence numbers of the events of `kinds` about `name`, by valid time from `from_s` to `to_s`.

        Times are in seconds; both ends are included.
        """
        tables, at = self.log.tables, Instant(self.head, math.inf)
        with tables.lock:
            members = self._members(name)
            found: set[tuple[float, int]] = set()
            for member in members:
                for kind in kinds or KINDS:
                    found.update(
                        tables.select(
                            "SELECT valid_time_s, seq FROM mention WHERE subject = ? AND kind = ? "
                            "AND valid_time_s BETWEEN ? AND ? AND seq <= ?",
                            member, tables.names.find(kind), from_s, to_s, at.seq,
                        )  # type: ignore[arg-type]
                    )  # fmt: skip
        return [seq for _, seq in sorted(found)]

    def names_of(self, entities: Sequence[str]) -> Iterator[str]:
        """Yields each name and, after it, those of all entities that are the same."""
        text = self.log.tables.names.text
        for name in entities:
            yield name
            yield from map(text, self._members(name))

    def polygon(self, place: str) -> Polygon:
        """Returns the last extent of a place, also where it has none any more.

        Raises `MemoryBankError` for a place that never had one.
        """
        for seq in reversed(self.event_numbers(place, -math.inf, math.inf, ("place_defined",))):
            event = self.log.event(seq)
            payload = event.payload if event else None
            if isinstance(payload, PlaceDefined) and payload.place == place and payload.polygon:
                return payload.polygon
        raise MemoryBankError("A region must be a place with an extent.", value=place, remedy="Define it first.")

    def _condition(self, wanted: EventFilter) -> tuple[str, list[Any]]:
        find = self.log.tables.names.find
        kinds = [find(kind) for kind in wanted.kinds]
        where, values = ["TRUE"], []
        if kinds:
            where.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        for column in ("robot", "task"):
            if text := getattr(wanted, column):
                where.append(f"{column} = ?")
                values.append(find(text))
        return " AND ".join(where), values

    def _members(self, name: str) -> list[int]:
        """Returns the ids of all entities that are one with this one, none for an unknown name."""
        at = Instant(self.head, math.inf)
        subject = self.log.tables.names.find(name)
        if subject is None:
            return []
        root = containment_history.root_at(self.log, subject, at)
        return [one.entity for one in containment_history.members_at(self.log, root, at)]
