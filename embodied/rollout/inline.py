"""Episodes in this process, without Ray."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.progress import with_progress
from embodied.rollout.worker import SimulatorWorker, WorkerConfig


class InlineCompute:
    """Plays jobs one after another in this process, which cannot interrupt itself: deadlines are not enforced."""

    def __init__(self, config: WorkerConfig) -> None:
        self._worker = SimulatorWorker(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()

    @property
    def place(self) -> str:
        """Where jobs are played."""
        return "in this process"

    @property
    def episodes_at_once(self) -> int:
        """One."""
        return 1

    def run(self, jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
        """Yields the results of each job, in order."""
        yield from with_progress((one for job in jobs for one in self._worker.run(job).unit), jobs)
