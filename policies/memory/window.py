"""The memory of SAM2Act+: the newest moments, the newest first."""

import torch
from torch import Tensor

from policies.memory.contract import State, chosen
from policies.memory.sizes import AttentionSize, TokenGrid
from policies.memory.slots import PlacedMemory, moment_of, pushed


class WindowMemory(PlacedMemory):
    """Keeps the last `capacity` moments; the slot of a moment counts the writes since.

    A moment's age is encoded in entries (a learned vector per slot) and in keyframes (a projected sine code): see
    `AgeCode`. Source: SAM2Act+, arXiv 2501.18564; the gap in keyframes is ours.
    """

    def __init__(self, grid: TokenGrid, size: AttentionSize, *, capacity: int) -> None:
        super().__init__(grid, size, slots=capacity)

    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:
        """Returns the state with the moment as its newest, and without moments beyond the capacity."""
        return chosen(mask, pushed(state, moment_of(written, time)), state)

    def place(self, before: Tensor, age: Tensor) -> Tensor:  # noqa: ARG002
        """Returns the slot of moments by their age."""
        return torch.where(age <= self.slots, age - 1, -1)
