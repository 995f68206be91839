"""The thresholds and formulas of the metrics, by their literal values."""

from math import inf, radians

import pytest

from embodied.errors import GoalError
from embodied.tasks.findingdory.metrics import (
    Approach,
    high_level_spl,
    high_level_success,
    low_level_failure,
    low_level_spl,
    low_level_success,
    near,
    reached,
    seen,
)


@pytest.mark.parametrize(
    ("kind", "approach", "expected"),  # Of HL-SR, DTG-SR and SC-SR.
    [
        ("object", Approach(2.0, radians(45), 0.001), (True, True, True)),
        ("object", Approach(2.001, radians(45), 0.001), (False, False, True)),
        ("object", Approach(2.0, radians(-45.1), 0.001), (False, False, False)),
        ("object", Approach(2.0, radians(0), 0.0009), (False, True, False)),
        ("receptacle", Approach(0.1, radians(90), 0.001), (True, True, True)),
        ("receptacle", Approach(0.101, radians(90), 0.001), (False, False, True)),
        ("receptacle", Approach(0.1, radians(90.1), 0.001), (False, False, False)),
        ("receptacle", Approach(0.1, radians(0), 0.0), (False, True, False)),
        ("room", Approach(inside=True), (True, True, True)),
        ("room", Approach(0.0, 0.0, 1.0), (False, False, False)),
    ],
)
def test_thresholds_are_those_of_the_benchmark(
    kind: str, approach: Approach, expected: tuple[bool, bool, bool]
) -> None:
    assert (reached(kind, approach), near(kind, approach), seen(kind, approach)) == expected


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


def test_a_navigator_must_stop_in_time_where_the_entity_is_reached() -> None:
    there = Approach(1.0, 0.0, 0.01)
    assert low_level_success("object", there, stopped=True, steps=1_000)
    assert not low_level_success("object", there, stopped=True, steps=1_001)
    assert not low_level_success("object", there, stopped=False, steps=10)
    assert not low_level_success("object", Approach(2.2, 0.0, 0.01), stopped=True, steps=10)
    assert low_level_failure("object", Approach(2.2, 0.0, 0.01)) == "in view, slightly far"
    assert low_level_failure("receptacle", Approach(2.5, 0.0, 0.0)) == "out of view, far"
    assert low_level_failure("receptacle", Approach(0.1, 0.0, 0.0)) == "out of view, near"


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
    with pytest.raises(GoalError):
        reached("wall", Approach())
