"""Many workers on Ray: results as they finish, deadlines from outside, retries that count nothing twice."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Self

import psutil
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from embodied.errors import EmbodiedError
from embodied.plugins import import_failure, not_importable
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.progress import with_progress
from embodied.rollout.ray.cluster import end_processes, signals_ignored
from embodied.rollout.ray.node import WorkerCode, driver_code, shared_value
from embodied.rollout.ray.policy_workers import PolicyWorkerLimits, hosted_policies
from embodied.rollout.ray.worker_output import SIMULATOR_FILES, redirect_output, remove_empty_files
from embodied.rollout.records import lost_record
from embodied.rollout.worker import SimulatorWorker, WorkerConfig, thread_environment

logger = logging.getLogger(__name__)

POLL_S = 1.0
REMOTE_KILL_WAIT_S = 10.0
SHUTDOWN_TIMEOUT_S = 2.0


class WorkersDiedError(EmbodiedError):
    """Workers died repeatedly, and no episode finished in between: the machine or the set-up is at fault."""


@dataclass(frozen=True)
class PoolLimits:
    """The limits of `ComputeConfig`, checked."""

    workers: int
    deadline_s: float
    start_deadline_s: float
    max_attempts: int
    max_restarts: int
    policy_workers: int = 0

    @property
    def of_policies(self) -> PolicyWorkerLimits:
        """Those of policy workers, as shares of an episode's time."""
        return PolicyWorkerLimits(
            actors=self.policy_workers,
            clients=self.workers,
            start_deadline_s=self.start_deadline_s,
            decision_s=self.deadline_s / 4,
            answer_s=self.deadline_s * 0.9,
            max_restarts=self.max_restarts,
        )


@dataclass(frozen=True)
class WorkerProcess:
    """Identifies a process of a node. Process ids are reused, so the start time is part of the identity."""

    node: str
    pid: int
    started_s: float


class PooledWorker:
    """A `SimulatorWorker` that reports its process, so that it can be killed when it no longer answers.

    `code` is loaded before the configuration is read, which may need it; for that reason `config` is a list that holds
    a reference to it. What it prints goes to the file of worker `number` in `log_folder`.
    """

    def __init__(self, code: WorkerCode, config: Sequence[Any], log_folder: str, number: int) -> None:
        redirect_output(log_folder, SIMULATOR_FILES.format(number))
        self._code = code
        self._config = config
        self._worker: SimulatorWorker | None = None

    def process(self) -> WorkerProcess:
        """Returns the process of this worker once it is ready to play.

        Raises `PluginError` for code that cannot be imported here or differs from the driver's.
        """
        if self._worker is None:
            self._worker = self._ready()
        return WorkerProcess(ray.get_runtime_context().get_node_id(), os.getpid(), psutil.Process().create_time())

    def run(self, job: EpisodeJob) -> JobResult:
        """Plays a job, as `SimulatorWorker.run`."""
        self._worker = self._worker or self._ready()
        return self._worker.run(job)

    def _ready(self) -> SimulatorWorker:
        self._code.load()
        return SimulatorWorker(shared_value(self._config))


@dataclass(eq=False)
class _Member:
    """One live worker; `pending` is the answer that it must give before `due_s`.

    A worker that is new or was idle is asked for its process first; `begun` is set once it has answered and the episode
    starts.
    """

    actor: Any
    pending: Any = None
    due_s: float = 0.0
    job: EpisodeJob | None = None
    begun: bool = False
    process: WorkerProcess | None = None


class RayPool:
    """Plays jobs on Ray actors, one episode at a time each.

    Ray itself restarts and retries nothing. A worker that dies or exceeds its deadline is killed permanently, and its
    episode is tried again on a new worker. The reference to the answer of a killed worker is dropped, so no result is
    counted twice.
    """

    def __init__(
        self, config: WorkerConfig, limits: PoolLimits, cluster: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._config = config
        self._limits = limits
        self._cluster = cluster
        self._resources = ExitStack()
        self._shared_config: Any = None
        self._members: list[_Member] = []
        self._deaths_in_a_row = 0
        self._numbers = count(1)

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            resources.enter_context(self._cluster())
            resources.callback(self._shut_down_workers)
            config = self._config
            if self._limits.policy_workers:
                config = resources.enter_context(hosted_policies(config, driver_code(), self._limits.of_policies))
            if self._config.log_folder:
                own = "policy-worker-N.txt and " if self._limits.policy_workers else ""
                logger.info("What policies print goes to %sworker-N.txt in %s.", own, self._config.log_folder)
            self._shared_config = ray.put(config)  # Once, by reference: it may hold weights.
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.__exit__(kind, error, trace)
        remove_empty_files(self._config.log_folder)

    @property
    def place(self) -> str:
        """The number of workers, for log messages."""
        own, deciding = self._limits.workers, self._limits.policy_workers
        place = f"{own} worker{'s' * (own > 1)}"
        return f"{place}, {deciding} policy worker{'s' * (deciding > 1)}" if deciding else place

    @property
    def episodes_at_once(self) -> int:
        """As many as there are workers."""
        return self._limits.workers

    def run(self, jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
        """Yields one result per episode, as jobs finish; a job is read only when a worker is free for it.

        Raises `WorkersDiedError`, and whatever a worker raises about the run as a whole, such as `ConfigError`.
        """
        try:
            yield from with_progress(self._results(iter(jobs)), jobs)
        finally:
            self._shut_down_workers(only_busy=True)  # Their results are no longer needed.

    def _results(self, source: Iterator[EpisodeJob]) -> Iterator[JobResult]:
        again = deque[EpisodeJob]()
        while True:
            self._assign_jobs(source, again)
            busy = {member.pending: member for member in self._members if member.job is not None}
            if not busy:
                return
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=self._timeout_s(busy.values()))
            results = [result for pending in ready for result in self._collect(busy[pending], again)]
            for member in _late([member for pending, member in busy.items() if pending not in ready]):
                results += self._end_worker(
                    member, f"it ran past its deadline of {self._deadline_s(member):g} s", again
                )
            self._assign_jobs(source, again, alive=[busy[pending] for pending in ready])
            yield from results  # Yielded after the next jobs are sent: no worker waits while results are saved.

    def _assign_jobs(
        self, source: Iterator[EpisodeJob], again: deque[EpisodeJob], *, alive: Sequence[_Member] = ()
    ) -> None:
        """Gives a job to every idle worker, and starts workers while jobs remain; those `alive` have just answered."""
        while True:
            free = next((member for member in self._members if member.job is None), None)
            if free is None and len(self._members) >= self._limits.workers:
                return
            job = again.popleft() if again else next(source, None)
            if job is None:
                return
            if free is None:
                self._members.append(self._start_worker(job))
            elif free in alive:
                free.job = job
                self._begin(free)
            else:
                self._check_alive(free, job)

    def _start_worker(self, job: EpisodeJob) -> _Member:
        code = driver_code()
        environment = {**thread_environment(self._config.threads), "PYTHONPATH": code.python_path}
        remote_class: Any = ray.remote(PooledWorker)
        actor = remote_class.options(
            num_cpus=1, max_restarts=0, max_task_retries=0, runtime_env={"env_vars": environment}
        ).remote(code, [self._shared_config], self._config.log_folder, next(self._numbers))
        member = _Member(actor)
        self._check_alive(member, job)
        return member

    def _check_alive(self, member: _Member, job: EpisodeJob) -> None:
        """Checks that the worker answers before it is given `job`.

        A worker that died while idle must not cost an attempt.
        """
        member.job, member.begun = job, False
        member.pending = member.actor.process.remote()
        member.due_s = time.monotonic() + self._limits.start_deadline_s

    def _begin(self, member: _Member) -> None:
        member.begun = True
        member.pending = member.actor.run.remote(member.job)
        member.due_s = time.monotonic() + self._deadline_s(member)

    def _collect(self, member: _Member, again: deque[EpisodeJob]) -> Iterator[JobResult]:
        """Takes the answer of a worker: its process, a result, its death, or an error of the whole run."""
        try:
            answer: Any = ray.get(member.pending)
        except RayTaskError as error:
            member.job = None  # The worker itself is healthy.
            if isinstance(error.cause, EmbodiedError):
                raise error.cause from error
            raise
        except RayError as error:
            if member.process is None and (missing := import_failure(str(error))):
                raise not_importable(missing) from error
            # Before its first answer the cause lies in the set-up, so the whole error is reported.
            yield from self._end_worker(member, "its process died" if member.process else str(error), again)
            return
        if isinstance(answer, WorkerProcess):
            member.process = answer
            self._begin(member)
            return
        self._deaths_in_a_row = 0
        member.job = None
        yield from answer.unit

    def _end_worker(self, member: _Member, reason: str, again: deque[EpisodeJob]) -> Iterator[JobResult]:
        """Kills a worker; its episode gets a new attempt, or is recorded as INVALID."""
        self._members.remove(member)
        ray.kill(member.actor, no_restart=True)
        _end_process(member.process)
        self._deaths_in_a_row += 1
        job = member.job
        if job is None:
            return
        logger.warning("A worker was lost with episode %s, attempt %d: %s.", job.episode, job.attempt, reason)
        if self._deaths_in_a_row > self._limits.max_restarts:
            raise WorkersDiedError(
                f"A worker may be replaced {self._limits.max_restarts} times with no episode finished in between.",
                value=reason,
                remedy="Look for exhausted memory or a crash that every episode meets; compute=inline shows it.",
            )
        if not member.begun:
            again.append(job)  # It did not begin, so this does not count as an attempt.
        elif job.attempt < self._limits.max_attempts:
            again.append(job.again())
        else:
            reason = f"worker lost in each of {job.attempt} attempts; the last time, {reason}"
            for lost in job.unit:
                yield JobResult(lost, lost_record(lost, self._config.task(lost.task), reason))

    def _deadline_s(self, member: _Member) -> float:
        episodes = 1 if member.job is None else len(member.job.unit)
        return self._limits.deadline_s * episodes if member.begun else self._limits.start_deadline_s

    def _timeout_s(self, members: Iterable[_Member]) -> float:
        soonest_s = min(member.due_s for member in members) - time.monotonic()
        return min(max(soonest_s, 0.0), POLL_S)

    def _shut_down_workers(self, *, only_busy: bool = False) -> None:
        """Ends workers that are no longer needed: all are asked to end at once, then killed after a timeout."""
        with signals_ignored():
            leaving = [member for member in self._members if member.job is not None or not only_busy]
            self._members = [member for member in self._members if member not in leaving]
            for member in leaving:
                ray.kill(member.actor, no_restart=True)
            timeout_s = time.monotonic() + SHUTDOWN_TIMEOUT_S
            for member in leaving:
                _end_process(member.process, timeout_s=max(0.0, timeout_s - time.monotonic()))


def _late(members: Sequence[_Member]) -> list[_Member]:
    """Returns the members past their deadline, without those that answered while results were being saved."""
    now_s = time.monotonic()
    overdue = {member.pending: member for member in members if now_s >= member.due_s}
    if not overdue:
        return []
    _, unanswered = ray.wait(list(overdue), num_returns=len(overdue), timeout=0)
    return [overdue[pending] for pending in unanswered]


def _end_process(where: WorkerProcess | None, *, timeout_s: float = 0.0) -> None:
    """Ends a worker process, even if it is stopped or holds the interpreter lock inside PyBullet.

    It has `timeout_s` to end by itself. A worker that never reported its process is left to Ray.
    """
    if where is None:
        return
    if where.node == ray.get_runtime_context().get_node_id():
        _end_here(where, timeout_s)
        return
    pinned = NodeAffinitySchedulingStrategy(where.node, soft=False)
    remote_end: Any = ray.remote(_end_here)
    task = remote_end.options(num_cpus=0, max_retries=0, scheduling_strategy=pinned).remote(where, timeout_s)
    try:
        ray.get(task, timeout=timeout_s + REMOTE_KILL_WAIT_S)
    except (GetTimeoutError, RayError) as error:
        logger.warning("Process %d of node %s could not be reached to end it: %s", where.pid, where.node, error)


def _end_here(where: WorkerProcess, timeout_s: float) -> None:
    try:
        process = psutil.Process(where.pid)
        if process.create_time() == where.started_s:
            end_processes([process], timeout_s=timeout_s)
    except psutil.NoSuchProcess:
        return  # It has already ended.
