"""Position and time codes: rotary and sine codes of positions in an image, learned codes of age."""

import torch
from torch import Tensor, nn

THETA = 1e4


def sine_code(position: Tensor, width: int) -> Tensor:
    """Returns sines, then cosines, of `position` (...) at wavelengths from 2 pi towards 2 pi THETA: (..., width)."""
    angle = position[..., None] * _frequencies(width // 2).to(position.device)
    return torch.cat((angle.sin(), angle.cos()), -1)


def sine_grid(rows: int, cols: int, width: int) -> Tensor:
    """Returns the sine codes of row, then of column, of all `rows` x `cols` cells, row by row.

    Their shape is (`rows` * `cols`, `width`).
    """
    row, col = _cells(rows, cols)
    return torch.cat((sine_code(row, width // 2), sine_code(col, width // 2)), -1)


class RotaryGrid(nn.Module):
    """Rotates pairs of channels of a token by its row (first half of the pairs) and column (second half).

    The inner product of two rotated tokens depends only on their relative position. Source: Su et al., RoFormer, arXiv
    2104.09864; by axis as in Heo et al., arXiv 2403.13298.
    """

    def __init__(self, rows: int, cols: int, width: int) -> None:
        super().__init__()
        row, col = _cells(rows, cols)
        frequency = _frequencies(width // 4)
        angle = torch.cat((row[:, None] * frequency, col[:, None] * frequency), -1)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns `tokens` (..., row by row, width) rotated."""
        one, other = tokens.chunk(2, -1)
        return torch.cat((one * self.cos - other * self.sin, other * self.cos + one * self.sin), -1)


class AgeCode(nn.Module):
    """Encodes the age of a moment twice: one learned vector per slot, and a projection of the sine code of the gap.

    Slots count entries (the newest entry of a window has the first slot), gaps count keyframes: they differ where only
    some keyframes are written.
    """

    def __init__(self, slots: int, width: int) -> None:
        super().__init__()
        self.slot = nn.Parameter(torch.empty(slots, width))
        self.gap = nn.Linear(width, width)
        # Large initial weights: attention finds the right moment in half the steps if ages differ from the start.
        nn.init.normal_(self.slot)

    def forward(self, slot: Tensor, gap: Tensor) -> Tensor:
        """Returns codes (..., width) of slots, by index (...), that were written `gap` (...) keyframes ago."""
        return self.slot[slot] + self.gap(sine_code(gap, self.slot.shape[1]))


def _frequencies(count: int) -> Tensor:
    return THETA ** -(torch.arange(count) / count)


def _cells(rows: int, cols: int) -> tuple[Tensor, Tensor]:
    """Returns the row and the column of each cell, row by row, as float32."""
    row, col = torch.meshgrid(torch.arange(float(rows)), torch.arange(float(cols)), indexing="ij")
    return row.flatten(), col.flatten()
