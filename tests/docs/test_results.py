"""The figures of the results page are those of the rows beside it."""

import json
from pathlib import Path

import pytest

from embodied.evaluation.metrics import wilson_interval

DOCS = Path(__file__).parents[2] / "docs"
TASKS = ("reopen_drawer", "put_block_back", "rearrange_block")


def rows(folder, **wanted):
    lines = (DOCS / "results" / folder / "episodes.jsonl").read_text().splitlines()
    read = [{"control": "normal", **json.loads(line)} for line in lines]
    return [row for row in read if all(row[name] == value for name, value in wanted.items())]


def cell(hits):
    low, high = wilson_interval(sum(hits), len(hits))
    return f"{100 * sum(hits) / len(hits):.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def success(found):
    return cell([row["outcome"] == "success" for row in found])


def first_choice(found):
    return cell([row["choice"]["correct"] for row in found if row["choice"]])


def chance(folder, task):
    """What chance would score, as a table writes it: 33.3, 25 or 50."""
    tasks = json.loads((DOCS / "results" / folder / "results.json").read_text())["tasks"]
    (value,) = {
        entry["chance"] for name, found in tasks.items() if name.split("/")[0] == task for entry in found.values()
    }
    return f"{100 * value:.3g}"


@pytest.mark.parametrize("task", TASKS)
def test_the_table_of_expert_and_guesser_is_that_of_its_rows(task):
    bounds = [success(rows("ceiling", task=task, tier=tier, policy="expert")) for tier in ("faithful", "strict")]
    guesses = [first_choice(rows("ceiling", task=task, tier=tier, policy="guesser")) for tier in ("faithful", "strict")]
    line = f"| {task} | {' | '.join([*bounds, *guesses, chance('ceiling', task)])} |"
    assert line in (DOCS / "results.md").read_text()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("control", ["normal", "off", "wiped", "swapped"])
def test_the_table_of_memory_is_that_of_its_rows(task, control):
    found = rows("memory", task=task, control=control)
    assert len(found) == 50
    followed = "-"
    if control == "swapped":
        with_donor = [row for row in found if row["donor"] and row["choice"]]
        followed = cell([row["choice"]["chosen"] == row["donor"] for row in with_donor])
    line = f"| {task} | {control} | {success(found)} | {first_choice(found)} | {followed} | {chance('memory', task)} |"
    assert line in (DOCS / "results.md").read_text()
