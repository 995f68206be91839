"""Memories that store whole moments in slots and read them by attention; they differ in which moments they keep."""

from abc import abstractmethod

import torch
from torch import Tensor

from policies.memory.attention import MemoryAttention, StoredMoments
from policies.memory.codes import AgeCode
from policies.memory.contract import Memory, State
from policies.memory.sizes import AttentionSize, TokenGrid


class SlotMemory(Memory):
    """State: `slots` (batch, slot, tokens, slot_dim), `time` (batch, slot) in keyframes, `valid` bool (batch, slot).

    Invalid slots hold zeros, so that the state depends only on the stored moments.
    """

    def __init__(self, grid: TokenGrid, size: AttentionSize, *, slots: int) -> None:
        super().__init__(dim=grid.dim, slot_dim=grid.slot_dim, tokens=grid.tokens)
        self.slots = slots
        self.age = AgeCode(slots, grid.slot_dim)
        self.attention = MemoryAttention(grid, size)

    def init_state(self, batch: int, *, device: torch.device | str = "cpu") -> State:
        """Returns `batch` rows of empty slots."""
        return {
            "slots": torch.zeros(batch, self.slots, self.tokens, self.slot_dim, device=device),
            "time": torch.zeros(batch, self.slots, device=device),
            "valid": torch.zeros(batch, self.slots, dtype=torch.bool, device=device),
        }

    def read(self, state: State, query: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the residual for the query, and the attention paid to each slot."""
        age = self.age(torch.arange(self.slots, device=time.device), time[:, None] - state["time"])
        held = StoredMoments(state["slots"], age[:, None], state["valid"][:, None])
        added, attention = self.attention(query[:, None], held)
        return added[:, 0], attention[:, 0]

    def fuse(self, query: Tensor, read: Tensor, state: State) -> Tensor:
        """Returns the sum of both."""
        return torch.where(state["valid"].any(1)[:, None, None], query + read, query)


class PlacedMemory(SlotMemory):
    """A memory in which the slot of a moment depends only on the number of writes before and after it.

    All steps of a sequence can then be read at once, since it is known beforehand which moments each of them keeps.
    """

    @abstractmethod
    def place(self, before: Tensor, age: Tensor) -> Tensor:
        """Returns the slot of moments with `before` earlier ones, the `age`-th newest now (from 1); -1 if forgotten."""

    def unroll(  # noqa: PLR0913 - as in the contract
        self, query: Tensor, written: Tensor, time: Tensor, first: Tensor, valid: Tensor, *, detach_writes: bool = False
    ) -> tuple[Tensor, Tensor, State]:
        """Computes the result of the contract's loop for all steps in one batch."""
        time = time.to(torch.float32)
        written = torch.where(valid[..., None, None], written.detach() if detach_writes else written, 0.0)
        slot = self._slot_of_each(first, valid)
        gap = time[:, :, None] - time[:, None, :]
        now = slot[:, :-1]
        held = StoredMoments(written, self.age(now.clamp(min=0), gap), now >= 0)
        added, paid = self.attention(query, held)
        fused = torch.where(held.kept.any(-1)[..., None, None], query + added, query)
        attention = paid.new_zeros(*paid.shape[:2], self.slots).scatter_add(2, now.clamp(min=0), paid)
        return fused, attention, self._state_of(written, time, slot[:, -1])

    def _slot_of_each(self, first: Tensor, valid: Tensor) -> Tensor:
        """Returns the slot (batch, time + 1, moment) of the write of step `moment` at step `time`; -1 if none.

        The last step is the one after the sequence, in the same episode.
        """
        episode = first.cumsum(1)
        now = torch.cat((episode, episode[:, -1:]), 1)
        steps = torch.arange(now.shape[1], device=first.device)
        there = (steps[:, None] > steps[:-1]) & (now[:, :, None] == episode[:, None]) & valid[:, None]
        age = there.flip(2).cumsum(2).flip(2)
        before = there.sum(2)[:, None, :-1]
        return torch.where(there, self.place(before, age), -1)

    def _state_of(self, written: Tensor, time: Tensor, slot: Tensor) -> State:
        """Returns the state that holds what each step wrote in its `slot` (batch, moment)."""
        here = slot[:, None] == torch.arange(self.slots, device=slot.device)[:, None]
        valid, moment = here.any(2), here.int().argmax(2)
        rows = torch.arange(len(slot), device=slot.device)[:, None]
        return {
            "slots": torch.where(valid[..., None, None], written[rows, moment], 0.0),
            "time": torch.where(valid, time[rows, moment], 0.0),
            "valid": valid,
        }


def pushed(state: State, new: State) -> State:
    """Returns `state` with the one slot of `new` as its newest, and without its oldest."""
    return {name: torch.cat((new[name], value[:, :-1]), 1) for name, value in state.items()}


def moment_of(written: Tensor, time: Tensor) -> State:
    """Returns a state of one slot that holds `written` (batch, tokens, slot_dim) at `time` (batch,)."""
    return {
        "slots": written[:, None],
        "time": time.to(torch.float32)[:, None],
        "valid": torch.ones(len(time), 1, dtype=torch.bool, device=time.device),
    }
