"""What every neural memory is: a module plus explicit state, a dict of tensors of fixed shapes, batch first."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from embodied.types import Carry

State = dict[str, Tensor]


class Memory(nn.Module, ABC):
    """Remembers tokens of one episode per row.

    `dim` is the width of queries, `slot_dim` that of what is written, `tokens` the number of both per moment. Time is
    counted in keyframes everywhere. The module keeps no state: the memory is the state.
    """

    def __init__(self, *, dim: int, slot_dim: int, tokens: int) -> None:
        super().__init__()
        self.dim = dim
        self.slot_dim = slot_dim
        self.tokens = tokens

    @abstractmethod
    def init_state(self, batch: int, *, device: torch.device | str = "cpu") -> State:
        """Returns the state that remembers nothing; every tensor is float32, int64 or bool and starts with `batch`."""

    @abstractmethod
    def read(self, state: State, query: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `state` remembers about `query` (batch, tokens, dim) at `time` (batch,), and the attention paid.

        The first is (batch, tokens, dim), zero in rows that remember nothing; the second (batch, moment), summing to 1
        over the moments in rows that remember something.
        """

    @abstractmethod
    def fuse(self, query: Tensor, read: Tensor, state: State) -> Tensor:
        """Returns `query` enriched by what was `read` from `state` (batch, tokens, dim).

        Unchanged for an empty memory.
        """

    @abstractmethod
    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:
        """Returns `state` after `written` (batch, tokens, slot_dim) at `time` (batch,) in rows of `mask` (batch,)."""

    def consolidate(self, state: State) -> State:
        """Returns the state once it has been brought within its capacity; the same where there is nothing to do."""
        return state

    def reset(self, state: State, done: Tensor) -> State:
        """Returns the state with the rows of `done` (batch,) as new; the others are bitwise what they were."""
        return chosen(done, self.init_state(len(done), device=done.device), state)

    def unroll(  # noqa: PLR0913 - a sequence is these five
        self, query: Tensor, written: Tensor, time: Tensor, first: Tensor, valid: Tensor, *, detach_writes: bool = False
    ) -> tuple[Tensor, Tensor, State]:
        """Returns fused queries (batch, time, tokens, dim), attention (batch, time, moment) and the last state.

        At each step a row is reset where `first`, read, fused, and written to where `valid`, all (batch, time): the
        same as that loop over single steps. `query` is (batch, time, tokens, dim), `written` (batch, time, tokens,
        slot_dim); `time` counts keyframes; with `detach_writes` no gradient flows into earlier writes.
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
    """Returns one row of a state as the carry of a policy: arrays of its own, which keep no batch alive."""
    return {name: value[row : row + 1].detach().cpu().numpy().copy() for name, value in state.items()}


def as_state(carry: Carry, *, device: torch.device | str = "cpu") -> State:
    """Returns the state of one row that `as_carry` has made a carry of, as tensors of its own."""
    return {name: torch.tensor(np.asarray(value), device=device) for name, value in carry.items()}


def chosen(mask: Tensor, one: State, other: State) -> State:
    """Returns the rows of `one` where `mask` (batch,), else those of `other`, bitwise."""
    return {
        name: torch.where(mask.view(-1, *[1] * (value.dim() - 1)), one[name], value) for name, value in other.items()
    }
