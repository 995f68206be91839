"""Many workers on Ray: results as they finish, deadlines from outside, retries that count nothing twice."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import ray
from ray.exceptions import GetTimeoutError, RayError, RaySystemError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import embodied
from embodied.errors import EmbodiedError, PluginError
from embodied.plugins import import_modules, module_folders, named_modules, require_same_modules, source_digest
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.progress import with_progress
from embodied.rollout.ray.cluster import deaf_to_signals, end_processes
from embodied.rollout.worker import SimulatorWorker, WorkerConfig, lost_record, thread_environment

logger = logging.getLogger(__name__)

POLL_S = 1.0
REMOTE_KILL_WAIT_S = 10.0
FAREWELL_S = 2.0


class WorkersDiedError(EmbodiedError):
    """Workers died again and again, with no episode finished between: the machine or the set-up is at fault."""


@dataclass(frozen=True)
class PoolLimits:
    """The limits of `ComputeConfig`, checked."""

    workers: int
    deadline_s: float
    start_deadline_s: float
    max_attempts: int
    max_restarts: int


@dataclass(frozen=True)
class WorkerProcess:
    """A process of some node, beyond doubt: numbers are used again, but not with the same start time."""

    node: str
    pid: int
    started_s: float


class PooledWorker:
    """A `SimulatorWorker` that reports where it runs, so that it can be killed when it no longer answers.

    `modules` offer parts from outside, and are given with the SHA-256 of their source on the driver. They are imported
    before the configuration is read, to which `config` refers in a list of one, since it may need them.
    """

    def __init__(self, modules: Mapping[str, str], config: Sequence[Any]) -> None:
        self._modules = modules
        self._config = config
        self._worker: SimulatorWorker | None = None

    def process(self) -> WorkerProcess:
        """Returns the process that this worker is, once it is ready to play.

        Raises `PluginError` for code that cannot be imported here, or that is not the driver's.
        """
        if self._worker is None:
            self._worker = self._ready()
        return WorkerProcess(ray.get_runtime_context().get_node_id(), os.getpid(), psutil.Process().create_time())

    def run(self, job: EpisodeJob) -> JobResult:
        """Plays a job, as `SimulatorWorker.run`."""
        self._worker = self._worker or self._ready()
        return self._worker.run(job)

    def _ready(self) -> SimulatorWorker:
        import_modules(list(self._modules))
        require_same_modules(self._modules)
        try:
            config: WorkerConfig = ray.get(self._config[0])
        except RaySystemError as error:
            raise PluginError(
                "Every node must be able to import all code that a run uses.",
                value=str(error).strip().splitlines()[0],
                remedy="Install its package on all nodes, or name its module: plugins=[my_module].",
            ) from error
        return SimulatorWorker(config)


@dataclass(eq=False)
class _Member:
    """One live worker; `pending` is the answer it owes until `due_s`.

    One that is new or was idle is asked for its process before an episode, which has `begun` once there was an answer.
    """

    actor: Any
    pending: Any = None
    due_s: float = 0.0
    job: EpisodeJob | None = None
    begun: bool = False
    process: WorkerProcess | None = None


class RayPool:
    """Plays jobs on Ray actors, one episode at a time each.

    Ray itself restarts and retries nothing: a worker that dies or is late is killed for good, and its episode is a new
    attempt on a new worker. Nobody keeps a reference to what a killed worker still sends, so no result counts twice.
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

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            resources.enter_context(self._cluster())
            resources.callback(self._dismiss)
            self._shared_config = ray.put(self._config)  # Once, by reference: it may hold weights.
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.__exit__(kind, error, trace)

    @property
    def place(self) -> str:
        """How many workers play."""
        return f"{self._limits.workers} worker{'s' * (self._limits.workers > 1)}"

    def run(self, jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
        """Yields one result per episode, as jobs finish; a job is read only when a worker is free for it.

        Raises `WorkersDiedError`, and whatever a worker raises about the run as a whole, such as `ConfigError`.
        """
        try:
            yield from with_progress(self._results(iter(jobs)), jobs)
        finally:
            self._dismiss(only_busy=True)  # Nobody waits for them any more.

    def _results(self, source: Iterator[EpisodeJob]) -> Iterator[JobResult]:
        again = deque[EpisodeJob]()
        while True:
            self._hand_out(source, again)
            busy = {member.pending: member for member in self._members if member.job is not None}
            if not busy:
                return
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=self._timeout_s(busy.values()))
            results = [result for pending in ready for result in self._collect(busy[pending], again)]
            for member in _late([member for pending, member in busy.items() if pending not in ready]):
                results += self._bury(member, f"it ran past its deadline of {self._deadline_s(member):g} s", again)
            self._hand_out(source, again, alive=[busy[pending] for pending in ready])
            yield from results  # After the next jobs are on their way: no worker waits while results are saved.

    def _hand_out(
        self, source: Iterator[EpisodeJob], again: deque[EpisodeJob], *, alive: Sequence[_Member] = ()
    ) -> None:
        """Gives a job to every free worker, and hires workers while jobs remain; those `alive` have just answered."""
        while True:
            free = next((member for member in self._members if member.job is None), None)
            if free is None and len(self._members) >= self._limits.workers:
                return
            job = again.popleft() if again else next(source, None)
            if job is None:
                return
            if free is None:
                self._members.append(self._hire(job))
            elif free in alive:
                free.job = job
                self._begin(free)
            else:
                self._offer(free, job)

    def _hire(self, job: EpisodeJob) -> _Member:
        modules = {name: source_digest(name) for name in named_modules()}
        environment = {**thread_environment(self._config.threads), "PYTHONPATH": python_path()}
        remote_class: Any = ray.remote(PooledWorker)
        actor = remote_class.options(
            num_cpus=1, max_restarts=0, max_task_retries=0, runtime_env={"env_vars": environment}
        ).remote(modules, [self._shared_config])
        member = _Member(actor)
        self._offer(member, job)
        return member

    def _offer(self, member: _Member, job: EpisodeJob) -> None:
        """Asks first whether the worker is there: one that died while idle must not cost `job` an attempt."""
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
            member.job = None  # The worker itself is well.
            if isinstance(error.cause, EmbodiedError):
                raise error.cause from error
            raise
        except RayError as error:
            # Before its first answer, the cause lies in the set-up, so it is told in full.
            yield from self._bury(member, "its process died" if member.process else str(error), again)
            return
        if isinstance(answer, WorkerProcess):
            member.process = answer
            self._begin(member)
            return
        self._deaths_in_a_row = 0
        member.job = None
        yield from answer.unit

    def _bury(self, member: _Member, reason: str, again: deque[EpisodeJob]) -> Iterator[JobResult]:
        """Ends a worker for good; its episode gets a new attempt, or is given up as INVALID."""
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
            again.append(job)  # It never began, so this was no attempt.
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

    def _dismiss(self, *, only_busy: bool = False) -> None:
        """Ends workers that are no longer needed: politely, all at once, then for good."""
        with deaf_to_signals():
            leaving = [member for member in self._members if member.job is not None or not only_busy]
            self._members = [member for member in self._members if member not in leaving]
            for member in leaving:
                ray.kill(member.actor, no_restart=True)
            timeout_s = time.monotonic() + FAREWELL_S
            for member in leaving:
                _end_process(member.process, timeout_s=max(0.0, timeout_s - time.monotonic()))


def _late(members: Sequence[_Member]) -> list[_Member]:
    """Returns the members past their deadline; one that answered while results were being saved is not late."""
    now_s = time.monotonic()
    overdue = {member.pending: member for member in members if now_s >= member.due_s}
    if not overdue:
        return []
    _, unanswered = ray.wait(list(overdue), num_returns=len(overdue), timeout=0)
    return [overdue[pending] for pending in unanswered]


def _end_process(where: WorkerProcess | None, *, timeout_s: float = 0.0) -> None:
    """Ends a worker though it may be stopped, or hold the interpreter's lock inside PyBullet for ever.

    It has `timeout_s` to end by itself. A worker that never reported where it runs is left to Ray.
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
        return  # Dead already.


def python_path() -> str:
    """Returns the search path of workers, absolute: this package, named modules, then what the user has set."""
    own = [str(Path(folder).absolute()) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    return os.pathsep.join([str(Path(embodied.__file__).parents[1]), *module_folders(), *own])
