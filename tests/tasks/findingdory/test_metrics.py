"""The thresholds and formulas of the metrics, by their literal values."""

from math import inf, radians

import pytest

from embodied.errors import GoalError
from embodied.tasks.findingdory import predicates
from embodied.tasks.findingdory.metrics import (
    high_level_spl,
    high_level_success,
    low_level_spl,
    low_level_success,
)


def test_thresholds_are_those_of_the_benchmark() -> None:
    assert (predicates.OBJECT_REACH_M, predicates.VIEWPOINT_REACH_M) == (2.0, 0.1)
    assert pytest.approx(radians(45)) == predicates.OBJECT_HEADING_RAD
    assert pytest.approx(radians(90)) == predicates.RECEPTACLE_HEADING_RAD
    assert predicates.LEAST_SHARE == 0.001
    far = predicates.Tests(distance=False, angle=True, coverage=True)
    assert (far.holds, far.holds_without_coverage, far.holds_without_distance) == (False, False, True)
    hidden = predicates.Tests(distance=True, angle=True, coverage=False)
    assert (hidden.holds, hidden.holds_without_coverage, hidden.holds_without_distance) == (False, True, False)
    turned = predicates.Tests(distance=True, angle=False, coverage=True)
    assert not (turned.holds or turned.holds_without_coverage or turned.holds_without_distance)


def test_every_answer_of_several_must_complete_a_new_goal() -> None:
    both, first, second, neither = frozenset((0, 1)), frozenset((0,)), frozenset((1,)), frozenset[int]()
    assert high_level_success([second, first], 2, ordered=False)
    assert not high_level_success([second, first], 2, ordered=True)
    assert high_level_success([both, first], 2, ordered=False)
    assert not high_level_success([both, first], 2, ordered=True)
    assert not high_level_success([first, first], 2, ordered=False)
    assert not high_level_success([both, neither], 2, ordered=False)
    assert not high_level_success([first, second, first], 2, ordered=False)
    assert not high_level_success([both], 2, ordered=False)
    assert not high_level_success([], 0, ordered=False)


def test_a_navigator_must_stop_in_time_where_the_predicate_is_true() -> None:
    there = predicates.Tests(distance=True, angle=True, coverage=True)
    assert low_level_success(there, stopped=True, steps=1_000)
    assert not low_level_success(there, stopped=True, steps=1_001)
    assert not low_level_success(there, stopped=False, steps=10)
    assert not low_level_success(predicates.Tests(distance=False, angle=True, coverage=True), stopped=True, steps=10)


def test_success_is_weighted_by_path_length() -> None:
    assert low_level_spl(4.0, 5.0, success=True) == pytest.approx(0.8)
    assert low_level_spl(4.0, 3.0, success=True) == 1.0
    assert low_level_spl(0.0, 0.0, success=True) == 1.0
    assert low_level_spl(0.0, 1.0, success=True) == 0.0
    assert low_level_spl(4.0, 4.0, success=False) == 0.0
    assert high_level_spl(2.0, 8.0, success=True, goals=1) == 0.25
    assert high_level_spl(2.0, inf, success=False, goals=1) == 0.0
    assert high_level_spl(2.0, 8.0, success=True, goals=3) is None


def test_values_that_mean_nothing_are_refused() -> None:
    with pytest.raises(GoalError):
        low_level_spl(inf, 1.0, success=True)
    with pytest.raises(GoalError):
        low_level_spl(1.0, -1.0, success=True)
