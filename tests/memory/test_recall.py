"""Ranking of recalled moments by similarity, time, place and robot together."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embodied.errors import MemoryBankError
from embodied.memory import (
    Event,
    MomentStored,
    Order,
    Query,
    Ranking,
    Recalled,
    Situation,
    open_bank,
    rank,
    recall_ranked,
)
from embodied.memory.queries.ranking import WEIGHTS
from embodied.types import Moment

HERE = Situation(time_s=1000.0, position_m=(0.0, 0.0, 0.0), robot="panda")


def recalled(
    seq: int, *, similarity: float = 0.0, time_s: float = 0.0, x: float = 9.0, robot: str = "kuka"
) -> Recalled:
    moment = Moment(np.array([1.0], np.float32), None, "clip", time_s, (x, 0.0, 0.0), robot, "e")
    return Recalled(moment, seq, similarity)


def only(**weights: float) -> Ranking:
    return Ranking(**{**dict.fromkeys(WEIGHTS, 0.0), **weights})  # type: ignore[arg-type]


def order(found: Sequence[Recalled], ranking: Ranking) -> list[int]:
    return [one.recalled.seq for one in rank(found, HERE, ranking)]


def test_each_part_alone_puts_its_own_favourite_first() -> None:
    found = [
        recalled(1, similarity=0.9),
        recalled(2, time_s=990.0),
        recalled(3, x=0.1),
        recalled(4, robot="panda"),
    ]
    assert [order(found, only(**{name: 1.0}))[0] for name in WEIGHTS] == [1, 2, 3, 4]


def test_a_compromise_wins_over_what_is_best_in_one_part_only() -> None:
    found = [recalled(1, similarity=1.0), recalled(2, similarity=0.8, time_s=1000.0, x=0.0), recalled(3, x=0.0)]
    assert order(found, Ranking())[0] == 2


def test_time_and_place_halve_with_their_half_lives_in_both_directions() -> None:
    ranking = Ranking(half_life_s=100.0, half_distance_m=2.0)
    before, after = recalled(1, time_s=900.0, x=2.0), recalled(2, time_s=1200.0, x=-4.0)
    parts = {one.recalled.seq: one.parts for one in rank([before, after], HERE, ranking)}
    assert (parts[1]["time"], parts[1]["place"]) == (0.5, 0.5)
    assert (parts[2]["time"], parts[2]["place"]) == (0.25, 0.25)


def test_only_the_ratios_of_weights_matter_and_equals_are_ordered_by_number() -> None:
    found = [recalled(7, similarity=0.5), recalled(3, similarity=0.5)]
    once, twice = rank(found, HERE, only(similarity=1, time=1)), rank(found, HERE, only(similarity=2, time=2))
    assert [one.score for one in once] == [one.score for one in twice]
    assert [one.recalled.seq for one in once] == [3, 7]


def test_moments_recalled_without_an_embedding_are_ranked_by_the_rest() -> None:
    found = [recalled(1, similarity=math.nan, x=5.0), recalled(2, similarity=math.nan, x=1.0)]
    assert order(found, Ranking()) == [2, 1]


@given(
    st.floats(-1.0, 1.0), st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.lists(st.floats(0, 10), min_size=4, max_size=4)
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_scores_lie_between_nothing_and_one(similarity: float, time_s: float, x: float, weights: list[float]) -> None:
    if sum(weights) == 0:
        weights = [1.0, *weights[1:]]
    ranking = only(**dict(zip(WEIGHTS, weights, strict=True)))
    (one,) = rank([recalled(1, similarity=similarity, time_s=time_s, x=x)], HERE, ranking)
    assert 0.0 <= one.score <= 1.0 + 1e-12


@pytest.mark.parametrize(
    "wrong",
    [
        {"similarity": -1.0},
        {"time": math.nan},
        {"similarity": 0.0, "time": 0.0, "place": 0.0},
        {"half_life_s": 0.0},
        {"half_distance_m": -1.0},
        {"candidates": 0},
    ],
)
def test_invalid_weights_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(MemoryBankError):
        Ranking(**wrong)  # type: ignore[arg-type]


def test_a_bank_is_asked_for_candidates_and_the_best_come_back_in_the_wanted_order() -> None:
    angles = {1: 0.0, 2: 30.0, 3: 20.0, 4: 90.0}
    with open_bank(":memory:") as bank:
        for number, angle in angles.items():
            vector = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))], "<f4")
            payload = MomentStored("e", "clip", vector.tobytes(), (50.0 if number == 1 else 0.1 * number, 0.0, 0.0))
            bank.append(Event(f"panda/{number}", 1, 1000.0 - number, payload, robot="panda"))

        def asked(wanted: Order, candidates: int) -> list[int]:
            query = Query(embedding=np.array([1.0, 0.0]), model_id="clip", top_k=2, order=wanted)
            ranking = Ranking(similarity=1.0, place=1.0, time=0.0, candidates=candidates)
            return [one.recalled.seq for one in recall_ranked(bank.recall, query, HERE, ranking)]

        assert asked(Order.SIMILARITY, 100) == [2, 3]
        assert asked(Order.OLDEST, 100) == [3, 2]
        assert asked(Order.NEWEST, 100) == [2, 3]
        assert asked(Order.SIMILARITY, 1) == [3, 1]  # Never fewer candidates than are wanted: the two most alike.
