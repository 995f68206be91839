"""Selects the episodes that a report shows: a success, and of each policy a failure or a control of its memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from embodied.evaluation.controls import OFF, ORACLE, SWAPPED, WIPED
from embodied.types import NORMAL, EpisodeRecord, Outcome

MOVED_S = 1.0


def episodes_to_show(
    records: Sequence[EpisodeRecord], *, privileged: Iterable[str], policies: Sequence[str], per_task: int
) -> list[EpisodeRecord]:
    """Returns up to `per_task` of the `records` of each task and tier, of all `policies`.

    Where controls of memory were played, each policy that has a memory comes first, the most successful before the
    others: a success, a failure, a memory swapped, wiped, off, and one with hints. Then a success of the best policy,
    and one failure each. The best is the `privileged` policy with most successes, or any policy where none is
    privileged. Of the failures of a policy the one that reached most phases is shown, preferably one in which something
    moved, and among equals the lowest seed; of swapped memories preferably one whose choice followed the donor.
    """
    experts = set(privileged) or set(policies)
    chosen: list[EpisodeRecord] = []
    for task in dict.fromkeys((record.task, record.tier) for record in records):
        own = [record for record in records if (record.task, record.tier) == task]
        normal = [record for record in own if record.control == NORMAL]
        picks = _controlled(own, policies)
        picks.append(_success(normal, [policy for policy in policies if policy in experts]))
        picks += [_failure([record for record in normal if record.policy == policy]) for policy in policies]
        chosen += list({id(record): record for record in picks if record is not None}.values())[:per_task]
    return chosen


def video_name(record: EpisodeRecord) -> str:
    """Returns the file name of the video of an episode."""
    control = "" if record.control == NORMAL else f"-{record.control}"
    return f"{record.task}-{record.tier}-{record.policy}{control}-{record.seed}.mp4"


def video_path(folder: Path, record: EpisodeRecord) -> Path:
    """Returns the path of the video of an episode in the results folder `folder`."""
    return folder / "videos" / video_name(record)


def same_replay(first: EpisodeRecord, second: EpisodeRecord) -> bool:
    """Returns whether two plays of an episode are equal in everything but wall time."""
    keys = ("episode", "policy", "outcome", "reason", "phases", "choice", "steps", "control", "donor")
    return all(getattr(first, key) == getattr(second, key) for key in keys)


def _controlled(records: Sequence[EpisodeRecord], policies: Sequence[str]) -> list[EpisodeRecord | None]:
    def of(policy: str, control: str) -> list[EpisodeRecord]:
        return [record for record in records if (record.policy, record.control) == (policy, control)]

    def wins(policy: str) -> int:
        return sum(record.outcome is Outcome.SUCCESS for record in of(policy, NORMAL))

    tampered = {record.policy for record in records if record.control != NORMAL}
    picks: list[EpisodeRecord | None] = []
    for policy in sorted((policy for policy in policies if policy in tampered), key=lambda policy: -wins(policy)):
        swapped = of(policy, SWAPPED)
        follower = min((record for record in swapped if _followed(record)), key=lambda r: r.seed, default=None)
        picks += [_success(of(policy, NORMAL), [policy]), _failure(of(policy, NORMAL)), follower or _failure(swapped)]
        picks += [_failure(of(policy, WIPED)), _failure(of(policy, OFF)), _success(of(policy, ORACLE), [policy])]
    return picks


def _followed(record: EpisodeRecord) -> bool:
    return record.choice is not None and record.choice["chosen"] == record.donor


def _success(records: Sequence[EpisodeRecord], experts: Sequence[str]) -> EpisodeRecord | None:
    won = [record for record in records if record.outcome is Outcome.SUCCESS and record.policy in experts]
    counts = {policy: sum(record.policy == policy for record in won) for policy in experts}
    return min(
        won, key=lambda record: (-counts[record.policy], experts.index(record.policy), record.seed), default=None
    )


def _failure(records: Sequence[EpisodeRecord]) -> EpisodeRecord | None:
    lost = [record for record in records if record.outcome in (Outcome.FAILURE, Outcome.TIMEOUT)]
    return min(lost, key=lambda record: (-len(record.phases), record.sim_time_s < MOVED_S, record.seed), default=None)
