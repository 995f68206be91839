"""The figures of the results page are those of the rows beside it."""

import json
from pathlib import Path

import numpy as np
import pytest

from embodied.evaluation.metrics import wilson_interval

DOCS = Path(__file__).parents[2] / "docs"
FIRST_OF_LEARNERS = 133514427
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


def described(found):
    """The cells of the table of beliefs, from one result of its benchmark."""
    whole, cups = found["all"], found["cups"]
    right, queries = whole["containers"]["block"]["right"], whole["containers"]["block"]["queries"]
    alike, unlike = cups["alike_swapped"], cups["unlike_swapped"]
    costs = [task["cost"] for task in found["tasks"].values()]
    shares = [
        [cost[name] for cost in costs]
        for name in ("perception_share", "all_added_share", "all_added_share_where_the_policy_sees")
    ]
    return [
        f"{whole['within_15_mm']} of {whole['visible_blocks']} (worst {1000 * whole['error_m']['worst']:.1f} mm)",
        f"{right} of {queries} ({100 * right / queries:.1f} %)",
        f"{alike['may_be_the_other']} of {alike['cups']}",
        f"{unlike['placed_by_name']} of {unlike['cups']}",
        *(f"{100 * min(one):.1f} to {100 * max(one):.1f} %" for one in shares),
    ]


def test_the_table_of_beliefs_is_that_of_its_measurements():
    folder = DOCS / "results" / "belief"
    columns = [described(json.loads((folder / f"seeds_{seed}.json").read_text())) for seed in (0, 8000)]
    table = [line.strip("|").split("|") for line in (folder / "README.md").read_text().splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in row[1:]] for row in table[2:]]
    assert cells == [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("agent", ["ppo", "random"])
@pytest.mark.parametrize("training", sorted({row["training"] for row in rows("gymnasium")}))
def test_the_table_of_learners_is_that_of_its_rows(agent, training):
    found = rows("gymnasium", agent=agent, training=training)
    assert [row["seed"] for row in found] == list(range(FIRST_OF_LEARNERS, FIRST_OF_LEARNERS + 100))
    returns = np.array([row["return"] for row in found])
    mean, half = returns.mean(), 1.96 * returns.std(ddof=1) / 10
    reached = [sum(phase in row["phases"] for row in found) for phase in ("closed", "pressed")]
    cells = [agent, training, f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]", *reached]
    line = f"| {' | '.join(map(str, cells))} | {sum(row['success'] for row in found)} |"
    assert line in (DOCS / "results.md").read_text()
