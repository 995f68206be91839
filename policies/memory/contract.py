"""The interface of neural memories: a module and an explicit state, a dict of tensors of fixed shapes, batch first."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from embodied.types import Carry

State = dict[str, Tensor]


class Memory(nn.Module, ABC):
    """Stores tokens, one episode per row.

    `dim` is the width of queries, `slot_dim` the width of written tokens, `tokens` the number of both per moment. Time
    is always counted in keyframes. The module holds no state: the state is passed in and returned.
    """

    def __init__(self, *, dim: int, slot_dim: int, tokens: int) -> None:
        super().__init__()
        self.dim = dim
        self.slot_dim = slot_dim
        self.tokens = tokens

    @abstractmethod
    def init_state(self, batch: int, *, device: torch.device | str = "cpu") -> State:
        """Returns the empty state; every tensor is float32, int64 or bool and starts with `batch`."""

    @abstractmethod
    def read(self, state: State, query: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `state` holds for `query` (batch, tokens, dim) at `time` (batch,), and the attention paid.

        The first is (batch, tokens, dim), zero in empty rows; the second (batch, moment), summing to 1 over the moments
        in rows that hold something.
        """

    @abstractmethod
    def fuse(self, query: Tensor, read: Tensor, state: State) -> Tensor:
        """Returns `query` enriched by `read` from `state` (batch, tokens, dim).

        An empty memory leaves it unchanged.
        """

    @abstractmethod
    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:
        """Returns `state` after `written` (batch, tokens, slot_dim) at `time` (batch,) in rows of `mask` (batch,)."""

    def consolidate(self, state: State) -> State:
        """Returns the state reduced to its capacity, or unchanged if it is within it."""
        return state

    def reset(self, state: State, done: Tensor) -> State:
        """Returns the state with the rows of `done` (batch,) emptied; the others are bitwise unchanged."""
        return chosen(done, self.init_state(len(done), device=done.device), state)

    def unroll(  # noqa: PLR0913 - a sequence is these five
        self, query: Tensor, written: Tensor, time: Tensor, first: Tensor, valid: Tensor, *, detach_writes: bool = False
    ) -> tuple[Tensor, Tensor, State]:
        """Returns fused queries (batch, time, tokens, dim), attention (batch, time, moment) and the last state.

        At each step a row is reset where `first`, read, fused, and written to where `valid`, all (batch, time): the
        result equals that of a loop over single steps. `query` is (batch, time, tokens, dim), `written` (batch, time,
        tokens, slot_dim); `time` counts keyframes; with `detach_writes` no gradient flows into earlier writes.
        """
        state = self.init_state(len(query), device=query.device)
        fused, attended = [], []
        for step in range(query.shape[1]):
            state = self.reset(state, first[:, step])
            read, attention = self.read(state, query[:, step], time[:, step])
            fused.append(self.fuse(query[:, step], read, state))
            attended.append(attention)
            slot = written[:, step].detach() if detach_writes else written[:, step]
            state = self.consolidate(self.write(state, slot, time[:, step], valid[:, step]))
        return torch.stack(fused, 1), torch.stack(attended, 1), state


def as_carry(state: State, row: int) -> Carry:
    """Returns one row of a state as the carry of a policy, copied so that the batch can be freed."""
    return {name: value[row : row + 1].detach().cpu().numpy().copy() for name, value in state.items()}


def as_state(carry: Carry, *, device: torch.device | str = "cpu") -> State:
    """Returns the state of one row from a carry of `as_carry`, copied."""
    return {name: torch.tensor(np.asarray(value), device=device) for name, value in carry.items()}


def chosen(mask: Tensor, one: State, other: State) -> State:
    """Returns the rows of `one` where `mask` (batch,), else those of `other`, bitwise."""
    return {
        name: torch.where(mask.view(-1, *[1] * (value.dim() - 1)), one[name], value) for name, value in other.items()
    }
