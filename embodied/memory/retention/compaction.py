"""Compaction candidates: repeated sightings, similar moments and old observations, found by pure functions."""

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import numpy as np

from embodied.geometry import Pose, angle_between
from embodied.memory.schema.event import LogPosition

GiveWay = Callable[[], object]  # Lets waiting writers proceed; see `Tables.give_way`.
TURN = 100  # Steps of a calculation, each of some microseconds, between two calls of it.


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A measured pose; two that differ in `payload` (category, labels, status) are never equivalent.

    A bank has a million of them, so the garbage collector does not visit them.
    """

    position: LogPosition
    name: str
    pose: Pose
    payload: tuple[object, ...]
    tool: Pose | None = None


@dataclass(eq=False)
class SightingHistory:
    """All sightings of one entity or robot, and the times of changes that make them significant.

    `breaks` are changes of its parent, arrivals and departures of contents, and absences: the sightings before and
    after one are not equivalent, whatever their poses. `held` are the intervals (from, to) of valid time in which a
    robot held it, or in which it, a robot, held something.
    """

    sightings: list[Sighting] = field(default_factory=list)
    breaks: list[LogPosition] = field(default_factory=list)
    held: list[tuple[float, float]] = field(default_factory=list)
    holder: str = ""
    _changed_s: float = -math.inf

    def change_parent(self, position: LogPosition, holder: str) -> float:
        """Returns since when the next parent counts in the bank: never before the one that it replaces."""
        self.holder, self._changed_s = holder, max(position[0], self._changed_s)
        self.breaks.append((self._changed_s, position[1]))
        return self._changed_s


@dataclass(frozen=True)
class RestTolerance:
    """The shift (metres) and turn (radians) within which poses are equal; one is kept per gap (seconds)."""

    shift_m: float
    turn_rad: float
    gap_s: float


def redundant_sightings(history: SightingHistory, still: RestTolerance, give_way: GiveWay) -> list[int]:
    """Returns the sequence numbers of the sightings of `history` in the middle of a run of equivalent ones.

    The first and the last of a run stay: they give the time range in which the thing was seen there. Sightings of held
    things and of the robots that held them stay, since the pose of one follows from the other. `still` is the tolerance
    of equivalent poses; `give_way` is called between steps.
    """
    ordered = sorted(history.sightings, key=lambda one: one.position)
    breaks, held = sorted(history.breaks), _union(history.held)
    candidates: list[int] = []
    if not ordered:
        return candidates
    kept, at = ordered[0], 0
    for number, (one, following) in enumerate(pairwise(ordered[1:])):
        if not number % TURN:
            give_way()
        at = _next_break(breaks, at, kept.position)
        unbroken = at == len(breaks) or breaks[at] > following.position
        close = following.position[0] - kept.position[0] <= still.gap_s
        if (
            unbroken
            and close
            and _same(kept, one, still)
            and _same(kept, following, still)
            and not _among(held, one.position[0])
        ):
            candidates.append(one.position[1])
        else:
            kept = one
    return candidates


def similar_moments(embeddings: np.ndarray, *, alike: float, among: int = 512, give_way: GiveWay = int) -> np.ndarray:
    """Returns which rows of `embeddings` (N, D), unit length, are repetitions.

    A row is one if its cosine with one of the last `among` kept rows is at least `alike`. The last row stays, so that
    the time range of the memory does not change. `give_way` is called between steps.
    """
    repeated = np.zeros(len(embeddings), bool)
    kept = np.empty_like(embeddings)
    count = 0
    for row in range(len(embeddings) - 1):
        if not row % TURN:
            give_way()
        similarity = kept[max(0, count - among) : count] @ embeddings[row]
        repeated[row] = bool(np.any(similarity >= alike))
        if not repeated[row]:
            kept[count] = embeddings[row]
            count += 1
    return repeated


def keyframes(embeddings: np.ndarray, count: int, give_way: GiveWay = int) -> np.ndarray:
    """Returns the `count` rows of `embeddings` (N, D), ascending, that differ most: the first, the last, novel ones.

    Farthest-point sampling: each choice is the row whose most similar chosen row is least similar, the earliest in
    ties. `give_way` is called between steps.
    """
    if len(embeddings) <= count:
        return np.arange(len(embeddings))
    chosen = [0, len(embeddings) - 1][: max(1, count)]
    nearest = np.max(embeddings @ embeddings[chosen].T, axis=1)
    while len(chosen) < count:
        give_way()
        nearest[chosen] = math.inf
        newest = int(np.argmin(nearest))
        chosen.append(newest)
        nearest = np.maximum(nearest, embeddings @ embeddings[newest])
    return np.array(sorted(chosen))


def indices_of(seqs: np.ndarray, numbers: Collection[int]) -> np.ndarray:
    """Returns where those of `numbers` that are among the ascending `seqs` stand there."""
    wanted = np.fromiter(numbers, np.int64, len(numbers))
    rows = np.minimum(np.searchsorted(seqs, wanted), max(0, len(seqs) - 1))
    return rows[seqs[rows] == wanted] if len(seqs) else rows[:0]


def runs_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Returns contiguous ranges (first, last) of sequence numbers, ascending."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def steps_of(numbers: Sequence[int], most: int) -> Iterator[tuple[tuple[tuple[int, int], ...], int]]:
    """Yields contiguous ranges as in `runs_of` for at most `most` of the `numbers` at a time, and their count."""
    ordered = sorted(numbers)
    for start in range(0, len(ordered), most):
        part = ordered[start : start + most]
        yield tuple(runs_of(part)), len(part)


def _next_break(breaks: Sequence[LogPosition], at: int, position: LogPosition) -> int:
    while at < len(breaks) and breaks[at] <= position:
        at += 1
    return at


def _same(one: Sighting, other: Sighting, still: RestTolerance) -> bool:
    if (one.name, one.payload) != (other.name, other.payload) or (one.tool is None) != (other.tool is None):
        return False
    tools = one.tool is None or other.tool is None or _close(one.tool, other.tool, still)
    return tools and _close(one.pose, other.pose, still)


def _close(one: Pose, other: Pose, still: RestTolerance) -> bool:
    if math.dist(one.position_m, other.position_m) > still.shift_m:
        return False
    return angle_between(one.orientation, other.orientation) <= still.turn_rad


def _union(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the same times as intervals that ascend and do not meet."""
    joined: list[tuple[float, float]] = []
    for first, last in sorted(intervals):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _among(intervals: Sequence[tuple[float, float]], time_s: float) -> bool:
    at = bisect_right(intervals, (time_s, math.inf)) - 1
    return at >= 0 and time_s <= intervals[at][1]
