"""Failing policies: their tracebacks, when a run stops playing one, and their entry in the results."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from embodied.rollout.job import EpisodeJob, JobResult
from embodied.types import EpisodeRecord, Outcome

FIRST_EPISODES = 3
ERRORS_FILE = Path("logs", "policy_errors.txt")
NOT_PLAYED = "not played: "
_CAUSED_BY_POLICIES = ("PolicyFaultError: ", "IntentError: ")

_log = logging.getLogger(__name__)


def append_traceback(folder: Path, result: JobResult) -> None:
    """Appends the traceback of a policy that has ended an episode to `ERRORS_FILE` of the output `folder`."""
    record = result.record
    if result.traceback:
        (folder / ERRORS_FILE).parent.mkdir(exist_ok=True)
        with (folder / ERRORS_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{record.episode} by {record.policy}, {record.control}: {record.reason}\n{result.traceback}\n")


def failure_of(record: EpisodeRecord) -> str:
    """Returns the rule that the policy of an episode has broken, "" for an episode that it has not made invalid."""
    invalid = record.outcome is Outcome.INVALID and record.reason.startswith(_CAUSED_BY_POLICIES)
    return record.reason.partition(" Got ")[0] if invalid else ""


def policy_failures(records: Iterable[EpisodeRecord]) -> dict[str, Any]:
    """Returns the policies that made episodes invalid: how many, how many were then not played, and the first reason.

    The reason comes from the lowest seed, so that it does not depend on the order in which episodes end.
    """
    found: dict[str, Any] = {}
    for record in sorted(records, key=lambda record: (record.policy, record.task_and_tier, record.seed)):
        failed, skipped = bool(failure_of(record)), record.reason.startswith(NOT_PLAYED)
        if failed or skipped:
            entry = found.setdefault(record.policy, {"episodes": 0, "not_played": 0, "reason": ""})
            entry["episodes"] += failed
            entry["not_played"] += skipped
            entry["reason"] = entry["reason"] or (record.reason if failed else "")
    return found


class FailingPolicies:
    """Decides which policies are stopped: those that broke the same rule in each of their first episodes.

    A policy is judged separately under each control. `done` are the episodes that the output `folder` holds already.
    """

    def __init__(self, folder: Path, done: Iterable[EpisodeRecord]) -> None:
        self._folder = folder
        self._first: dict[tuple[str, str], list[str]] = {}
        for record in done:
            self._note(record)

    def note(self, result: JobResult) -> None:
        """Records the result of an episode; logs the first failure of each policy, and when it is stopped."""
        record, key = result.record, (result.record.policy, result.record.control)
        append_traceback(self._folder, result)
        new = failure_of(record) and not any(self._first.get(key, ()))
        stopped = self.stopped(*key)
        self._note(record)
        if new:
            more = f" The traceback is in {self._folder / ERRORS_FILE}." if result.traceback else ""
            _log.warning("%s by %s is invalid: %s%s", record.episode, record.policy, record.reason, more)
        if not stopped and self.stopped(*key):
            _log.warning("No more episodes are played with %s: it failed in its first %d.", key[0], FIRST_EPISODES)

    def stopped(self, policy: str, control: str) -> bool:
        """Returns whether `policy` is stopped under `control`."""
        first = self._first.get((policy, control), [])
        return len(first) == FIRST_EPISODES and first[0] != "" and len(set(first)) == 1

    def reason(self, job: EpisodeJob) -> str:
        """Returns why the episode of `job` is not played."""
        (rule, *_) = self._first[job.policy, job.control]
        return f"{NOT_PLAYED}the first {FIRST_EPISODES} episodes of {job.policy} ended with {rule}"

    def still_played(self, units: Sequence[EpisodeJob]) -> Sequence[EpisodeJob]:
        """Returns `units` as a sequence whose iteration omits those of policies that have been stopped by then."""
        return _StillPlayed(units, self)

    def _note(self, record: EpisodeRecord) -> None:
        first = self._first.setdefault((record.policy, record.control), [])
        if len(first) < FIRST_EPISODES and not record.reason.startswith(NOT_PLAYED):
            first.append(failure_of(record))


class _StillPlayed(Sequence[EpisodeJob]):
    def __init__(self, units: Sequence[EpisodeJob], failing: FailingPolicies) -> None:
        self._units = units
        self._failing = failing

    def __iter__(self) -> Iterator[EpisodeJob]:
        return (unit for unit in self._units if not self._failing.stopped(unit.policy, unit.control))

    def __len__(self) -> int:
        return len(self._units)

    @overload
    def __getitem__(self, place: int) -> EpisodeJob: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[EpisodeJob]: ...

    def __getitem__(self, place: int | slice) -> EpisodeJob | Sequence[EpisodeJob]:
        return self._units[place]
