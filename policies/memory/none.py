"""The memory that stores nothing: the baseline of every claim about memory."""

import torch
from torch import Tensor

from policies.memory.contract import Memory, State
from policies.memory.sizes import TokenGrid


class NoMemory(Memory):
    """Reads zeros whatever was written and leaves queries unchanged; its state has no tensors."""

    def __init__(self, grid: TokenGrid) -> None:
        super().__init__(dim=grid.dim, slot_dim=grid.slot_dim, tokens=grid.tokens)

    def init_state(self, batch: int, *, device: torch.device | str = "cpu") -> State:  # noqa: ARG002
        """Returns the state without tensors."""
        return {}

    def read(self, state: State, query: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Returns zeros, and zero attention to the one moment of the shape."""
        return torch.zeros_like(query), query.new_zeros(len(query), 1)

    def fuse(self, query: Tensor, read: Tensor, state: State) -> Tensor:  # noqa: ARG002
        """Returns the query."""
        return query

    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:  # noqa: ARG002
        """Returns the state unchanged."""
        return state
