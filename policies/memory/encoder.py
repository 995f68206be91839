"""Encodes what is written to memory: the policy's view and the position of the chosen waypoint in it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.errors import ConfigError
from policies.memory.codes import sine_grid
from policies.memory.sizes import TokenGrid

CONTRAST, MIDDLE = 20.0, 10.0
GROWTH = 4


class MomentEncoder(nn.Module):
    """Adds a downsampled heat map to the embedding of each view and mixes them in ConvNeXt blocks.

    The output includes a fixed sine code of row and column. Source: the memory encoder of SAM 2 (arXiv 2408.00714) as
    SAM2Act+ uses it (arXiv 2501.18564); blocks: ConvNeXt, arXiv 2201.03545.
    """

    def __init__(self, grid: TokenGrid, *, halvings: int, blocks: int) -> None:
        super().__init__()
        self._grid = grid
        self._map_size = (grid.rows << halvings, grid.cols << halvings)
        self.heat = _halvings(halvings, grid.dim)
        self.seen = nn.Conv2d(grid.dim, grid.dim, 1)
        self.blocks = nn.Sequential(*(_Block(grid.dim) for _ in range(blocks)))
        self.out = nn.Conv2d(grid.dim, grid.slot_dim, 1)
        self.place: Tensor
        self.register_buffer("place", sine_grid(grid.rows, grid.cols, grid.slot_dim), persistent=False)

    def forward(self, embedding: Tensor, heat: Tensor) -> Tensor:
        """Returns the tokens to be written (batch, views * rows * cols, slot_dim).

        `embedding` (batch, views, rows, cols, dim) is the policy's own before memory; `heat` (batch, views, height,
        width) lies in [0, 1], 1 at the waypoint that was chosen. Raises `ConfigError` for other shapes.
        """
        grid = self._grid
        shape = (len(embedding), grid.views, grid.rows, grid.cols, grid.dim)
        if embedding.shape != shape or heat.dim() != 4 or heat.shape[:2] != shape[:2]:
            raise ConfigError(
                f"A moment must be an embedding {shape} and one heat map per view.",
                value=(tuple(embedding.shape), tuple(heat.shape)),
            )
        maps = heat.flatten(0, 1)[:, None]
        if maps.shape[2:] != self._map_size:
            maps = functional.interpolate(maps, self._map_size, mode="bilinear", antialias=True)
        seen = embedding.flatten(0, 1).movedim(-1, 1)
        mixed = self.out(self.blocks(self.seen(seen) + self.heat(maps * CONTRAST - MIDDLE)))
        tokens = mixed.flatten(2).transpose(1, 2) + self.place
        return tokens.unflatten(0, shape[:2]).flatten(1, 2)


class _Block(nn.Module):
    """Mixes places by a wide depthwise convolution, then channels by two layers; residual, small initial weights."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.across = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.channels = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.share = nn.Parameter(torch.full((dim,), 0.1))

    def forward(self, cells: Tensor) -> Tensor:
        mixed = self.channels(self.norm(self.across(cells).movedim(1, -1)))
        return cells + (self.share * mixed).movedim(-1, 1)


class _ChannelNorm(nn.LayerNorm):
    """Normalises the channels (batch, channel, row, col) of each place."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that PyTorch uses
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def _halvings(count: int, dim: int) -> nn.Sequential:
    """Maps one channel to `dim`; each halving has four times the channels of the one before."""
    layers: list[nn.Module] = []
    for step in range(count):
        after = GROWTH ** (step + 1)
        layers += [nn.Conv2d(GROWTH**step, after, 3, stride=2, padding=1), _ChannelNorm(after), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(GROWTH**count, dim, 1))
