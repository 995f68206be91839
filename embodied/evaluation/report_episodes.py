"""The episodes of a report one by one: a list of all of them, and which target led to which first choice."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embodied.evaluation.intent_lists import Key, intents_of
from embodied.rollout.intent_outcomes import IntentOutcome
from embodied.types import NORMAL, EpisodeRecord

MOST_INTENTS = 40


@dataclass(frozen=True)
class ChoiceTable:
    """How often each first choice was made for each target: `counts` by target and choice, in the order of `names`."""

    task: str
    policy: str
    names: Sequence[str]
    counts: Mapping[str, Mapping[str, int]]


def episode_rows(
    results: Mapping[str, Any],
    records: Sequence[EpisodeRecord],
    recorded: Collection[str],
    intents: Mapping[Key, Sequence[IntentOutcome]],
) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of the list of episodes by task, of the `records` of the tasks of `results`.

    `recorded` are the anchors of the videos of the page, `intents` those of each episode; of many the last are shown.
    """
    return {
        task: [
            {
                "record": record,
                "target": "" if record.choice is None else record.choice["target"],
                "chosen": "" if record.choice is None else record.choice["chosen"],
                "video": anchor(record) if anchor(record) in recorded else "",
                "intents": intents_of(record, intents)[-MOST_INTENTS:],
                "left_out": max(0, len(intents_of(record, intents)) - MOST_INTENTS),
            }
            for record in records
            if record.task_and_tier == task
        ]
        for task in results["tasks"]
    }


def choice_tables(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> list[ChoiceTable]:
    """Returns a table for each task and policy that made a choice, of the episodes without a control."""
    tables = []
    for task in results["tasks"]:
        for policy in results["run"]["policies"]:
            own = [r for r in records if (r.task_and_tier, r.policy, r.control) == (task, policy, NORMAL)]
            pairs = [(str(r.choice["target"]), str(r.choice["chosen"])) for r in own if r.choice is not None]
            if not pairs:
                continue
            names = sorted({name for pair in pairs for name in pair})
            counts = {target: {name: pairs.count((target, name)) for name in names} for target in names}
            tables.append(ChoiceTable(task, policy, names, counts))
    return tables


def anchor(record: EpisodeRecord) -> str:
    """Returns the anchor of an episode's video on the page."""
    parts = (record.task, record.tier, record.policy, record.control, str(record.seed))
    return "-".join("".join(sign if sign.isalnum() else "_" for sign in part) for part in parts)
