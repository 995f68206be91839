"""The module of the memory, apart from its settings, since it needs PyTorch."""

import torch
from torch import Tensor, nn

from policies.memory.contract import Memory, State, chosen
from policies.memory.sizes import TokenGrid


class LastMemory(Memory):
    """State: `mean` (batch, slot_dim) of the tokens that were written last, `full` (batch,) where there are any."""

    def __init__(self, grid: TokenGrid, *, gain: float) -> None:
        super().__init__(dim=grid.dim, slot_dim=grid.slot_dim, tokens=grid.tokens)
        self.gain = gain
        self.projection = nn.Linear(grid.slot_dim, grid.dim)

    def init_state(self, batch: int, *, device: torch.device | str = "cpu") -> State:
        empty = torch.zeros(batch, dtype=torch.bool, device=device)
        return {"mean": torch.zeros(batch, self.slot_dim, device=device), "full": empty}

    def read(self, state: State, query: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        full = state["full"]
        read = self.gain * self.projection(state["mean"])[:, None].expand_as(query)
        return torch.where(full[:, None, None], read, 0.0), full[:, None].to(query.dtype)

    def fuse(self, query: Tensor, read: Tensor, state: State) -> Tensor:
        return torch.where(state["full"][:, None, None], query + read, query)

    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:
        return chosen(mask, {"mean": written.mean(1), "full": torch.ones_like(mask)}, state)
