"""What episodes came to, to see that a change of the code changes nothing: `python -m tests.golden.baseline_rows`.

`write FILE` plays all of it in this process and writes a row of JSON per episode; `compare FILE` plays it again, says
which rows differ, and exits with 1 where any do. Expert and guesser are played in both tiers, SAM2Act+ in the strict
one, with its memory and without. `rows_ec2eb94.jsonl` holds the rows of that commit. They come out the same to the last
digit on one machine; another processor or other versions of the libraries may round differently.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from embodied.evaluation.plan import TEST_SPLIT
from embodied.rollout.job import EpisodeJob
from embodied.types import EpisodeRecord
from launch import cli
from tests.golden.evaluations import composed, inline

FIRST_SEED, SEEDS = 4242, 24
PLAYED = {  # By policy: the tiers and the controls.
    "expert": (("faithful", "strict"), ("normal",)),
    "guesser": (("faithful", "strict"), ("normal",)),
    "sam2act_plus": (("strict",), ("normal", "off")),
}
KEY = ("task", "tier", "policy", "control", "seed")
TIME_DECIMALS = 3
SHOWN = 5
Row = dict[str, Any]
_AS_THEN = re.compile(r"^limit of (\d+) intents$")  # Only the wording has changed.


def row_of(record: EpisodeRecord) -> Row:
    """Returns what must not change of an episode. The names are those of the file, whatever the code calls them."""
    choice = record.choice
    return {
        "task": record.task,
        "tier": record.tier,
        "policy": record.policy,
        "control": record.control,
        "seed": record.seed,
        "outcome": str(record.outcome),
        "reason": _AS_THEN.sub(r"keyframe limit of \1", record.reason),
        "phases": list(record.phases),
        "first_choice": None if choice is None else {name: choice[name] for name in ("chosen", "target", "correct")},
        "steps": record.steps,
        "sim_time_s": round(float(record.sim_time_s), TIME_DECIMALS),
    }


def played(policies: Sequence[str], seeds: int) -> Iterator[Row]:
    """Plays the episodes of some policies, and yields a row for each."""
    chosen = ("suite.spec=1", "tier=both", f"policy=[{','.join(policies)}]")
    plan = composed(*chosen, "controls=[normal,off]", "episodes=1")
    jobs = [
        EpisodeJob(
            run="baseline", episode=f"{task}/{TEST_SPLIT}/{seed}", task=task, policy=policy, seed=seed,
            split=TEST_SPLIT, control=control,
        )
        for task in plan.worker.tasks
        for seed in range(FIRST_SEED, FIRST_SEED + seeds)
        for policy in policies
        for control in PLAYED[policy][1]
        if task.rpartition("/")[2] in PLAYED[policy][0]
    ]  # fmt: skip
    with inline(plan.worker) as compute:
        for result in compute.run(jobs):
            yield row_of(result.record)


def write(file: Path, policies: Sequence[str], seeds: int) -> int:
    """Writes the rows, and says how often what succeeded."""
    rows = list(played(policies, seeds))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cli.print_text(f"{len(rows)} rows in {file.name}\n{table(rows)}")
    return 0


def compare(file: Path, policies: Sequence[str], seeds: int) -> int:
    """Says which rows of the file come out otherwise now; returns 1 where there are any."""
    known = {keyed(row): row for row in map(json.loads, file.read_text().splitlines())}
    wanted = {key for key, row in known.items() if row["policy"] in policies and row["seed"] < FIRST_SEED + seeds}
    now = {keyed(row): row for row in played(policies, seeds)}
    differing = [key for key in sorted(wanted | now.keys()) if known.get(key) != now.get(key)]
    for key in differing[:SHOWN]:
        cli.print_text(f"{file.name}: {json.dumps(known.get(key))}\nnow: {json.dumps(now.get(key))}\n")
    cli.print_text(f"{len(differing)} of {len(wanted | now.keys())} rows differ")
    return int(bool(differing))


def keyed(row: Row) -> tuple[Any, ...]:
    """Returns what identifies an episode among all others."""
    return tuple(row[name] for name in KEY)


def table(rows: Sequence[Row]) -> str:
    """Returns successes and right first choices by task, tier, policy and control."""
    groups = {keyed(row)[:-1]: None for row in rows}
    count, success, right = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    for row in rows:
        key, choice = keyed(row)[:-1], row["first_choice"]
        count[key] += 1
        success[key] += row["outcome"] == "success"
        right[key] += choice is not None and choice["correct"]
    lines = [f"{' '.join(key)}: {success[key]} of {count[key]}, first choice {right[key]}" for key in groups]
    return "\n".join(lines)


def main() -> int:
    """Enters with the words of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.baseline_rows", description=__doc__)
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default=",".join(PLAYED), help="policies, such as expert,guesser")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from the first on")
    given = parser.parse_args()
    policies = given.only.split(",")
    if unknown := [name for name in policies if name not in PLAYED]:
        parser.error(f"--only must name policies of {', '.join(PLAYED)}, not {', '.join(unknown)}")
    return {"write": write, "compare": compare}[given.what](given.file, policies, given.seeds)


if __name__ == "__main__":
    sys.exit(main())
