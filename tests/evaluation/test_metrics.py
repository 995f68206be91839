"""Intervals against published values and their own definitions."""

from dataclasses import replace
from math import comb, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.errors import ConfigError
from embodied.evaluation.metrics import chance_band, following, phase_order, reasons, summarise, wilson_interval
from embodied.tasks.goals import FIRST_CHOICE
from embodied.types import Outcome
from tests.evaluation.fakes import drawn, evaluation


@st.composite
def _counts(draw):
    trials = draw(st.integers(1, 400))
    return draw(st.integers(0, trials)), trials


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(successes, trials, low, high):
    interval = wilson_interval(successes, trials)
    assert interval == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


@given(_counts())
def test_the_ends_of_a_wilson_interval_lie_where_the_score_test_stops_doubting(counts):
    successes, trials = counts
    rate = successes / trials
    for end in wilson_interval(successes, trials):
        if end not in (0.0, 1.0):
            score = abs(rate - end) / (end * (1 - end) / trials) ** 0.5
            assert isclose(score, 1.959964, rel_tol=1e-5)


@given(_counts())
def test_a_wilson_interval_holds_its_rate_and_mirrors(counts):
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_nothing_tried_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_impossible_counts_are_refused():
    with pytest.raises(ConfigError, match="between 0 and the number of trials"):
        wilson_interval(5, 4)


@pytest.mark.parametrize(("chance", "band"), [(1 / 3, (24, 43)), (0.25, (17, 34)), (0.5, (40, 60)), (0.125, (6, 19))])
def test_bands_of_chance_at_a_hundred_episodes(chance, band):
    assert chance_band(chance, 100) == band


@given(st.floats(0.0, 1.0), st.integers(0, 120))
def test_a_band_of_chance_is_the_narrowest_with_at_most_a_fortieth_beyond_each_end(chance, trials):
    low, high = chance_band(chance, trials)
    mass = [comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]
    slack = 1e-9
    assert sum(mass[:low]) <= 0.025 + slack
    assert sum(mass[high + 1 :]) <= 0.025 + slack
    assert sum(mass[: low + 1]) > 0.025 - slack
    assert sum(mass[high:]) > 0.025 - slack


def _records(policy):
    plan = evaluation(episodes=20)
    jobs = [job for job in plan.jobs() if job.policy == policy and job.task.startswith("put")]
    return [drawn(plan.worker, job, wall_s=1.0) for job in jobs]


def test_a_summary_has_the_keys_of_the_results_file_in_order():
    entry = summarise(_records("expert"), chance=0.25, phases=("left_patch", "never"), columns=(FIRST_CHOICE,))
    assert list(entry) == [
        "episodes", "success", "success_rate", "ci95", "chance", "first_choice", "invalid", "phases",
    ]  # fmt: skip
    assert entry["success"] == entry["episodes"] == 20
    assert entry["first_choice"] == {"reached": 20, "correct": 20, "ci95": [0.838875, 1.0]}
    assert entry["phases"] == {"left_patch": 20, "never": 0}


def test_an_invalid_episode_is_counted_and_not_a_success():
    records = _records("expert")
    records[3] = replace(records[3], outcome=Outcome.INVALID, reason="worker lost", phases=(), choice=None)
    entry = summarise(records, chance=0.25, phases=(), columns=(FIRST_CHOICE,))
    assert (entry["episodes"], entry["success"], entry["invalid"]) == (20, 19, 1)
    assert entry["success_rate"] == 0.95
    assert reasons(records) == {("invalid", "worker lost"): 1}


def test_the_same_mishap_counts_as_one_reason_wherever_and_however_far_off_it_was():
    logged = [
        "controller: blocked: tool is 31 mm from its goal", "controller: blocked: tool is 7 mm from its goal",
        "blocked: tool is turned 0.31 rad from its goal", "blocked: tool is turned 1.20 rad from its goal",
        "unreachable: [0.1, 2.0]", "unreachable: [0.3, -1e-3]", "limit of 25 intents", "limit of 30 intents",
    ]  # fmt: skip
    records = [
        replace(record, outcome=Outcome.FAILURE, reason=reason)
        for record, reason in zip(_records("expert"), logged, strict=False)
    ]
    assert list(reasons(records).values()) == [2, 2, 2, 1, 1]


def test_first_choices_count_only_the_episodes_that_came_to_them():
    entry = summarise(_records("random"), chance=0.25, phases=(), columns=(FIRST_CHOICE,))
    assert entry["first_choice"] == {"reached": 0, "correct": 0, "ci95": [0.0, 1.0]}
    guesses = summarise(_records("guesser"), chance=0.25, phases=(), columns=(FIRST_CHOICE,))
    assert guesses["first_choice"]["reached"] == 20
    assert 0 < guesses["first_choice"]["correct"] == guesses["success"] < 20


def test_phases_stand_in_the_order_of_the_episodes_that_came_furthest():
    assert phase_order([*_records("random"), *_records("guesser")]) == (
        "left_patch", "reached_centre", "pressed_button", "returned",
    )  # fmt: skip


def test_following_counts_choices_of_episodes_that_had_a_donor_and_says_how_many_had_none():
    records = [replace(record, control="swapped", donor="patch_0") for record in _records("guesser")]
    records[0] = replace(records[0], donor=None, choice=None, outcome=Outcome.INVALID)
    records[1] = replace(records[1], choice=None)
    logged = following(records)
    chosen = [record.choice["chosen"] for record in records[2:]]
    assert (logged["reached"], logged["followed"]) == (18, chosen.count("patch_0"))
    assert 0 < logged["followed"] < 18
    assert logged["without_donor"] == 1
    assert logged["ci95"][0] < logged["followed"] / 18 < logged["ci95"][1]
    assert following([]) == {"reached": 0, "followed": 0, "ci95": [0.0, 1.0], "without_donor": 0}
