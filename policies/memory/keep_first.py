"""A memory that keeps the first moments of an episode permanently, and the newest in the remaining slots."""

import torch
from torch import Tensor

from policies.memory.contract import State, chosen
from policies.memory.sizes import AttentionSize, TokenGrid
from policies.memory.slots import PlacedMemory, moment_of, pushed


class KeepFirstMemory(PlacedMemory):
    """Keeps the first `first` moments, oldest first, then a window of the newest, newest first.

    Tasks often ask for the state before anything was touched, which a window forgets.
    """

    def __init__(self, grid: TokenGrid, size: AttentionSize, *, capacity: int, first: int) -> None:
        super().__init__(grid, size, slots=capacity)
        self.first = first

    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:
        """Returns the state with the moment in the next free slot of the first ones, or else as the window's newest."""
        new = moment_of(written, time)
        first, window = ({name: part(value) for name, value in state.items()} for part in (self._first, self._window))
        filled = first["valid"].sum(1)
        here = torch.arange(self.first, device=filled.device) == filled[:, None]
        first = {
            name: torch.where(here.view(*here.shape, *[1] * (value.dim() - 2)), new[name], value)
            for name, value in first.items()
        }
        window = chosen(filled == self.first, pushed(window, new), window)
        return chosen(mask, {name: torch.cat((first[name], window[name]), 1) for name in state}, state)

    def place(self, before: Tensor, age: Tensor) -> Tensor:
        """Returns the slot of moments: by their number if they are among the first, otherwise by their age."""
        slot = torch.where(before < self.first, before, self.first + age - 1)
        return torch.where(slot < self.slots, slot, -1)

    def _first(self, value: Tensor) -> Tensor:
        return value[:, : self.first]

    def _window(self, value: Tensor) -> Tensor:
        return value[:, self.first :]
