"""Which episodes a report shows: one that went right, and of each policy one that did not."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from embodied.types import EpisodeRecord, Outcome

MOVED_S = 1.0


def worth_seeing(
    records: Sequence[EpisodeRecord], *, privileged: Iterable[str], policies: Sequence[str], per_task: int
) -> list[EpisodeRecord]:
    """Returns up to `per_task` episodes of each task and tier: a success of the best policy, then one failure each.

    The best is the privileged policy with most successes, or any policy where none is privileged. Of the failures of a
    policy the one that came furthest is shown, rather one in which something moved, and among equals the lowest seed.
    """
    experts = set(privileged) or set(policies)
    chosen: list[EpisodeRecord] = []
    for task in dict.fromkeys((record.task, record.tier) for record in records):
        own = [record for record in records if (record.task, record.tier) == task]
        picks = [_success(own, [policy for policy in policies if policy in experts])]
        picks += [_failure([record for record in own if record.policy == policy]) for policy in policies]
        chosen += [record for record in picks if record is not None][:per_task]
    return chosen


def film_name(record: EpisodeRecord) -> str:
    """Returns the file name of the film of an episode."""
    return f"{record.task}-{record.tier}-{record.policy}-{record.seed}.mp4"


def film_path(folder: Path, record: EpisodeRecord) -> Path:
    """Returns where the film of an episode lies in the results folder `folder`."""
    return folder / "videos" / film_name(record)


def same_course(first: EpisodeRecord, second: EpisodeRecord) -> bool:
    """Returns whether two plays of an episode went the same way."""
    keys = ("episode", "policy", "outcome", "reason", "phases", "first_choice", "steps")
    return all(getattr(first, key) == getattr(second, key) for key in keys)


def _success(records: Sequence[EpisodeRecord], experts: Sequence[str]) -> EpisodeRecord | None:
    won = [record for record in records if record.outcome is Outcome.SUCCESS and record.policy in experts]
    counts = {policy: sum(record.policy == policy for record in won) for policy in experts}
    return min(
        won, key=lambda record: (-counts[record.policy], experts.index(record.policy), record.seed), default=None
    )


def _failure(records: Sequence[EpisodeRecord]) -> EpisodeRecord | None:
    lost = [record for record in records if record.outcome in (Outcome.FAILURE, Outcome.TIMEOUT)]
    return min(lost, key=lambda record: (-len(record.phases), record.sim_time_s < MOVED_S, record.seed), default=None)
