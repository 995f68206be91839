"""Frames as answers: what is right, what guessing scores, and files that cannot be used."""

import json
from fractions import Fraction
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embodied.errors import ConfigError, DataError
from embodied.seeding import stream
from embodied.tasks.findingdory.annotations import FrameQuestion, read_annotations, read_answers, remarks_on
from embodied.tasks.findingdory.scoring import (
    UNSOLVABLE,
    constant_answer,
    episode_bootstrap,
    goals_reached,
    judged,
    matchable_tuples,
    oracle_answer,
    random_answer,
    random_expectation,
)
from embodied.tasks.findingdory.templates import Question

NEAREST = Question("obj_int", {})
ALL = Question("all_obj", {})
ORDERED = Question("ord_obj", {"order": [2, 1]})


def row(question: Question, *goals: set[int]) -> FrameQuestion:
    return FrameQuestion(7, "ep_1", "", question, tuple(map(frozenset, goals)))


@pytest.mark.parametrize(
    ("question", "goals", "answer", "success", "reason"),
    [
        (NEAREST, [{3, 4}], (4,), True, ""),
        (NEAREST, [{3, 4}], (5,), False, "wrong frame"),
        (NEAREST, [{3, 4}], (), False, "wrong number of goals: 0 frames for 1 goals"),
        (NEAREST, [{3, 4}], (3, 4), False, "wrong number of goals: 2 frames for 1 goals"),
        (NEAREST, [{3, 4}], (-1,), False, "frame out of bounds: -1 is not in [0, 96)"),
        (NEAREST, [{3, 4}], (96,), False, "frame out of bounds: 96 is not in [0, 96)"),
        (NEAREST, [{3, 4}], None, False, "response error: no answer has its id"),
        (NEAREST, [set()], (4,), False, "no valid frame exists"),
        (ALL, [{1, 2}, {2, 3}], (3, 1), True, ""),
        (ALL, [{1, 2}, {2, 3}], (2, 2), True, ""),
        (ALL, [{1, 2}, {2, 3}], (1, 1), False, "wrong frame"),
        (ALL, [{1}, {1, 2}, {2, 3}], (2, 3, 1), True, ""),
        (ORDERED, [{1, 2}, {2, 3}], (1, 3), True, ""),
        (ORDERED, [{1, 2}, {2, 3}], (3, 1), False, "wrong frame"),
    ],
)
def test_an_answer_is_right_if_each_goal_gets_a_frame_of_its_own(
    question: Question, goals: list[set[int]], answer: tuple[int, ...] | None, success: bool, reason: str
) -> None:
    verdict = judged(row(question, *goals), answer)
    assert (verdict.success, verdict.reason) == (success, reason)


def test_matching_agrees_with_trying_all_permutations() -> None:
    draws = stream(0, "matching")
    for _ in range(200):
        count = int(draws.integers(1, 5))
        goals = [frozenset(np.flatnonzero(draws.random(6) < 0.4).tolist()) for _ in range(count)]
        answer = draws.integers(6, size=count).tolist()
        best = max(sum(f in g for f, g in zip(order, goals, strict=True)) for order in permutations(answer))
        assert goals_reached(goals, answer, ordered=False) == best


def test_the_expectation_of_random_frames_equals_a_count_of_all_tuples() -> None:
    draws = stream(0, "expectation")
    for _ in range(40):
        count = int(draws.integers(1, 5))
        goals = tuple(frozenset(np.flatnonzero(draws.random(6) < 0.45).tolist()) for _ in range(count))
        tuples = list(product(range(6), repeat=count))
        reached = [goals_reached(goals, each, ordered=False) for each in tuples]
        if all(goals):
            assert matchable_tuples(goals) == sum(value == count for value in reached)
        unordered = random_expectation(FrameQuestion(1, "", "", ALL, goals), frames=6)
        assert unordered == Fraction(sum(value == count for value in reached), len(tuples))
    ordered = random_expectation(row(ORDERED, {1, 2}, {2, 3, 4}), frames=10)
    assert ordered == Fraction(6, 100)


def test_draws_are_seeded_and_the_best_answer_is_right_wherever_there_is_one() -> None:
    solvable = row(ALL, {1, 2}, {2}, {5})
    assert oracle_answer(solvable) == (1, 2, 5)
    assert judged(solvable, oracle_answer(solvable)).success
    assert oracle_answer(row(ALL, {1}, set())) is None
    assert constant_answer(solvable, 78) == (78, 78, 78)
    first = random_answer(solvable, stream(3, "draw"))
    assert first == random_answer(solvable, stream(3, "draw")) and len(first) == 3


def test_the_interval_of_the_mean_resamples_whole_days() -> None:
    scores = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    slugs = ["a", "b"] * 3
    days = ["x", "x", "y", "y", "z", "z"]
    low, high = episode_bootstrap(scores, slugs, days, resamples=4_000, draws=stream(0, "interval"))
    assert (low, high) == (0.0, 1.0)  # Day y alone has 0, day x alone 1; each is drawn three times in 1 of 27.
    assert episode_bootstrap(scores, slugs, ["x"] * 6, resamples=10, draws=stream(0, "one")) == (0.0, 1.0)


def written(folder: Path, content: Any) -> Path:
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def annotated(**changes: Any) -> dict[str, Any]:
    plain = {
        "question": "The robot's goal is: Navigate to a pen.",
        "id": 1,
        "answer": [[3]],
        "ep_id": "ep_1",
        "low_level_category": "Object Recall",
    }
    return plain | changes


def test_annotations_are_read_with_their_questions_and_goals(tmp_path: Path) -> None:
    rows = [annotated(), annotated(id=2, answer=[[-1]]), annotated(id=3, answer=[[]], low_level_category="Time-Based")]
    found = read_annotations(written(tmp_path, rows))
    assert found[0].question == Question("recall_obj", {"category": "pen"})
    assert [each.goals for each in found] == [(frozenset({3}),), (frozenset(),), (frozenset(),)]
    assert judged(found[1], (0,)).reason == UNSOLVABLE
    remarks = remarks_on(found, {1: (3,), 9: (4,)})
    assert remarks == [
        "1 questions state another category than that of their template, such as id 3.",
        "1 answers have the id of no question, and do not count, such as id 9.",
    ]


@pytest.mark.parametrize(
    "content",
    [
        "[",
        "{}",
        "[]",
        [annotated(), annotated()],
        [annotated(answer=[[96]])],
        [annotated(answer=[[-2]])],
        [annotated(answer=[3])],
        [annotated(answer=None)],
        [annotated(id="1")],
        [annotated(id=-1)],
        [annotated(question="Make coffee.")],
        [{"question": "Navigate to a pen."}],
    ],
)
def test_annotations_that_cannot_be_used_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError) as error:
        read_annotations(written(tmp_path, content))
    assert error.value.rule and "file.json" in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        [{"id": 1}],
        [{"id": 1, "answer": 3}],
        [{"id": 1, "answer": [3.5]}],
        [{"id": 1, "answer": [True]}],
        [{"id": 1, "answer": [3]}, {"id": 1, "answer": [4]}],
        [{"id": "1", "answer": [3]}],
        [[1, 3]],
    ],
)
def test_answers_that_cannot_be_used_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError):
        read_answers(written(tmp_path, content))


def test_missing_files_and_impossible_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="readable file"):
        read_annotations(tmp_path / "absent.json")
    with pytest.raises(DataError, match="readable file"):
        read_answers(tmp_path)
    with pytest.raises(ConfigError):
        read_annotations(written(tmp_path, [annotated()]), frames=0)
