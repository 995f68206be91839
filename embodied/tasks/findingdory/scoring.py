"""Judges answers that consist of frames, and computes what guessing and the best possible answers score."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, prod

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from embodied.tasks.findingdory.annotations import FRAMES, FrameQuestion
from embodied.tasks.findingdory.table import ORDERED

RESPONSE_ERROR = "response error"
OUT_OF_BOUNDS = "frame out of bounds"
WRONG_COUNT = "wrong number of goals"
UNSOLVABLE = "no valid frame exists"
WRONG_FRAME = "wrong frame"


@dataclass(frozen=True)
class FrameScore:
    """Whether an answer is right, and why it is not; `reached` is the number of goals that its frames reach."""

    success: bool
    reason: str = ""
    reached: int = 0


def judged(row: FrameQuestion, answer: Sequence[int] | None, *, frames: int = FRAMES) -> FrameScore:
    """Returns the verdict on the frames of an `answer` to the question `row`, one per goal; None stands for no answer.

    Frames must lie in [0, `frames`). In order the i-th frame must be valid for the i-th goal; otherwise each goal must
    get a frame of its own: a perfect matching between frames and goals.
    """
    if answer is None:
        return FrameScore(success=False, reason=f"{RESPONSE_ERROR}: no answer has its id")
    if len(answer) != len(row.goals):
        return FrameScore(success=False, reason=f"{WRONG_COUNT}: {len(answer)} frames for {len(row.goals)} goals")
    if wrong := [frame for frame in answer if not 0 <= frame < frames]:
        return FrameScore(success=False, reason=f"{OUT_OF_BOUNDS}: {wrong[0]} is not in [0, {frames})")
    reached = goals_reached(row.goals, answer, ordered=is_ordered(row))
    if row.solvable and reached == len(row.goals):
        return FrameScore(success=True, reached=reached)
    return FrameScore(success=False, reason=WRONG_FRAME if row.solvable else UNSOLVABLE, reached=reached)


def is_ordered(row: FrameQuestion) -> bool:
    """Returns whether the goals of a question must be reached in their order."""
    return row.question.template.goals == ORDERED


def goals_reached(goals: Sequence[frozenset[int]], answer: Sequence[int], *, ordered: bool) -> int:
    """Returns how many `goals` the frames of an `answer` reach, one frame each.

    Frames and goals are paired by position if `ordered`, and otherwise in a largest matching.
    Source of the matching: J. Hopcroft and R. Karp, SIAM Journal on Computing 2 (1973), as in SciPy.
    """
    if ordered:
        return sum(frame in goal for frame, goal in zip(answer, goals, strict=True))
    if not goals or not answer:
        return 0
    fits = np.array([[frame in goal for goal in goals] for frame in answer])
    return int(np.count_nonzero(maximum_bipartite_matching(csr_array(fits), perm_type="column") >= 0))


def constant_answer(row: FrameQuestion, frame: int) -> tuple[int, ...]:
    """Returns the same frame for each goal."""
    return (frame,) * len(row.goals)


def oracle_answer(row: FrameQuestion) -> tuple[int, ...] | None:
    """Returns the first valid frame of each goal, which is right wherever an answer can be; None elsewhere."""
    return tuple(min(goal) for goal in row.goals) if row.solvable else None


def random_answer(row: FrameQuestion, draws: np.random.Generator, *, frames: int = FRAMES) -> tuple[int, ...]:
    """Returns independent uniform frames in [0, `frames`) from `draws`, one per goal of `row`."""
    return tuple(int(frame) for frame in draws.integers(frames, size=len(row.goals)))


def random_expectation(row: FrameQuestion, *, frames: int = FRAMES) -> Fraction:
    """Returns the exact probability that independent uniform frames, one per goal, are right."""
    if not row.solvable:
        return Fraction(0)
    count = prod(len(goal) for goal in row.goals) if is_ordered(row) else matchable_tuples(row.goals)
    return Fraction(count, frames ** len(row.goals))


def matchable_tuples(goals: Sequence[frozenset[int]]) -> int:
    """Returns how many tuples of frames, one frame per goal, have a perfect matching with the goals.

    Goals that share no frame, directly or through others, are counted apart. Within a component, frames that are valid
    for the same goals are one type. Types are added one after another; the state is the family of sets of goals that
    the frames so far can be matched to, of which only goals with types to come are kept.
    """
    parts = list(_components(goals))
    orders = Fraction(factorial(len(goals)), prod(factorial(len(part)) for part in parts))
    return int(orders * prod((_matchable_in(part) for part in parts), start=Fraction(1)))


def _components(goals: Sequence[frozenset[int]]) -> Iterator[list[frozenset[int]]]:
    """Yields the goals of each component of the graph in which goals with a common frame are joined."""
    left = list(goals)
    while left:
        part, frames = [left.pop()], set[int]()
        frames |= part[0]
        while joined := [goal for goal in left if goal & frames]:
            left = [goal for goal in left if not goal & frames]
            part += joined
            frames |= frozenset().union(*joined)
        yield part


def _matchable_in(goals: Sequence[frozenset[int]]) -> Fraction:
    """Returns the number of tuples of frames with a perfect matching with the goals of one component."""
    types = _types(goals)
    masks = list(types)
    last = {goal: max(at for at, mask in enumerate(masks) if mask >> goal & 1) for goal in range(len(goals))}
    states: dict[frozenset[int], Fraction] = {frozenset((0,)): Fraction(1)}
    for at, (mask, weight) in enumerate(types.items()):
        closing = sum(1 << goal for goal in last if last[goal] == at)
        after: dict[frozenset[int], Fraction] = {}
        for family, ways in states.items():
            for count, grown in enumerate(_grown(family, mask)):
                kept = frozenset(matched & ~closing for matched in grown if matched & closing == closing)
                if kept:
                    more = ways * Fraction(weight**count, factorial(count))
                    after[kept] = after.get(kept, Fraction(0)) + more
        states = after
    return factorial(len(goals)) * sum(states.values(), start=Fraction(0))


def _types(goals: Sequence[frozenset[int]]) -> Mapping[int, int]:
    """Returns the number of frames by the set of goals for which they are valid, a bit mask, by their first frame."""
    counts: dict[int, int] = {}
    for frame in sorted(frozenset().union(*goals)):
        mask = sum(1 << at for at, goal in enumerate(goals) if frame in goal)
        counts[mask] = counts.get(mask, 0) + 1
    return counts


def _grown(family: frozenset[int], mask: int) -> Iterator[frozenset[int]]:
    """Yields the families of matched sets after 0, 1, 2, ... frames of the type `mask`, as long as there are any."""
    bits = [1 << at for at in range(mask.bit_length()) if mask >> at & 1]
    while family:
        yield family
        family = frozenset(matched | bit for matched in family for bit in bits if not matched & bit)


def template_means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Returns the mean of the values of each template that has any."""
    return {slug: sum(own) / len(own) for slug, own in values.items() if own}


def episode_bootstrap(
    scores: Sequence[float],
    slugs: Sequence[str],
    episodes: Sequence[str],
    *,
    resamples: int,
    draws: np.random.Generator,
) -> tuple[float, float]:
    """Returns the percentile interval (95 %) of the mean over templates of their means, resampling whole episodes.

    `scores`, `slugs` (templates) and `episodes` have one entry per question; `resamples` is the number of resamples
    from `draws`. Templates that a resample lacks are left out of its mean. With one
    episode the interval is [0, 1]. Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993).
    """
    days, kinds = list(dict.fromkeys(episodes)), list(dict.fromkeys(slugs))
    if len(days) < 2:
        return 0.0, 1.0
    places = np.array([days.index(each) for each in episodes]), np.array([kinds.index(each) for each in slugs])
    sums, counts = np.zeros((2, len(days), len(kinds)))
    np.add.at(sums, places, np.asarray(scores, float))
    np.add.at(counts, places, 1.0)
    weights = draws.multinomial(len(days), np.full(len(days), 1 / len(days)), size=resamples)
    total, number = weights @ sums, weights @ counts
    shares = np.divide(total, number, out=np.zeros_like(total), where=number > 0)
    means = shares.sum(axis=1) / (number > 0).sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
