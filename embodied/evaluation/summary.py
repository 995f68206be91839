"""The content of results.json, from the rows of an evaluation and its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from embodied.evaluation.controls import SWAPPED
from embodied.evaluation.episode_seeds import SEED_STRIDE
from embodied.evaluation.failing import policy_failures
from embodied.evaluation.metrics import following, phase_order, summarise
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.preflight import Parts
from embodied.evaluation.provenance import code_sha256, cpu, policy_settings, versions
from embodied.protocols import Task
from embodied.rollout.bank_feed.refusals import REFUSED
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.records import on_failure_of
from embodied.rollout.worker import WorkerConfig
from embodied.tasks.registry import suite_named, suite_names
from embodied.types import NORMAL, EpisodeRecord, ReportColumn


def summarised(evaluation: Evaluation, records: Sequence[EpisodeRecord], parts: Parts) -> dict[str, Any]:
    """Returns the content of results.json for the `records` and `parts` of an `evaluation`.

    It depends only on the rows, not on interruptions of the run. `tasks` describes episodes without a control,
    `policy_failures` the policies that made episodes invalid, `controls` episodes under a control, and `published` the
    published results of other authors for the same tasks; all but `tasks` are left out if empty.
    """
    tasks: dict[str, Any] = {}
    controls: dict[str, Any] = {}
    for name, task in evaluation.worker.tasks.items():
        own = [record for record in records if record.task_and_tier == name]
        chance = task.chance(evaluation.first_episode(name))
        phases = phase_order(own)
        entries: dict[str, dict[str, Any]] = {
            policy: {
                control: entry_of(
                    [r for r in own if (r.policy, r.control) == (policy, control)],
                    control,
                    chance=chance,
                    phases=phases,
                    columns=task.columns,
                )
                for control in evaluation.controls
                if control not in parts.obstacles.get(policy, {})
            }
            for policy in evaluation.worker.policies
        }
        tasks[name] = {policy: by_control.pop(NORMAL) for policy, by_control in entries.items()}
        controls[name] = {policy: by_control for policy, by_control in entries.items() if by_control}
    published = {name: dict(rates) for name, task in evaluation.worker.tasks.items() if (rates := _published(task))}
    return {
        "run": _run(evaluation, records, parts),
        "tasks": tasks,
        **({"policy_failures": failures} if (failures := policy_failures(records)) else {}),
        **({"controls": controls} if evaluation.worker.controls else {}),
        **({"published": published} if published else {}),
    }


def _run(evaluation: Evaluation, records: Sequence[EpisodeRecord], parts: Parts) -> dict[str, Any]:
    """Returns the settings and the provenance of the run."""
    run = {
        "id": evaluation.run,
        "suite": evaluation.suite,
        **({"about": suite_named(evaluation.suite).about} if evaluation.suite in suite_names() else {}),
        "tier": evaluation.tier,
        "policies": list(evaluation.worker.policies),
        "policy_settings": policy_settings({**evaluation.worker.team_policies, **evaluation.worker.policies}),
        **(
            {"weights": weights}
            if (weights := _weights({**evaluation.worker.policies, **evaluation.worker.team_policies}))
            else {}
        ),
        "privileged": list(parts.privileged),
        **({"stateless": list(parts.stateless)} if parts.stateless else {}),
        "episodes": evaluation.episodes,
        **({"seed": evaluation.seed} if evaluation.episode_list is None else {}),
        "episode_list": {"name": evaluation.list_name, "sha256": evaluation.as_list().sha256},
        **({"shard": str(evaluation.shard)} if evaluation.shard else {}),
        "split": evaluation.split,
        **({"salt": evaluation.salt} if evaluation.salt else {}),
        **_sampling(evaluation),
        "code_sha256": code_sha256(),
        "versions": versions(),
        "cpu": cpu(),
        "columns": {
            name: [asdict(column) for column in task.columns] for name, task in evaluation.worker.tasks.items()
        },
        "renderer": parts.renderer,
        **({"plugins": dict(evaluation.sources)} if evaluation.sources else {}),
        "wall_s": round(sum(record.wall_s for record in records), 3),
    }
    reactions = {name: reaction for name, task in evaluation.worker.tasks.items() if (reaction := on_failure_of(task))}
    run |= {"on_failure": reactions} if reactions else {}
    run |= {"outside": {name: list(texts) for name, texts in parts.remarks.items()}} if parts.remarks else {}
    run |= _team(evaluation.worker) | _memory(evaluation.worker, records)
    if not evaluation.worker.controls:
        return run
    return run | {"controls": list(evaluation.controls), "not_played": parts.obstacles}


def _sampling(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the version of the sampling by task, where there are several; the stride where seeds are consecutive."""
    tasks = evaluation.worker.tasks
    specs = {name: spec for name, task in tasks.items() if (spec := getattr(task, "spec", None)) is not None}
    in_order = any(getattr(task, "seeds_in_order", False) for task in tasks.values())
    return {**({"spec": specs} if specs else {}), **({"seed_stride": SEED_STRIDE} if in_order else {})}


def _team(worker: WorkerConfig) -> dict[str, Any]:
    """Returns the policy of each robot, the dispatcher, and the latency of decisions; empty for the defaults."""
    settings = worker.team_settings
    plain = {name: asdict(settings[name]) for name in ("dispatcher", "latency") if name in settings}
    return {**({"team": {robot: asdict(one) for robot, one in worker.team.items()}} if worker.team else {}), **plain}


def _memory(worker: WorkerConfig, records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Returns the sources of the bank of beliefs, the rate of looks, and the number of events that the bank refused.

    It is empty without a bank.
    """
    if worker.memory is None:
        return {}
    belief = worker.memory.belief
    settings = {"identity": str(belief.identity), "labels": str(belief.labels), "look_hz": belief.look_hz}
    refused = int(sum(record.metrics.get(REFUSED, 0.0) for record in records))
    return {"memory": settings | ({"refused": refused} if refused else {})}


def _weights(policies: Mapping[str, PolicyBuilder]) -> dict[str, dict[str, str]]:
    """Returns the weights of the policies: their name or folder, and their SHA-256."""
    return {
        name: {"from": str(getattr(policy, "weights", "")), "sha256": digest}
        for name, policy in policies.items() if (digest := getattr(policy, "digest", ""))
    }  # fmt: skip


def _published(task: Task) -> Mapping[str, float]:
    """Returns the published results of other authors for a task, empty for most tasks."""
    return getattr(task, "published", {})


def entry_of(
    records: Sequence[EpisodeRecord],
    control: str,
    *,
    chance: float | None,
    phases: Sequence[str],
    columns: Sequence[ReportColumn],
) -> dict[str, Any]:
    """Returns the entry of the `records` of one task, policy and `control`.

    `chance`, `phases` and `columns` are those of the task.
    """
    entry = summarise(records, chance=chance, phases=phases, columns=columns)
    return {**entry, "follows_donor": following(records)} if control == SWAPPED else entry
