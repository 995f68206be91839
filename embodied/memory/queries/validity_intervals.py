"""Validity intervals of the parents of a thing, from the newest back."""

import math
from dataclasses import dataclass, replace

from embodied.memory.queries.containment_history import NEVER, Instant, parents_at
from embodied.memory.queries.entity_resolution import EntityResolution
from embodied.memory.schema.event import LogPosition
from embodied.memory.storage.log import EventLog

FURTHEST = 20  # After this many changes of parent without information on the pose, it is unknown.
PAGE = 8


@dataclass(frozen=True)
class ParentInterval:
    """A time interval with one parent, `holder` 0 for none: first logged at `position`, last at `again`."""

    predicate: int
    holder: int
    position: LogPosition
    again: LogPosition


class ValidityIntervals:
    """The parents of an entity up to an instant, the newest first; read only as far back as needed.

    The same parent logged again, or under another of its names, is one interval; of a run of equal ones only the last
    and the first are read. A parent that was taken over from a
    merged entity counts from when it was logged for that entity, as do the parents before it. The beginning of an
    interval that began before `enough` may be given too late, but not later than `enough`.
    """

    def __init__(
        self, log: EventLog, entity: int, at: Instant, *, known: EntityResolution, enough: LogPosition
    ) -> None:
        self._log, self._entity, self._at, self._known, self._enough = log, entity, at, known, enough
        self._root = known.root(entity)
        known.members(self._root)
        self._intervals: list[ParentInterval] = []
        self._below: int | None = None
        self._run = math.inf  # The version with which the run that was read last begins.
        self._page = PAGE
        self._whole = False
        self.newest = NEVER
        self._read()

    def __getitem__(self, index: int) -> ParentInterval | None:
        """Returns an interval, None before the first change and beyond the range that is read."""
        while not self._whole and (len(self._intervals) <= index or self._open(index)):
            self._read()
        return self._intervals[index] if index < min(len(self._intervals), FURTHEST) else None

    def _open(self, index: int) -> bool:
        """Returns whether an interval may have begun earlier than known so far, and that matters."""
        return index == len(self._intervals) - 1 and self._intervals[index].position > self._enough

    def _read(self) -> None:
        found = parents_at(self._log, self._entity, self._at, most=self._page, below=self._below)
        self._whole = len(found) < self._page
        self._page *= 2
        for parent in found:
            if self._run < parent.version:
                continue
            position, self._run = (parent.since_s, parent.seq), parent.first
            self._below, self.newest = parent.version, max(self.newest, position)
            holder, merge = self._known.root(parent.object), self._known.merge(parent.seq)
            if merge is not None and merge.into == self._entity:
                self._entity, self._below, self._whole, self._run = merge.entity, None, False, math.inf
                return
            if (merge is not None and merge.entity == self._entity) or holder == self._root:
                continue  # The merged entity remains; an entity that is the same as its holder was never held by it.
            last = self._intervals[-1] if self._intervals else None
            if last is not None and (last.predicate, last.holder) == (parent.predicate, holder):
                self._intervals[-1] = replace(last, position=position)
            else:
                self._intervals.append(ParentInterval(parent.predicate, holder, position, position))
        if found and self._run < found[-1].version:
            self._below = int(self._run) + 1
