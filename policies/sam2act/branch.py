"""One branch of SAM2Act: images of a cube into tokens that know each other, and those into a heat map per view."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.encoders.encoder import ImageEncoder
from policies.heads.upsampling import ConvexUpsampling
from policies.sam2act.sizes import BranchConfig
from policies.sam2act.transformer import MultiViewTransformer
from policies.sam2act.views import VIEWS


class Told(NamedTuple):
    """What is told besides visualisations: `words` (frame, word, width), of which `known` (frame, word) are to be read.

    `body` (frame, number) is `body.body_numbers`.
    """

    words: Tensor
    known: Tensor
    body: Tensor


class Branch(nn.Module):
    """Tokens and heat maps of one cube. `channels` are those of its images, `body` the numbers told of the robot."""

    def __init__(self, config: BranchConfig, encoder: ImageEncoder, *, channels: int, body: int, words: int) -> None:
        super().__init__()
        config.check()
        self.config = config
        dim, (fine, middle, coarse) = config.dim, encoder.channels
        self.from_features = nn.Conv2d(coarse, config.features, 1)
        edge = config.size // config.grid
        self.from_pixels = nn.Conv2d(channels, config.patch, edge, edge) if config.patch else None
        inner = 4 * config.body
        self.from_body = nn.Sequential(nn.Linear(body, inner), nn.GELU(), nn.Linear(inner, config.body))
        self.from_words = nn.Linear(words, dim)
        self.place = nn.Parameter(torch.randn(len(VIEWS), config.grid**2, dim) * 0.02)
        self.transformer = MultiViewTransformer(config.transformer, dim=dim)
        widths = (dim, dim // 2, dim // 4, 1)
        *up, self.heat = (
            ConvexUpsampling(inputs, outputs, 2, hidden=hidden)
            for inputs, outputs, hidden in zip(widths[:-1], widths[1:], config.up_hidden, strict=True)
        )
        self.up = nn.ModuleList(up)
        self.beside = nn.ModuleList((nn.Conv2d(middle, dim // 2, 1), nn.Conv2d(fine, dim // 4, 1)))
        self.normed = nn.ModuleList((nn.GroupNorm(1, dim // 2), nn.GroupNorm(1, dim // 4)))

    def embed(self, maps: tuple[Tensor, ...], visualisations: Tensor, told: Told) -> Tensor:
        """Returns tokens (frame, view, grid ** 2, dim) that know all views, the words and the body.

        `maps` are the encoder's of all frames' views, from fine to coarse; `visualisations` (frame, view, channel,
        size, size).
        """
        frames, views = visualisations.shape[:2]
        parts = [self.from_features(maps[-1])]
        if self.from_pixels is not None:
            parts.append(self.from_pixels(visualisations.flatten(0, 1)))
        image = torch.cat(parts, 1).flatten(2).transpose(1, 2).view(frames, views, self.config.grid**2, -1)
        robot = self.from_body(told.body)[:, None, None].expand(*image.shape[:3], -1)
        image = torch.cat((image, robot), -1) + self.place
        return self.transformer(image, self.from_words(told.words), told.known)

    def sides(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns what the encoder's finer maps add on the way up, coarse to fine: (frame * view, channel, y, x)."""
        return tuple(beside(finer) for beside, finer in zip(self.beside, reversed(maps[:-1]), strict=True))

    def heat_map(self, tokens: Tensor, sides: tuple[Tensor, ...]) -> Tensor:
        """Returns the scores of every pixel, (frame, view, size, size), from tokens and `sides`."""
        frames, views, _, dim = tokens.shape
        grown = tokens.flatten(0, 1).transpose(1, 2).reshape(frames * views, dim, self.config.grid, self.config.grid)
        for up, norm, side in zip(self.up, self.normed, sides, strict=True):
            grown = functional.leaky_relu(norm(up(grown) + side), 0.02)
        half = self.config.size // 2
        if grown.shape[-1] != half:
            grown = functional.interpolate(grown, size=(half, half), mode="bilinear", align_corners=False)
        return self.heat(grown).view(frames, views, self.config.size, self.config.size)
