"""The group of worker processes of a run, and their agreement before each continues."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from embodied.errors import EmbodiedError
from policies.training.learner import TrainingError

_T = TypeVar("_T")


CPU = torch.device("cpu")


class ProcessStoppedError(TrainingError):
    """Another worker cannot continue; the error gives its reason."""


@dataclass(frozen=True)
class ProcessGroup:
    """This worker's membership in the group; a single worker sends nothing. All workers must call the same methods."""

    rank: int = 0
    workers: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Returns the element-wise sums of `values` over all workers, which all give equally many."""
        if self.workers == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return sums.tolist()

    def together(self, work: Callable[[], _T]) -> _T:
        """Returns the result of `work` once all workers have finished theirs.

        If it raises an `EmbodiedError` in one worker, that worker raises it, and the others raise
        `ProcessStoppedError`, so that no worker is left waiting.
        """
        try:
            done = work()
        except EmbodiedError:
            self.total([1.0])
            raise
        if self.total([0.0])[0]:
            raise ProcessStoppedError("All workers must be able to go on.")
        return done

    def require_same(self, value: int, what: str) -> None:
        """Raises `TrainingError` unless all workers have the same `value`."""
        # The sums of a value and of its square show whether all are equal to their mean.
        total, squares = self.total([float(value), float(value) ** 2])
        if total**2 != squares * self.workers:
            raise TrainingError(
                f"All workers must see the same {what}.", value=value, remedy="Put the output where all nodes see it."
            )

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Returns `network` such that backward passes average gradients over the workers."""
        if self.workers == 1:
            return network
        # Buffers are not broadcast: forward passes then send nothing, and a worker that fails in one blocks no other.
        return DistributedDataParallel(network, broadcast_buffers=False, find_unused_parameters=True)
