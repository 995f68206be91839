"""A memory that drops no moment: when it is full, it merges the two most similar neighbours in time."""

import torch
from torch import Tensor
from torch.nn import functional

from policies.memory.contract import State, chosen
from policies.memory.sizes import AttentionSize, TokenGrid
from policies.memory.slots import SlotMemory, moment_of, pushed


class MergingMemory(SlotMemory):
    """Keeps at most `capacity` moments, newest first, each standing for `mass` writes (int64, batch slot).

    One more slot holds the latest write until `consolidate` merges the two neighbours whose tokens have the highest
    mean cosine (the older pair of equals) into their mean, weighted by mass, of tokens and time alike. So every write
    counts once. Source: MemoryVLA, arXiv 2508.19236, section 3.3; the weighting is ours.
    """

    def __init__(self, grid: TokenGrid, size: AttentionSize, *, capacity: int) -> None:
        super().__init__(grid, size, slots=capacity + 1)

    def init_state(self, batch: int, *, device: torch.device | str = "cpu") -> State:
        """Returns `batch` rows of empty slots without mass."""
        mass = torch.zeros(batch, self.slots, dtype=torch.int64, device=device)
        return {**super().init_state(batch, device=device), "mass": mass}

    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:
        """Returns the state with the moment as its newest; rows that have not been consolidated are merged first."""
        state = chosen(mask, self.consolidate(state), state)
        new = moment_of(written, time)
        return chosen(mask, pushed(state, {**new, "mass": new["valid"].to(torch.int64)}), state)

    def consolidate(self, state: State) -> State:
        """Returns the state with two neighbours merged in rows that hold one moment more than the capacity."""
        full = state["valid"][:, -1]
        if not full.any():
            return state
        with torch.no_grad():
            newer = _most_similar(state["slots"])
        return chosen(full, _merged(state, newer), state)


def _most_similar(slots: Tensor) -> Tensor:
    """Returns the newer slot (batch,) of the neighbours with the highest mean cosine of their tokens."""
    unit = functional.normalize(slots, dim=-1)
    alike = (unit[:, :-1] * unit[:, 1:]).sum(-1).mean(-1)
    return alike.shape[1] - 1 - alike.flip(1).argmax(1)


def _merged(state: State, newer: Tensor) -> State:
    """Returns full rows with slot `newer` (batch,) merged with the one after it, and the last slot empty."""
    count = state["mass"].shape[1]
    index = torch.arange(count, device=newer.device)
    source = (index + (index > newer[:, None])).clamp(max=count - 1)
    rows = torch.arange(len(newer), device=newer.device)[:, None]
    merged = {name: value[rows, source] for name, value in state.items()}
    pair = newer[:, None] + torch.arange(2, device=newer.device)
    mass = state["mass"][rows, pair]
    share = mass / mass.sum(1, keepdim=True).clamp(min=1)  # Rows that are not full may have nothing there.
    here, last = index == newer[:, None], index == count - 1
    means = {
        "slots": (state["slots"][rows, pair] * share[..., None, None]).sum(1, keepdim=True),
        "time": (state["time"][rows, pair] * share).sum(1, keepdim=True),
        "mass": mass.sum(1, keepdim=True),
        "valid": torch.ones_like(here[:, :1]),
    }
    for name, mean in means.items():
        axes = [1] * (mean.dim() - 2)
        value = torch.where(here.view(*here.shape, *axes), mean, merged[name])
        merged[name] = torch.where(last.view(1, count, *axes), torch.zeros_like(value), value)
    return merged
