"""Scoring of answers to the official questions: rows, results, comparisons, floors and ceiling by a second route."""

import json
import subprocess
import sys
from collections import defaultdict
from itertools import combinations_with_replacement, permutations
from math import factorial, prod
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embodied.errors import ConfigError, DataError, UnknownNameError
from embodied.evaluation.comparison import compare
from embodied.evaluation.finished_run import read_run
from embodied.evaluation.frame_questions import FramePlan, score
from embodied.evaluation.merging import ShardError, merge
from embodied.evaluation.results import decode_row
from embodied.tasks.findingdory.templates import ORDERED, TEMPLATES, parse
from tests.tasks.findingdory.official import FOLDER, SAMPLE, needs_official, official_rows

ROWS = [
    {"question": "Navigate to a pen.", "id": 10, "answer": [[3, 78]], "ep_id": "ep_1"},
    {"question": "Navigate to a cup.", "id": 11, "answer": [[5]], "ep_id": "ep_2"},
    {"question": "Navigate to a room that you did not visit yesterday.", "id": 12, "answer": [[-1]], "ep_id": "ep_1"},
    {
        "question": "Revisit all the objects you interacted with yesterday.",
        "id": 13,
        "answer": [[1, 2], [2, 95]],
        "ep_id": "ep_2",
    },
]
GIVEN = [{"id": 10, "answer": [3]}, {"id": 12, "answer": [40]}, {"id": 13, "answer": [95, 2]}]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    annotations, answers = tmp_path / "annotations.json", tmp_path / "answers.json"
    annotations.write_text(json.dumps(ROWS))
    answers.write_text(json.dumps(GIVEN))
    return annotations, answers


def scored(files: tuple[Path, Path], output: Path, **settings: Any) -> Any:
    plan = FramePlan(annotations=files[0], policies=["random", "answers"], answers=files[1], **settings)
    return score(plan, output=output, config="suite: findingdory_offline\n")


def test_answers_are_scored_with_floors_and_ceiling_beside_them(files: tuple[Path, Path], tmp_path: Path) -> None:
    results = scored(files, tmp_path / "out")
    overall = results["overall"]
    assert overall["answers"]["templates"] == {"recall_obj": 0.5, "room_not": 0.0, "all_obj": 1.0}
    assert overall["answers"]["mean"] == 0.5
    assert overall["answers"]["reasons"] == {"response error": 1, "no valid frame exists": 1}
    assert overall["constant"]["templates"] == {"recall_obj": 0.5, "room_not": 0.0, "all_obj": 0.0}
    assert overall["last"]["mean"] == 0.0
    assert overall["oracle"]["templates"] == {"recall_obj": 1.0, "room_not": 0.0, "all_obj": 1.0}
    # Ordered pairs that can be matched: (1, 2), (1, 95), (2, 95) and their exchange, and (2, 2).
    expected = {"recall_obj": 3 / 192, "room_not": 0.0, "all_obj": 7 / 9216}
    assert overall["random"]["templates"] == {slug: round(value, 6) for slug, value in expected.items()}
    assert results["tasks"]["all_obj"]["answers"]["chance"] == round(7 / 9216, 6)
    assert results["run"]["unsolvable"] == 1
    rows = [decode_row(line) for line in (tmp_path / "out" / "episodes.jsonl").read_bytes().splitlines()]
    own = {row.episode: row for row in rows if row.policy == "answers"}
    assert len(rows) == 8 and own["all_obj/validation/13"].metrics == {"goals": 2.0, "reached": 2.0}
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| answers | 50.0 |" in report and "ceiling: a valid frame wherever there is one" in report


def test_the_same_command_again_changes_nothing_and_another_needs_another_folder(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    scored(files, output)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    scored(files, output)
    assert before == {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(ConfigError, match="must hold one run"):
        scored(files, output, constant=3)


def test_two_methods_are_compared_question_by_question(files: tuple[Path, Path], tmp_path: Path) -> None:
    scored(files, tmp_path / "a")
    files[1].write_text(json.dumps([{"id": 11, "answer": [5]}, *GIVEN[1:]]))
    scored(files, tmp_path / "b")
    found = compare(read_run(tmp_path / "a"), read_run(tmp_path / "b"), policies=("answers", "answers"))
    [recall] = [each for each in found.contrasts if each.task == "recall_obj"]
    assert (recall.only_a, recall.only_b, recall.both) == (1, 1, 0)
    with pytest.raises(ShardError, match="Only shards"):
        merge([tmp_path / "a"], output=tmp_path / "merged")


def test_settings_that_do_not_fit_and_files_that_do_not_are_refused_before_anything_is_written(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    annotations, answers = files
    with pytest.raises(UnknownNameError, match="oracle"):
        FramePlan(annotations=annotations, policies=["oracel"])
    with pytest.raises(ConfigError, match="together"):
        FramePlan(annotations=annotations, policies=["answers"])
    with pytest.raises(ConfigError, match="together"):
        FramePlan(annotations=annotations, policies=["random"], answers=answers)
    with pytest.raises(ConfigError):
        FramePlan(annotations=annotations, policies=["random", "random"])
    with pytest.raises(ConfigError):
        FramePlan(annotations=annotations, constant=96)
    with pytest.raises(ConfigError):
        FramePlan(annotations=annotations, seed=-1)
    answers.write_text(json.dumps([*GIVEN, GIVEN[0]]))
    with pytest.raises(DataError, match="occur once"):
        scored(files, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_table_and_refuses_with_one_message(files: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launch.evaluate", "suite=findingdory_offline", f"annotations={files[0]}"]
    given = [f"answers={files[1]}", "policy=[answers]", f"output={tmp_path / 'out'}"]
    done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "floor: always frame 78" in done.stdout and "answers" in done.stdout
    assert (tmp_path / "out" / "report.html").exists()
    refused = subprocess.run(
        [*command, "answer=x", f"output={tmp_path / 'no'}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert refused.returncode == 2 and "Did you mean answers?" in refused.stderr
    assert not (tmp_path / "no").exists()


def matched(frames: tuple[int, ...], goals: list[set[int]]) -> bool:
    return any(all(f in g for f, g in zip(order, goals, strict=True)) for order in set(permutations(frames)))


def bounds_of_guessing(goals: list[set[int]], *, ordered: bool) -> tuple[float, float]:
    """Returns bounds of the probability that uniform frames are right: equal up to three goals, which are counted out.

    Above, the upper bound is the expected number of perfect matchings.
    """
    if ordered or len(goals) == 1:
        return (prod(len(goal) / 96 for goal in goals),) * 2
    if len(goals) > 3:
        return 0.0, factorial(len(goals)) * prod(len(goal) / 96 for goal in goals)
    union = sorted(set().union(*goals))
    right = [each for each in combinations_with_replacement(union, len(goals)) if matched(each, goals)]
    return (sum(len(set(permutations(each))) for each in right) / 96 ** len(goals),) * 2


@needs_official
def test_floors_and_ceiling_of_the_official_sample_agree_with_a_second_route(tmp_path: Path) -> None:
    output = tmp_path / "out"
    results = score(FramePlan(annotations=FOLDER / SAMPLE), output=output, config="")
    low, high, constant, ceiling = (defaultdict[str, list[float]](list) for _ in range(4))
    for row in official_rows():
        goals = [{frame for frame in goal if frame >= 0} for goal in row["answer"]]
        slug = parse(row["question"]).slug
        bounds = bounds_of_guessing(goals, ordered=TEMPLATES[slug].goals == ORDERED)
        low[slug].append(bounds[0])
        high[slug].append(bounds[1])
        constant[slug].append(float(all(78 in goal for goal in goals)))
        ceiling[slug].append(float(all(goals)))
    means = [sum(sum(own) / len(own) for own in each.values()) / 60 for each in (low, high, constant, ceiling)]
    overall = results["overall"]
    assert means[0] <= overall["random"]["mean"] <= means[1] < means[0] + 0.002
    assert overall["constant"]["mean"] == pytest.approx(means[2], abs=1e-6)
    assert overall["oracle"]["mean"] == pytest.approx(means[3], abs=1e-6)
    figures = [round(100 * overall[name]["mean"], 2) for name in ("random", "constant", "last", "oracle")]
    assert figures == [10.76, 15.07, 2.65, 95.21]
    rows = (output / "episodes.jsonl").read_bytes().splitlines()
    assert len(rows) == 3 * 1752 and msgspec.json.decode(rows[0])["task"] in TEMPLATES
