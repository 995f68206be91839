"""The records of episodes: one for each that was played, and for each that could not be."""

import time
from typing import Any

from embodied.protocols import Task
from embodied.rollout.job import EpisodeJob, EpisodeResult
from embodied.types import Episode, EpisodeRecord, Outcome, Progress


def lost_record(job: EpisodeJob, task: Task, reason: str) -> EpisodeRecord:
    """Returns the record of a `job` of `task` that no worker finished: INVALID for `reason`, variant -1 (unknown)."""
    return EpisodeRecord(
        run=job.run,
        episode=job.episode,
        attempt=job.attempt,
        task=task.name,
        tier=task.tier,
        policy=job.policy,
        variant=-1,
        seed=job.seed,
        outcome=Outcome.INVALID,
        reason=reason,
        phases=(),
        choice=None,
        steps=0,
        sim_time_s=0.0,
        wall_s=0.0,
        control=job.control,
        chain=job.chain,
    )


def record_of(
    job: EpisodeJob,
    episode: Episode,
    result: EpisodeResult,
    *,
    donor: str | None,
    started_s: float,
) -> EpisodeRecord:
    """Returns the record of the `result` of an `episode` that was played for `job`.

    `donor` is the target of the episode whose memory a control has put in, and `started_s` the reading of
    `time.perf_counter` at which it began.
    """
    progress = result.progress
    return EpisodeRecord(
        run=job.run,
        episode=job.episode,
        attempt=job.attempt,
        task=episode.task,
        tier=episode.tier,
        policy=job.policy,
        variant=episode.variant,
        seed=job.seed,
        outcome=progress.outcome,
        reason=progress.reason,
        phases=progress.reached,
        choice=_choice(episode, progress),
        steps=result.steps,
        sim_time_s=result.sim_time_s,
        wall_s=time.perf_counter() - started_s,
        control=job.control,
        donor=donor,
        chain=job.chain,
        metrics=dict(progress.metrics),
        robots=dict(result.robots) if len(result.robots) > 1 else {},
    )


def _choice(episode: Episode, progress: Progress) -> dict[str, Any] | None:
    if progress.choice is None:
        return None
    target = episode.choice_goal.target
    return {"chosen": progress.choice, "target": target, "correct": progress.choice == target}


def on_failure_of(task: Task) -> str:
    """Returns what a failed intent leads to in `task`, "" for the task's default."""
    chosen = str(getattr(task, "on_failure", ""))
    return "" if chosen == str(getattr(type(task), "on_failure", "")) else chosen
