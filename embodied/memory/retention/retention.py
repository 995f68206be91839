"""Retention removes events that a bank does not need, by `Forgotten` events of the log; answers stay the same.

Three groups are removed, in this order: sightings in the middle of a run of equivalent ones (time), moments that repeat
another of their episode (similarity) or are not among its keyframes (novelty), and the oldest observations beyond a
budget. Events on which others depend stay: places, containment, interactions, skills and their statistics, leases,
episodes and their summaries with their ranges of sequence numbers, the last sighting of everything, the evidence of all
current location beliefs (such as the state of the robot that carried a thing there), and the causes of events that
stay. The file keeps its size, and later events fill the free space. Half-lives of existence are computed at query time
from the last sighting, so nothing has to be deleted for them.

The events go in many small commits, each with one `Forgotten` event: in between robots append and ask, and if the owner
is killed, the next retention removes the rest.
"""

import math
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from numbers import Integral, Real
from time import sleep
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.geometry import Pose
from embodied.memory.retention.compaction import (
    GiveWay,
    LogPosition,
    RestTolerance,
    Sighting,
    SightingHistory,
    keyframes,
    redundant_sightings,
    similar_moments,
    steps_of,
)
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS, Removal
from embodied.memory.schema.kinds import (
    CONTAINMENT,
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    Forgotten,
    MomentStored,
    RelationEnded,
    RelationSet,
    RobotReported,
)
from embodied.memory.service.bank import Bank

WRITER = "retention"
OBSERVATIONS = frozenset(tag for tag, kind in KINDS.items() if kind.removal is Removal.BY_RETENTION)
PAGE = 250
STEP = 150  # Events removed by one commit: some milliseconds, in which others wait.
PAUSE_S = 0.001
SAME, ALIKE, PLAIN, OLD = "sightings that say the same", "moments alike", "moments that are not novel", "oldest first"


@dataclass(frozen=True)
class RetentionResult:
    """How many events were removed for which reason, and how many are left in the log."""

    forgotten: dict[str, int]
    left: int


@dataclass(kw_only=True)
class RetentionConfig:
    """What is kept. Lengths in metres, angles in radians, times in seconds of the site clock.

    Events newer than `fresh_s` before the newest one stay, and so do those of an episode that still runs. Sightings
    within `still_m` and `still_rad` are equivalent; of a long run one per `gap_s` stays, which bounds the error of
    half-lives and past answers. Moments of an episode whose cosine with another is at least `alike` are repetitions; of
    the rest `keyframes` per episode, robot and model stay. At most `observations` events of the removable kinds stay,
    not counting interactions: of the distant past, interactions and last positions remain.

    Attributes:
        fresh_s: events newer than this before the newest event stay
        still_m: sightings within this distance are equivalent
        still_rad: sightings within this angle are equivalent
        gap_s: of equivalent sightings one per so many seconds stays
        alike: cosine from which moments of an episode are repetitions
        keyframes: moments that stay per episode, robot and model
        observations: events of the removable kinds that stay
    """

    fresh_s: float = 600.0
    still_m: float = 0.002
    still_rad: float = 0.02
    gap_s: float = 60.0
    alike: float = 0.995
    keyframes: int = 64
    observations: int = 1_000_000

    def build(self) -> "Retention":
        """Returns the retention. Raises `ConfigError` for values out of range, and for values that are not numbers."""
        for name in ("fresh_s", "still_m", "still_rad", "gap_s"):
            value = getattr(self, name)
            if not _is(Real, value) or not 0.0 <= value < math.inf:
                raise ConfigError(f"retention.{name} must be a finite number from 0.", value=value)
        if not _is(Real, self.alike) or not 0.0 < self.alike <= 1.0:
            raise ConfigError("retention.alike must be a cosine in (0, 1].", value=self.alike)
        for name, least in (("keyframes", 2), ("observations", 0)):
            value = getattr(self, name)
            if not _is(Integral, value) or value < least:
                raise ConfigError(f"retention.{name} must be a whole number from {least}.", value=value)
        return Retention(self)


class Retention:
    """Removes events that a bank does not need, in steps; equal logs and settings remove equal events."""

    def __init__(self, config: RetentionConfig) -> None:
        self._config = config

    def apply(self, bank: Bank) -> RetentionResult:
        """Removes events, and returns the counts.

        Raises what `Bank.append` raises; then the steps before are done, and another call does the rest.
        """
        log = Contents.read(bank)
        chosen = self.choose(log, bank.give_way)
        log.drop_sightings(bank.give_way)
        number, time_s = bank.last_of_writer(WRITER)
        first = number
        for reason, numbers in chosen.items():
            for ranges, count in steps_of(numbers, STEP):
                number += 1
                bank.append(Event(WRITER, number, max(time_s, log.newest_s), Forgotten(reason, ranges, count)))
                sleep(PAUSE_S)  # Threads that wait for the lock do not queue: the one that runs would take it again.
                bank.give_way()
        counts = {reason: len(numbers) for reason, numbers in chosen.items()}
        return RetentionResult(counts, log.count - sum(counts.values()) + number - first)

    def choose(self, log: "Contents", give_way: GiveWay = int) -> dict[str, list[int]]:
        """Returns the sequence numbers of `log` to remove, by reason; no number is in two of them.

        `give_way` is called between steps.
        """
        config = self._config
        still = RestTolerance(config.still_m, config.still_rad, config.gap_s)
        same = [seq for history in log.histories().values() for seq in redundant_sightings(history, still, give_way)]
        alike, plain = self._moments(log, give_way)
        seqs, times = np.asarray(log.seqs), np.asarray(log.times)
        free = times <= log.newest_s - config.fresh_s
        for kept in (log.running, log.causes, log.evidence):
            free[_indices(seqs, kept)] = False
        left = np.ones(len(seqs), bool)
        chosen = {}
        for reason, numbers in ((SAME, same), (ALIKE, alike), (PLAIN, plain)):
            rows = _indices(seqs, numbers)
            rows = rows[free[rows]]
            left[rows] = False
            chosen[reason] = seqs[rows].tolist()
        too_many = max(0, int(np.count_nonzero(left)) - config.observations)
        spare = left & free
        spare[_indices(seqs, log.needed())] = False
        oldest = np.flatnonzero(spare)
        oldest = oldest[np.lexsort((seqs[oldest], times[oldest]))][:too_many]
        chosen[OLD] = seqs[oldest].tolist()
        return {reason: numbers for reason, numbers in chosen.items() if numbers}

    def _moments(self, log: "Contents", give_way: GiveWay) -> tuple[list[int], list[int]]:
        alike: list[int] = []
        plain: list[int] = []
        for found in log.moments.values():
            ordered = sorted(found)
            numbers = np.array([seq for (_, seq), _ in ordered])
            embeddings = np.frombuffer(b"".join(vector for _, vector in ordered), "<f4").reshape(len(ordered), -1)
            repeated = similar_moments(embeddings, alike=self._config.alike, give_way=give_way)
            alike += numbers[repeated].tolist()
            numbers, embeddings = numbers[~repeated], embeddings[~repeated]
            novel = keyframes(embeddings, self._config.keyframes, give_way)
            plain += np.delete(numbers, novel).tolist()
        return alike, plain


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
    causes: set[int] = field(default_factory=set)
    moments: dict[tuple[Any, ...], list[tuple[LogPosition, bytes]]] = field(default_factory=lambda: defaultdict(list))
    evidence: set[int] = field(default_factory=set)
    _sightings: list[Sighting] = field(default_factory=list)
    _absent: list[tuple[str, LogPosition]] = field(default_factory=list)
    _relations: list[tuple[str, str, str, LogPosition]] = field(default_factory=list)
    _roots: dict[str, str] = field(default_factory=dict)
    _tasks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _payloads: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, bank: Bank) -> "Contents":
        """Returns the content of the log of a bank."""
        log = cls()
        for event in _all_events(bank):
            log._take(event)
        for numbers in log._tasks.values():
            log.running.update(numbers)
        names = {sighting.name for sighting in log._sightings} | {relation[0] for relation in log._relations}
        for name in names:
            log.evidence.update(bank.evidence(name))
            bank.give_way()
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

    def needed(self) -> set[int]:
        """Returns the observations on which current answers rest: causes, evidence, last sightings, later absences."""
        last: dict[str, LogPosition] = {}
        for sighting in self._sightings:
            last[sighting.name] = max(sighting.position, last.get(sighting.name, sighting.position))
        absent = {position[1] for name, position in self._absent if position > last.get(name, (-math.inf, 0))}
        return self.causes | self.evidence | absent | {seq for _, seq in last.values()}

    def drop_sightings(self, give_way: GiveWay) -> None:
        """Frees the sightings some at a time: all at once would stop other threads for a second per million."""
        while self._sightings:
            give_way()
            del self._sightings[-PAGE:]

    def _take(self, event: Event) -> None:
        position = (event.valid_time_s, event.seq)
        self.count += 1
        self.newest_s = max(self.newest_s, event.valid_time_s)
        if event.kind in OBSERVATIONS:
            self.seqs.append(event.seq)
            self.times.append(event.valid_time_s)
            task = event.payload.episode if isinstance(event.payload, MomentStored) else event.task
            if task in self._tasks:
                self._tasks[task].append(event.seq)
        else:
            self.causes.update(event.cause)
        if not event.claimed:
            self._take_belief(event, position)

    def _take_belief(self, event: Event, position: LogPosition) -> None:
        match event.payload:
            case EntitySeen() as payload:
                what = (payload.category, payload.labels, payload.hypothesis, payload.size_m, payload.confidence)
                self._see(position, payload.entity, payload.pose, what)
            case RobotReported() as payload:
                what = (payload.status, round(payload.battery, 1))
                self._see(position, event.robot, payload.pose, what, payload.tool)
            case AbsenceSeen(entity=entity):
                self._absent.append((entity, position))
            case RelationSet(subject=subject, object=holder) as payload if payload.predicate in CONTAINMENT:
                self._relations.append((subject, payload.predicate, holder, position))
            case RelationEnded(subject=subject, object=holder) as payload if payload.predicate in CONTAINMENT:
                self._relations.append((subject, "", holder, position))
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


def retain(bank: Bank, config: RetentionConfig | None = None) -> RetentionResult:
    """Removes events that the bank does not need, by `config` or the default settings; returns the counts.

    Raises `ConfigError` for invalid settings.
    """
    return checked(config).build().apply(bank)


def checked(config: RetentionConfig | None) -> RetentionConfig:
    """Returns the settings (None: the defaults). Raises `ConfigError` for values of another type or out of range."""
    if config is None:
        return RetentionConfig()
    if not isinstance(config, RetentionConfig):
        raise ConfigError(
            "Retention must be configured by a `RetentionConfig`.",
            value=config,
            remedy="Write RetentionConfig(observations=100_000).",
        )
    config.build()
    return config


def _is(kind: type, value: object) -> bool:
    """Returns whether a value is a number of a kind; booleans are not."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _indices(seqs: np.ndarray, numbers: Collection[int]) -> np.ndarray:
    """Returns where those of `numbers` that are among the ascending `seqs` stand there."""
    wanted = np.fromiter(numbers, np.int64, len(numbers))
    rows = np.minimum(np.searchsorted(seqs, wanted), max(0, len(seqs) - 1))
    return rows[seqs[rows] == wanted] if len(seqs) else rows[:0]


def _all_events(bank: Bank) -> Iterator[Event]:
    after, head = 0, bank.head
    while after < head and (page := bank.changes_since(after, limit=PAGE)):
        bank.give_way()
        yield from page
        after = page[-1].seq
