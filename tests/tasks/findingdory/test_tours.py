"""Tours are shortest: compared with trying all orders and places, and with known optima above twelve goals."""

from itertools import pairwise, permutations, product
from math import inf

import numpy as np
import pytest

from embodied.errors import GoalError
from embodied.seeding import stream
from embodied.tasks.findingdory.tours import Tour, ordered_tour, shortest_tour


def lengths(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the straight lengths from the first point to the others, and between those."""
    between = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return between[0, 1:], between[1:, 1:]


def tried(start_m: np.ndarray, between_m: np.ndarray, goals: list[list[int]], *, ordered: bool) -> float:
    """Returns the length of the shortest tour among all orders and places."""
    orders = [tuple(range(len(goals)))] if ordered else permutations(range(len(goals)))
    return min(
        start_m[places[0]] + sum(between_m[a, b] for a, b in pairwise(places))
        for order in orders
        for places in product(*(goals[goal] for goal in order))
    )


def test_tours_equal_the_best_of_all_orders_and_places() -> None:
    for seed in range(12):
        draws = stream(seed, "tours")
        start, between = lengths(draws.uniform(0, 10, size=(9, 2)))
        goals = [draws.permutation(8)[: draws.integers(1, 4)].tolist() for _ in range(5)]
        tour = shortest_tour(start, between, goals)
        assert tour.length_m == pytest.approx(tried(start, between, goals, ordered=False))
        assert sorted(tour.goals) == list(range(5))
        walked = start[tour.places[0]] + sum(between[a, b] for a, b in pairwise(tour.places))
        assert walked == pytest.approx(tour.length_m)
        assert all(place in goals[goal] for goal, place in zip(tour.goals, tour.places, strict=True))
        along = ordered_tour(start, between, goals)
        assert along.length_m == pytest.approx(tried(start, between, goals, ordered=True))
        assert along.goals == tuple(range(5)) and along.length_m >= tour.length_m


def test_twelve_goals_with_alternatives_are_exact() -> None:
    # On a line the best tour goes to the nearer end first, and back over all.
    start, between = lengths(np.array([[0.0, 0.0], *([float(x), 0.0] for x in range(-4, 20))]))
    goals = [[at, at + 12] if at in (1, 3) else [at] for at in range(4)] + [[at] for at in range(16, 24)]
    assert shortest_tour(start, between, goals).length_m == 4 + 4 + 19


def test_more_goals_are_found_by_exchanges_on_a_circle_and_on_a_grid() -> None:
    corners = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    circle = np.stack([10 * np.cos(corners), 10 * np.sin(corners)], axis=1)[stream(1, "circle").permutation(18)]
    start, between = lengths(np.concatenate([[[10.0, 0.0]], circle]))
    best = 17 * 20 * np.sin(np.pi / 18)
    assert shortest_tour(start, between, [[at] for at in range(18)]).length_m == pytest.approx(best)
    grid = np.array([[float(x), float(y)] for x in range(4) for y in range(4)])[stream(2, "grid").permutation(16)]
    start, between = lengths(np.concatenate([[[0.0, 0.0]], grid]))
    assert shortest_tour(start, between, [[at] for at in range(16)]).length_m == pytest.approx(15.0)


def test_tours_are_anchored_at_the_start_and_infinite_where_a_goal_cannot_be_reached() -> None:
    start, between = np.array([5.0, 1.0]), np.array([[0.0, 2.0], [2.0, 0.0]])
    assert shortest_tour(start, between, [[0], [1]]) == Tour(3.0, (1, 0), (1, 0))
    assert ordered_tour(start, between, [[0], [1]]) == Tour(7.0, (0, 1), (0, 1))
    assert shortest_tour(start, between, [[0, 1], [1]]) == Tour(1.0, (0, 1), (1, 1))
    assert shortest_tour(start, between, []) == ordered_tour(start, between, []) == Tour(0.0)
    cut = np.array([inf, 1.0])
    assert shortest_tour(cut, np.array([[0.0, inf], [inf, 0.0]]), [[0], [1]]).length_m == inf
    assert ordered_tour(cut, np.array([[0.0, inf], [inf, 0.0]]), [[1], [0]]) == Tour(inf)
    apart = np.full((14, 14), inf)
    assert shortest_tour(np.full(14, 1.0), apart, [[at] for at in range(14)]) == Tour(inf)


@pytest.mark.parametrize(
    ("start", "between", "goals"),
    [
        ([1.0], [[0.0, 1.0]], [[0]]),
        ([-1.0], [[0.0]], [[0]]),
        ([float("nan")], [[0.0]], [[0]]),
        ([1.0], [[0.0]], [[]]),
        ([1.0], [[0.0]], [[1]]),
    ],
)
def test_lengths_and_goals_that_do_not_fit_are_refused(
    start: list[float], between: list[list[float]], goals: list[list[int]]
) -> None:
    for tour in (shortest_tour, ordered_tour):
        with pytest.raises(GoalError):
            tour(np.array(start), np.array(between), goals)
