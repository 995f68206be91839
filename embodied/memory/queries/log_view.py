"""The data that queries read: the log up to one sequence number, and the index of moments."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from heapq import merge
from itertools import groupby
from typing import Any

from embodied.errors import MemoryBankError
from embodied.memory.projections import blocks
from embodied.memory.projections.inverted_index import RARE, events_about, indexed_names, rare_events
from embodied.memory.projections.withdrawals import KIND, with_withdrawn, withdrawals_about, withdrawn_after
from embodied.memory.queries import containment_history, validation
from embodied.memory.queries.containment_history import Instant, having
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.queries.moment_search import MomentIndex
from embodied.memory.schema.event import Event, LogPosition
from embodied.memory.schema.kind_table import KINDS
from embodied.memory.schema.kinds import PlaceDefined, Polygon, Withdrawn
from embodied.memory.schema.query import EventFilter
from embodied.memory.storage.log import EventLog

READ_THROUGH = 1000


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
        live = self.seq is None
        late = self.seq is not None and self.seq < self.log.head and withdrawn_after(self.log.tables, self.seq)
        return Instant(self.head, validation.instant_s(as_of_s), late, live)

    def wanted_events(self, seq: int, wanted: EventFilter, entities: Set[str]) -> Iterator[Event]:
        """Yields the events after `seq` that match the filter `wanted`, in the order of the log.

        `entities` are the names to be matched, those of the filter and all that are the same. A stretch of the log is
        read through first; the events after it are looked up.
        """
        condition = self._condition(wanted)
        head = self.head
        to = min(head, seq + READ_THROUGH)
        for event in self.log.events(seq, to=to, **condition):
            if not entities or not entities.isdisjoint(self._names_about(event)):
                yield event
        if to < head:
            yield from self._looked_up(to, head, wanted, entities)

    def _looked_up(self, after: int, head: int, wanted: EventFilter, entities: Set[str]) -> Iterator[Event]:
        condition = self._condition(wanted)
        tables, log = self.log.tables, self.log
        find = tables.names.find
        kinds = [number for kind in wanted.kinds or KINDS if (number := find(kind)) is not None]
        robot, task = find(wanted.robot), find(wanted.task)
        whole = min(head, blocks.BLOCK * blocks.block_of(log.head))
        if entities:
            subjects = [number for name in entities if (number := find(name)) is not None]
            about = events_about(tables, subjects, kinds, after, head)
            numbers = merge(about, withdrawals_about(tables, subjects, after, head))
            yield from log.events_of((seq for seq, _ in groupby(numbers)), **condition)
        elif robot:
            yield from log.events_of(blocks.events_of_robot(tables, robot, kinds, after, whole), **condition)
            yield from log.events(max(after, whole), to=head, **condition)
        elif wanted.kinds and RARE.issuperset(wanted.kinds):
            yield from log.events_of(rare_events(tables, wanted.kinds, after, head), **condition)
        elif None not in (robot, task):
            field, names = (blocks.TASK, [task]) if task else (blocks.KIND, kinds)
            for first, last in blocks.blocks_with(tables, field, names, after, whole):
                yield from log.events(first, to=last, **condition)
            yield from log.events(max(after, whole), to=head, **condition)

    def _names_about(self, event: Event) -> set[str]:
        """Returns the names that an event is about; a withdrawal is also about those of the events that it names."""
        gone = map(self.log.event, event.payload.seqs) if isinstance(event.payload, Withdrawn) else ()
        return {name for one in (event, *gone) if one is not None for name in indexed_names(one)}

    def event_numbers(
        self, name: str, between_s: tuple[float, float], kinds: Sequence[str], *, limit: int | None = None
    ) -> list[int]:
        """Returns the sequence numbers of the events of `kinds` about `name`, in the order of valid time.

        Valid times are `between_s`, seconds, both ends included. With a `limit` they are the first so many, or with a
        negative one the last.
        """
        tables, head = self.log.tables, self.head
        most = -1 if limit is None else abs(limit)
        direction = "DESC" if limit is not None and limit < 0 else "ASC"
        with tables.lock:
            found: set[tuple[float, int]] = set()
            known = [number for kind in kinds or KINDS if (number := tables.names.find(kind)) is not None]
            members = self._members(name)
            if not kinds or KIND in kinds:
                about = filter(None, map(self.log.event, withdrawals_about(tables, members, 0, head)))
                found.update(one.position for one in about if between_s[0] <= one.valid_time_s <= between_s[1])
            for member in members:
                for kind in with_withdrawn(tables, known):
                    found.update(
                        tables.select(
                            "SELECT valid_time_s, seq FROM mention WHERE subject = ? AND kind = ? "  # noqa: S608
                            "AND valid_time_s BETWEEN ? AND ? AND seq <= ? "
                            f"ORDER BY valid_time_s {direction}, seq {direction} LIMIT ?",
                            member, kind, *between_s, head, most,
                        )  # type: ignore[arg-type]
                    )  # fmt: skip
        numbers = [seq for _, seq in sorted(found)]
        if limit is None:
            return numbers
        return numbers[:limit] if limit > 0 else numbers[limit:]

    def names_of(self, entities: Sequence[str]) -> Iterator[str]:
        """Yields each name and, after it, those of all entities that are the same."""
        text = self.log.tables.names.text
        for name in entities:
            yield name
            yield from map(text, self._members(name))

    def polygon(self, place: str) -> Polygon:
        """Returns the last extent of a place in the site frame, also where it has none any more.

        Raises `MemoryBankError` for a place that never had one, or has it in a map that is not placed level.
        """
        tables, at = self.log.tables, self.at(None)
        last: LogPosition = (math.inf, 0)
        while found := tables.select_one(
            f"SELECT valid_time_s, seq FROM place_time WHERE {having('place', at, 'place_time.seq')} "  # noqa: S608
            "AND seq <= ? AND (valid_time_s, seq) < (?, ?) ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
            tables.names.find(place), at.seq, *last,
        ):  # fmt: skip
            last = found  # type: ignore[assignment]
            event = self.log.event(found[1])
            if event and isinstance(event.payload, PlaceDefined) and event.payload.polygon:
                extent = self.maps().place(event, event.payload)
                if extent.map_id:
                    raise MemoryBankError(
                        "A region must be a place whose map is placed level in the site.",
                        value=(place, extent.map_id),
                        remedy="Place the map with a `MapPlaced` event first.",
                    )
                return extent.polygon
        raise MemoryBankError("A region must be a place with an extent.", value=place, remedy="Define it first.")

    def maps(self) -> MapFrames:
        """Returns the frames of maps as this view knows them now."""
        return MapFrames(self.log, self.at(None))

    def _condition(self, wanted: EventFilter) -> dict[str, Any]:
        """Returns a filter as the arguments `where` and `values` of `EventLog.events`; entities are not considered."""
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
        return {"where": " AND ".join(where), "values": values}

    def _members(self, name: str) -> list[int]:
        """Returns the ids of all entities that are one with this one, none for an unknown name."""
        at = self.at(None)
        subject = self.log.tables.names.find(name)
        if subject is None:
            return []
        root = containment_history.root_at(self.log, subject, at)
        return [one.entity for one in containment_history.members_at(self.log, root, at)]
