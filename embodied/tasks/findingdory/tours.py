"""Shortest tours from a start to a place of each goal: exact up to 12 goals, improved by exchanges above.

Places are numbered; a goal is satisfied at any of its places. A tour begins at the start and ends at its last goal.
Lengths are those of shortest paths, in metres, infinite where there is none; the way between two places is as long in
both directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import inf

import numpy as np

from embodied.errors import GoalError

EXACT_GOALS = 12
STARTS = 4


@dataclass(frozen=True)
class Tour:
    """A tour of `length_m`: the goals by number in the order in which they are reached, and the place of each.

    Infinite, without goals and places, where some goal cannot be reached.
    """

    length_m: float
    goals: tuple[int, ...] = ()
    places: tuple[int, ...] = ()


UNREACHABLE = Tour(inf)


def shortest_tour(start_m: np.ndarray, between_m: np.ndarray, goals: Sequence[Sequence[int]]) -> Tour:
    """Returns the shortest tour to a place of each of `goals`, in any order; exact up to 12 goals.

    `start_m` (P,) are the lengths from the start to each of P places, `between_m` (P, P) those between places, and a
    goal is the numbers of its places. Above 12 goals it is the best of tours from the four nearest goals, each to the
    nearest next one, improved by reversing and moving parts (2-opt and Or-opt) until no change shortens it. Sources: M.
    Held and R. Karp, A dynamic programming approach to sequencing problems, J. SIAM 10 (1962); G. Croes, A method for
    solving traveling-salesman problems, Operations Research 6 (1958). Raises `GoalError`.
    """
    start, between = _checked(start_m, between_m, goals)
    if not goals:
        return Tour(0.0)
    if not all(np.isfinite(start[list(goal)]).any() for goal in goals):
        return UNREACHABLE
    return _exact(start, between, goals) if len(goals) <= EXACT_GOALS else _improved(start, between, goals)


def ordered_tour(start_m: np.ndarray, between_m: np.ndarray, goals: Sequence[Sequence[int]]) -> Tour:
    """Returns the shortest tour to a place of each of `goals` in their order; exact for any number of goals.

    `start_m`, `between_m` and `goals` as in `shortest_tour`. Raises `GoalError`.
    """
    start, between = _checked(start_m, between_m, goals)
    return _along(start, between, goals, range(len(goals))) if goals else Tour(0.0)


def _checked(
    start_m: np.ndarray, between_m: np.ndarray, goals: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    start, between = np.asarray(start_m, float), np.asarray(between_m, float)
    count = len(start)
    if start.shape != (count,) or between.shape != (count, count):
        raise GoalError(
            "Lengths must be (P,) from the start and (P, P) between places.", value=(start.shape, between.shape)
        )
    if not (np.all(start >= 0) and np.all(between >= 0)):  # NaN fails, too.
        raise GoalError("Lengths of paths must be 0 or more, and infinite where there is no path.")
    for goal in goals:
        if not len(goal) or not all(0 <= place < count for place in goal):
            raise GoalError(f"A goal must have places, with numbers in [0, {count}).", value=list(goal))
    return start, between


def _exact(start: np.ndarray, between: np.ndarray, goals: Sequence[Sequence[int]]) -> Tour:
    """Returns the shortest tour by dynamic programming over sets of reached goals and the last place."""
    count, full = len(goals), (1 << len(goals)) - 1
    best = np.full((full + 1, len(start)), inf)  # The shortest way to reach a set of goals, ending at a place.
    before = np.full((full + 1, len(start), 2), -1)  # The last goal, and the place before it.
    own = [np.array(sorted(set(goal))) for goal in goals]
    for goal, places in enumerate(own):
        best[1 << goal, places] = start[places]
        before[1 << goal, places, 0] = goal
    for reached in range(1, full):
        ends = np.flatnonzero(np.isfinite(best[reached]))
        if not len(ends):
            continue
        onward = best[reached, ends][:, None] + between[ends]
        nearest = onward.argmin(axis=0)
        lengths = onward[nearest, np.arange(len(start))]
        for goal, places in enumerate(own):
            if not reached >> goal & 1:
                after = reached | 1 << goal
                better = places[lengths[places] < best[after, places]]
                best[after, better] = lengths[better]
                before[after, better, 0] = goal
                before[after, better, 1] = ends[nearest[better]]
    return _traced(best, before, count)


def _traced(best: np.ndarray, before: np.ndarray, count: int) -> Tour:
    """Returns the tour that ends at the best last place, followed back to the start."""
    reached = (1 << count) - 1
    place = int(best[reached].argmin())
    length = float(best[reached, place])
    if not np.isfinite(length):
        return UNREACHABLE
    steps: list[tuple[int, int]] = []
    while reached:
        goal, previous = (int(value) for value in before[reached, place])
        steps.append((goal, place))
        reached, place = reached & ~(1 << goal), previous
    steps.reverse()
    return Tour(length, tuple(goal for goal, _ in steps), tuple(place for _, place in steps))


def _along(start: np.ndarray, between: np.ndarray, goals: Sequence[Sequence[int]], order: Sequence[int]) -> Tour:
    """Returns the shortest tour through the goals in an order: the best place of each, layer by layer."""
    places = [np.array(sorted(set(goals[goal]))) for goal in order]
    lengths, backward = start[places[0]], []
    for earlier, later in pairwise(places):
        onward = lengths[:, None] + between[np.ix_(earlier, later)]
        backward.append(onward.argmin(axis=0))
        lengths = onward.min(axis=0)
    at = int(lengths.argmin())
    length = float(lengths[at])
    if not np.isfinite(length):
        return UNREACHABLE
    chosen = [at]
    for layer in reversed(backward):
        chosen.append(int(layer[chosen[-1]]))
    chosen.reverse()
    return Tour(length, tuple(order), tuple(int(own[at]) for own, at in zip(places, chosen, strict=True)))


def _improved(start: np.ndarray, between: np.ndarray, goals: Sequence[Sequence[int]]) -> Tour:
    """Returns the best of greedy tours, from each of the nearest first goals, after local improvements."""
    nearest = sorted(range(len(goals)), key=lambda goal: float(start[list(goals[goal])].min()))[:STARTS]
    tours = [_local_best(start, between, goals, _greedy(start, between, goals, first)) for first in nearest]
    return min(tours, key=lambda tour: tour.length_m)


def _greedy(start: np.ndarray, between: np.ndarray, goals: Sequence[Sequence[int]], first: int) -> list[int]:
    """Returns the order that begins with the goal `first` and goes on to the nearest goal each time."""
    order, left = [first], set(range(len(goals))) - {first}
    place = min(goals[first], key=lambda each: start[each])
    while left:
        goal, place = min(
            ((goal, each) for goal in sorted(left) for each in goals[goal]), key=lambda pair: between[place, pair[1]]
        )
        order.append(goal)
        left.remove(goal)
    return order


def _local_best(start: np.ndarray, between: np.ndarray, goals: Sequence[Sequence[int]], order: list[int]) -> Tour:
    """Returns the tour of an order that no reversed or moved part shortens."""
    best = _along(start, between, goals, order)
    improved = True
    while improved:
        improved = False
        for first, last in combinations(range(len(order) + 1), 2):
            for changed in _changes(best.goals or tuple(order), first, last):
                tour = _along(start, between, goals, changed)
                if tour.length_m < best.length_m - 1e-9:
                    best, improved = tour, True
    return best


def _changes(order: Sequence[int], first: int, last: int) -> list[list[int]]:
    """Returns an order with the part from `first` to before `last` reversed, and with its first goal moved behind."""
    part = list(order[first:last])
    head, tail = list(order[:first]), list(order[last:])
    return [head + part[::-1] + tail, head + part[1:] + part[:1] + tail, head + part[-1:] + part[:-1] + tail]
