"""A recurrent memory: an LSTM that is initialised to keep its inputs for long."""

import torch
from torch import Tensor, nn

from policies.memory.codes import sine_code
from policies.memory.contract import Memory, State, chosen
from policies.memory.sizes import TokenGrid

GAP_WIDTH = 16


class RecurrentMemory(Memory):
    """An LSTM over the mean token of each view and the gap since the last write; the read scales and shifts queries.

    State: `hidden` and `cell` (batch, hidden), `time` (batch,) of the last write in keyframes, `valid` bool (batch,).
    All writes together count as one moment. Source of the initialisation: Tallec and Ollivier 2018, Can recurrent
    neural networks warp time?, arXiv 1804.11188.
    """

    def __init__(self, grid: TokenGrid, *, hidden: int, horizon: int) -> None:
        super().__init__(dim=grid.dim, slot_dim=grid.slot_dim, tokens=grid.tokens)
        self._views = grid.views
        self.hidden = hidden
        self.cell = nn.LSTMCell(grid.views * grid.slot_dim + GAP_WIDTH, hidden)
        self.modulation = nn.Linear(hidden + GAP_WIDTH, 2 * grid.dim)
        _remember_long(self.cell, horizon)

    def init_state(self, batch: int, *, device: torch.device | str = "cpu") -> State:
        """Returns `batch` rows of an LSTM without inputs."""
        return {
            "hidden": torch.zeros(batch, self.hidden, device=device),
            "cell": torch.zeros(batch, self.hidden, device=device),
            "time": torch.zeros(batch, device=device),
            "valid": torch.zeros(batch, dtype=torch.bool, device=device),
        }

    def read(self, state: State, query: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the change of the query, equal for all tokens, and attention 1 where something was written."""
        known = torch.cat((state["hidden"], self._gap(state, time)), 1)
        scale, shift = self.modulation(known)[:, None].chunk(2, -1)
        valid = state["valid"]
        return torch.where(valid[:, None, None], query * scale + shift, 0.0), valid[:, None].to(query.dtype)

    def fuse(self, query: Tensor, read: Tensor, state: State) -> Tensor:
        """Returns the sum of both."""
        return torch.where(state["valid"][:, None, None], query + read, query)

    def write(self, state: State, written: Tensor, time: Tensor, mask: Tensor) -> State:
        """Returns the state after one step of the LSTM."""
        written = torch.where(mask[:, None, None], written, 0.0)  # Padding may hold NaN, which gradients would spread.
        pooled = written.unflatten(1, (self._views, -1)).mean(2).flatten(1)
        hidden, cell = self.cell(torch.cat((pooled, self._gap(state, time)), 1), (state["hidden"], state["cell"]))
        new = {"hidden": hidden, "cell": cell, "time": time.to(torch.float32), "valid": torch.ones_like(mask)}
        return chosen(mask, new, state)

    def _gap(self, state: State, time: Tensor) -> Tensor:
        """Returns the code (batch, GAP_WIDTH) of the keyframes since the last write, zero before the first."""
        gap = torch.where(state["valid"], time - state["time"], 0.0)
        return sine_code(gap, GAP_WIDTH)


@torch.no_grad()
def _remember_long(cell: nn.LSTMCell, horizon: int) -> None:
    """Spreads the time constants of the units, on a log scale, between 1 and `horizon` keyframes, for both gates."""
    hidden = cell.hidden_size
    span = torch.empty(hidden).uniform_(1.0, horizon - 1.0).log()
    cell.bias_hh.zero_()
    cell.bias_ih.zero_()
    cell.bias_ih[:hidden] = -span
    cell.bias_ih[hidden : 2 * hidden] = span
