"""The content of the log that retention needs: sightings, moments, relations, and what must stay."""

import math
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from embodied.geometry import Pose
from embodied.memory.retention.compaction import GiveWay, LogPosition, Sighting, SightingHistory
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS, Removal
from embodied.memory.schema.kinds import (
    CONTAINMENT,
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    MapPlaced,
    MomentStored,
    RelationEnded,
    RelationSet,
    RobotReported,
    Withdrawn,
)
from embodied.memory.service.bank import Bank

OBSERVATIONS = frozenset(tag for tag, kind in KINDS.items() if kind.removal is Removal.BY_RETENTION)
PAGE = 250


@dataclass(eq=False)
class Contents:
    """The content of the log that retention needs, read once from its beginning.

    `seqs` and `times` (seconds) are those of the observations, in the order of the log.
    """

    count: int = 0
    newest_s: float = -math.inf
    seqs: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    running: set[int] = field(default_factory=set)
    causes: set[int] = field(default_factory=set)  # Of events that stay, and their own.
    moments: dict[tuple[Any, ...], list[tuple[LogPosition, bytes]]] = field(default_factory=lambda: defaultdict(list))
    evidence: set[int] = field(default_factory=set)
    withdrawn: Mapping[int, int] = field(default_factory=dict)
    _causes_of: dict[int, tuple[int, ...]] = field(default_factory=dict)  # Of observations.
    _withdrawals: list[int] = field(default_factory=list)
    _sightings: list[Sighting] = field(default_factory=list)
    _absent: list[tuple[str, LogPosition]] = field(default_factory=list)
    _relations: list[tuple[str, str, str, LogPosition]] = field(default_factory=list)
    _roots: dict[str, str] = field(default_factory=dict)
    _placed: dict[str, LogPosition] = field(default_factory=dict)  # By map its last placing.
    _tasks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _payloads: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, bank: Bank) -> "Contents":
        """Returns the content of the log of a bank."""
        log = cls()
        log.withdrawn = bank.withdrawn()
        for event in _all_events(bank):
            log._take(event)
        for numbers in log._tasks.values():
            log.running.update(numbers)
        log._add_causes_of_causes()
        names = {sighting.name for sighting in log._sightings} | {relation[0] for relation in log._relations}
        for name in names:
            log.evidence.update(bank.evidence(name))
            bank.give_way()
        log.newest_s = min(log.newest_s, bank.clock().time_s)  # An older bank may have an event of the far future.
        return log

    def histories(self) -> dict[str, SightingHistory]:
        """Returns the sighting history of each entity and robot, under its name after merges."""
        histories: dict[str, SightingHistory] = defaultdict(SightingHistory)
        for sighting in self._sightings:
            histories[self._root(sighting.name)].sightings.append(sighting)
        for name, position in self._absent:
            histories[self._root(name)].breaks.append(position)
        held_now: dict[str, tuple[str, float]] = {}
        for subject, predicate, holder, position in self._relations:
            name = self._root(subject)
            left = histories[name].holder
            if not predicate and self._root(left) != self._root(holder):
                continue  # It ends a relation that was withdrawn.
            since_s = histories[name].change_parent(position, holder if predicate else "")
            for other in {left, holder} - {""}:
                histories[self._root(other)].breaks.append((since_s, position[1]))
            if name in held_now:
                robot, taken_s = held_now.pop(name)
                histories[name].held.append((taken_s, since_s))
                histories[robot].held.append((taken_s, since_s))
            if predicate == "held_by":
                held_now[name] = self._root(holder), since_s
        for name, (robot, taken_s) in held_now.items():
            histories[name].held.append((taken_s, math.inf))
            histories[robot].held.append((taken_s, math.inf))
        return histories

    def spent(self) -> list[int]:
        """Returns the withdrawals of events none of which the log still has; they are no causes of others."""
        by = set(self.withdrawn.values())
        return [seq for seq in self._withdrawals if seq not in by and seq not in self.causes]

    def needed(self) -> set[int]:
        """Returns the observations on which current answers rest.

        They are causes, evidence, last sightings, later absences, and the last placings of maps.
        """
        last: dict[str, LogPosition] = {}
        for sighting in self._sightings:
            last[sighting.name] = max(sighting.position, last.get(sighting.name, sighting.position))
        absent = {position[1] for name, position in self._absent if position > last.get(name, (-math.inf, 0))}
        placed = {seq for _, seq in self._placed.values()}
        return self.causes | self.evidence | absent | placed | {seq for _, seq in last.values()}

    def drop_sightings(self, give_way: GiveWay) -> None:
        """Frees the sightings some at a time: all at once would stop other threads for a second per million."""
        while self._sightings:
            give_way()
            del self._sightings[-PAGE:]

    def _add_causes_of_causes(self) -> None:
        left = [seq for seq in self.causes if seq in self._causes_of]
        while left:
            more = set(self._causes_of[left.pop()]) - self.causes
            self.causes |= more
            left += [seq for seq in more if seq in self._causes_of]

    def _take(self, event: Event) -> None:
        position = (event.valid_time_s, event.seq)
        self.count += 1
        if isinstance(event.payload, Withdrawn):
            self._withdrawals.append(event.seq)
        elif event.seq not in self.withdrawn:
            self.newest_s = max(self.newest_s, event.valid_time_s)
        if event.kind in OBSERVATIONS:
            self.seqs.append(event.seq)
            self.times.append(event.valid_time_s)
            task = event.payload.episode if isinstance(event.payload, MomentStored) else event.task
            if task in self._tasks:
                self._tasks[task].append(event.seq)
            if event.cause:
                self._causes_of[event.seq] = event.cause
        else:
            self.causes.update(event.cause)
        if not event.claimed and event.seq not in self.withdrawn:
            self._take_belief(event, position)

    def _take_belief(self, event: Event, position: LogPosition) -> None:
        match event.payload:
            case EntitySeen() as payload:
                what = (payload.category, payload.labels, payload.hypothesis, payload.size_m, payload.confidence)
                self._see(position, payload.entity, payload.pose, (*what, payload.map_id))
            case RobotReported() as payload:
                what = (payload.status, round(payload.battery, 1), payload.map_id)
                self._see(position, event.robot, payload.pose, what, payload.tool)
            case AbsenceSeen(entity=entity):
                self._absent.append((entity, position))
            case RelationSet(subject=subject, object=holder) as payload if payload.predicate in CONTAINMENT:
                self._relations.append((subject, payload.predicate, holder, position))
            case RelationEnded(subject=subject, object=holder) as payload if payload.predicate in CONTAINMENT:
                self._relations.append((subject, "", holder, position))
            case MapPlaced(map_id=map_id):
                self._placed[map_id] = max(position, self._placed.get(map_id, position))
            case EntityMerged(entity=entity, into=into):
                self._roots[entity] = into
            case EpisodeBegun(episode=episode):
                self._tasks.setdefault(episode, [])
            case EpisodeEnded(episode=episode):
                self._tasks.pop(episode, None)
            case MomentStored() as payload:
                key = (event.robot, payload.episode, payload.model_id, payload.entities, payload.labels)
                self.moments[key].append((position, payload.embedding))

    def _see(
        self, position: LogPosition, name: str, pose: Pose, what: tuple[Any, ...], tool: Pose | None = None
    ) -> None:
        what = self._payloads.setdefault(what, what)  # Few differ, so the others take no memory.
        self._sightings.append(Sighting(position, name, pose, what, tool))

    def _root(self, name: str) -> str:
        while name in self._roots:
            name = self._roots[name]
        return name


def _all_events(bank: Bank) -> Iterator[Event]:
    after, head = 0, bank.head
    while after < head and (page := bank.changes_since(after, limit=PAGE)):
        bank.give_way()
        yield from page
        after = page[-1].seq
