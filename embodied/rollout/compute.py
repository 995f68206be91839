"""Where episodes run: in this process, on a private Ray, or on an existing Ray cluster."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

import psutil

from embodied.errors import ConfigError
from embodied.plugins import SHIP_MB
from embodied.rollout.inline import InlineCompute
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.ray.address import check_address, require_answer
from embodied.rollout.worker import WorkerConfig

WORKERS_PER_CORE = 32
LARGEST_SHIP_MB = 500  # Ray's own limit is 512 MiB.


class ComputeKind(StrEnum):
    """`inline`: this process, without Ray. `local`: Ray processes on this machine. `cluster`: an existing Ray cluster.

    Member names are lower case, since Hydra looks choices up by name.
    """

    inline = "inline"
    local = "local"
    cluster = "cluster"


def require_capacity(workers: int, object_store_mb: int) -> None:
    """Raises `ConfigError` for more workers or shared memory than this machine has."""
    most = WORKERS_PER_CORE * (os.cpu_count() or 1)
    if workers > most:
        raise ConfigError(
            f"compute.workers must be at most {most} on this machine.",
            value=workers,
            remedy="One worker per core is usual; use a cluster for more.",
        )
    total_mb = psutil.virtual_memory().total // 2**20
    if object_store_mb > total_mb:
        raise ConfigError(
            f"compute.object_store_mb must be at most the memory of this machine, {total_mb} MB.", value=object_store_mb
        )


class Compute(Protocol):
    """Plays jobs. A context manager: on exit it stops whatever it has started, also after Ctrl-C and SIGTERM."""

    def __enter__(self) -> Self:
        """Starts what is needed."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops what was started."""
        ...

    @property
    def place(self) -> str:
        """Where jobs are played, for messages: `in this process`, `4 workers`."""
        ...

    @property
    def episodes_at_once(self) -> int:
        """How many episodes are played at the same time."""
        ...

    def run(self, jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
        """Yields one result per job, as they finish; `jobs` is read only as fast as they are played."""
        ...


@dataclass(kw_only=True)
class ComputeConfig:
    """How many workers play, and what is done about those that die or hang.

    An episode that takes longer than `deadline_s` of wall time has its worker killed and is tried again, `max_attempts`
    times in all; then it counts as invalid. After more than `max_restarts` deaths in a row, with no episode finished in
    between, the run stops. `start_deadline_s` bounds the start of a worker. `inline` can enforce no deadline. `address`
    is for `cluster` alone, `object_store_mb` for `local` alone.

    Attributes:
        kind: inline, local or cluster, as chosen by compute=KIND
        workers: processes that play episodes at the same time
        address: of the cluster; set address=HOST:PORT instead
        deadline_s: wall time after which an episode is tried again on a new worker
        start_deadline_s: wall time that a worker may take to start
        max_attempts: attempts at an episode before it counts as invalid
        max_restarts: deaths of workers in a row, with no finished episode, before the run stops
        threads_per_worker: threads of numerical libraries in each worker
        object_store_mb: shared memory of a local Ray
        ship_mb: code that is shipped to a cluster at most, in MB; 0 ships none
        policy_workers: processes that decide for all workers in batches; 0: workers decide
    """

    kind: ComputeKind = ComputeKind.local
    workers: int = 2
    address: str = ""
    deadline_s: float = 300.0
    start_deadline_s: float = 120.0
    max_attempts: int = 3
    max_restarts: int = 10
    threads_per_worker: int = 1
    object_store_mb: int = 256
    ship_mb: int = SHIP_MB
    policy_workers: int = 0

    def build(self, worker: WorkerConfig) -> Compute:
        """Returns the compute; nothing runs before it is entered. Raises `ConfigError`."""
        self._check()
        worker = replace(worker, threads=self.threads_per_worker)
        if self.kind is ComputeKind.inline:
            return InlineCompute(worker)
        from embodied.rollout.ray.cluster import existing_cluster, local_cluster
        from embodied.rollout.ray.pool import PoolLimits, RayPool

        limits = PoolLimits(
            workers=self.workers,
            deadline_s=self.deadline_s,
            start_deadline_s=self.start_deadline_s,
            max_attempts=self.max_attempts,
            max_restarts=self.max_restarts,
            policy_workers=self.policy_workers,
        )
        if self.kind is ComputeKind.cluster:
            check_address(self.address)
            return RayPool(worker, limits, lambda: existing_cluster(self.address, ship_mb=self.ship_mb))
        cpus = self.workers + self.policy_workers
        return RayPool(worker, limits, lambda: local_cluster(cpus=cpus, object_store_mb=self.object_store_mb))

    def require_reachable(self) -> None:
        """Raises `ConfigError` where no server answers at the address of a cluster."""
        if self.kind is ComputeKind.cluster:
            check_address(self.address)
            require_answer(self.address)

    def _check(self) -> None:
        for name in ("workers", "max_attempts", "threads_per_worker"):
            if getattr(self, name) < 1:
                raise ConfigError(f"compute.{name} must be at least 1.", value=getattr(self, name))
        for name in ("deadline_s", "start_deadline_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"compute.{name} must be positive.", value=getattr(self, name))
        if not 0 <= self.ship_mb <= LARGEST_SHIP_MB:
            raise ConfigError(f"compute.ship_mb must lie in [0, {LARGEST_SHIP_MB}].", value=self.ship_mb)
        for name in ("max_restarts", "policy_workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"compute.{name} must not be negative.", value=getattr(self, name))
        if self.kind is ComputeKind.inline and self.policy_workers:
            raise ConfigError(
                "compute=inline has no policy workers.", value=self.policy_workers, remedy="Choose compute=local."
            )
        if self.object_store_mb < 80:
            raise ConfigError("compute.object_store_mb must be at least 80, as Ray asks.", value=self.object_store_mb)
        if self.kind is ComputeKind.local:
            require_capacity(self.workers + self.policy_workers, self.object_store_mb)
        if (self.kind is ComputeKind.cluster) != bool(self.address):
            raise ConfigError(
                "compute.address must be given for compute=cluster, and for no other.",
                value=(str(self.kind), self.address),
                remedy="Such as compute=cluster address=10.0.0.5:6379.",
            )
