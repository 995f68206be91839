"""Validity intervals of what a thing was in, on, part of or held by, from the newest back."""

from dataclasses import dataclass, replace

from embodied.memory.queries.containment_history import NEVER, Instant, parents_at
from embodied.memory.queries.entity_resolution import EntityResolution
from embodied.memory.schema.event import LogPosition
from embodied.memory.storage.log import EventLog

FURTHEST = 20  # So many changes of parent in a row that say nothing of the pose make it unknown.
PAGE = 8


@dataclass(frozen=True)
class ParentInterval:
    """A time in which a thing had one parent, `holder` 0 for none: first logged at `position`, last at `again`."""

    predicate: int
    holder: int
    position: LogPosition
    again: LogPosition


class ValidityIntervals:
    """The parents of an entity up to an instant, the newest first; read only as far back as needed.

    The same parent logged again, or under another of its names, is one interval. A parent that was taken over from an
    entity that turned out to be this one has held it since that was logged, and what was before is what held the other.
    Of a span that began before `enough` the beginning may be named too late, but not as late as that.
    """

    def __init__(
        self, log: EventLog, entity: int, at: Instant, *, known: EntityResolution, enough: LogPosition
    ) -> None:
        self._log, self._entity, self._at, self._known, self._enough = log, entity, at, known, enough
        self._root = known.root(entity)
        known.members(self._root)
        self._intervals: list[ParentInterval] = []
        self._below: int | None = None
        self._page = PAGE
        self._whole = False
        self.newest = NEVER
        self._read()

    def __getitem__(self, index: int) -> ParentInterval | None:
        """Returns a span, None before the first change and beyond what is looked at."""
        while not self._whole and (len(self._intervals) <= index or self._open(index)):
            self._read()
        return self._intervals[index] if index < min(len(self._intervals), FURTHEST) else None

    def _open(self, index: int) -> bool:
        """Returns whether a span may have begun earlier than known so far, and that matters."""
        return index == len(self._intervals) - 1 and self._intervals[index].position > self._enough

    def _read(self) -> None:
        found = parents_at(self._log, self._entity, self._at, most=self._page, below=self._below)
        self._whole = len(found) < self._page
        self._page *= 2
        for parent in found:
            position = (parent.since_s, parent.seq)
            self._below, self.newest = parent.version, max(self.newest, position)
            holder, merge = self._known.root(parent.object), self._known.merge(parent.seq)
            if merge is not None and merge.into == self._entity:
                self._entity, self._below, self._whole = merge.entity, None, False
                return
            if (merge is not None and merge.entity == self._entity) or holder == self._root:
                continue  # It lives on; and what turned out to be its holder never held it.
            last = self._intervals[-1] if self._intervals else None
            if last is not None and (last.predicate, last.holder) == (parent.predicate, holder):
                self._intervals[-1] = replace(last, position=position)
            else:
                self._intervals.append(ParentInterval(parent.predicate, holder, position, position))
