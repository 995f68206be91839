"""One branch of SAM2Act: pictures of a cube into tokens that know each other, and those into a heat map per view."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.errors import ConfigError
from policies.encoders.encoder import ImageEncoder
from policies.heads.upsampling import ConvexUpsampling
from policies.sam2act.transformer import MultiViewTransformer, TransformerConfig
from policies.sam2act.views import VIEWS


@dataclass(kw_only=True)
class BranchConfig:
    """`grid` x `grid` tokens per view; each is `features` of the encoder, `patch` of the pixels and `body` numbers.

    `patch` 0 leaves the raw pixels to the encoder. `size` is the side of pictures and heat maps in pixels.
    """

    size: int = 64
    grid: int = 8
    features: int = 80
    patch: int = 0
    body: int = 16
    up_hidden: int = 48
    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    @property
    def dim(self) -> int:
        """The width of a token."""
        return self.features + self.patch + self.body

    def check(self) -> None:
        """Raises `ConfigError` for sizes that do not fit each other."""
        if self.grid < 1 or self.size % self.grid:
            raise ConfigError("`grid` must divide `size`.", value=(self.grid, self.size))
        if min(self.features, self.body) < 1 or self.patch < 0 or self.dim % 4:
            raise ConfigError("The width of a token must be a multiple of 4.", value=self.dim)
        self.transformer.check()


class Branch(nn.Module):
    """Tokens and heat maps of one cube. `channels` are those of its pictures, `body` the numbers told of the robot."""

    def __init__(self, config: BranchConfig, encoder: ImageEncoder, *, channels: int, body: int, words: int) -> None:
        super().__init__()
        config.check()
        self.config = config
        dim, (fine, middle, coarse) = config.dim, encoder.channels
        self.from_features = nn.Conv2d(coarse, config.features, 1)
        edge = config.size // config.grid
        self.from_pixels = nn.Conv2d(channels, config.patch, edge, edge) if config.patch else None
        self.from_body = nn.Sequential(nn.Linear(body, 4 * config.body), nn.GELU(), nn.Linear(4 * config.body, config.body))
        self.from_words = nn.Linear(words, dim)
        self.place = nn.Parameter(torch.randn(len(VIEWS), config.grid**2, dim) * 0.02)
        self.transformer = MultiViewTransformer(config.transformer, dim=dim)
        self.up = nn.ModuleList((ConvexUpsampling(dim, dim // 2, 2, hidden=config.up_hidden), ConvexUpsampling(dim // 2, dim // 4, 2, hidden=config.up_hidden)))
        self.beside = nn.ModuleList((nn.Conv2d(middle, dim // 2, 1), nn.Conv2d(fine, dim // 4, 1)))
        self.normed = nn.ModuleList((nn.GroupNorm(1, dim // 2), nn.GroupNorm(1, dim // 4)))
        self.heat = ConvexUpsampling(dim // 4, 1, 2, hidden=config.up_hidden)

    def embed(self, maps: tuple[Tensor, ...], pictures: Tensor, words: Tensor, known: Tensor, body: Tensor) -> Tensor:
        """Returns tokens (frame, view, grid ** 2, dim) that know all views, the words and the body.

        `maps` are the encoder's of all frames' views, from fine to coarse; `pictures` (frame, view, channel, size,
        size); `words` (frame, word, width), of which `known` (frame, word) are to be read; `body` (frame, number).
        """
        frames, views = pictures.shape[:2]
        parts = [self.from_features(maps[-1])]
        if self.from_pixels is not None:
            parts.append(self.from_pixels(pictures.flatten(0, 1)))
        image = torch.cat(parts, 1).flatten(2).transpose(1, 2).view(frames, views, self.config.grid**2, -1)
        robot = self.from_body(body)[:, None, None].expand(*image.shape[:3], -1)
        image = torch.cat((image, robot), -1) + self.place
        return self.transformer(image, self.from_words(words), known)

    def heat_map(self, tokens: Tensor, maps: tuple[Tensor, ...]) -> Tensor:
        """Returns the scores of every pixel, (frame, view, size, size), from tokens and the encoder's finer maps."""
        frames, views, _, dim = tokens.shape
        grown = tokens.flatten(0, 1).transpose(1, 2).reshape(frames * views, dim, self.config.grid, self.config.grid)
        for up, beside, norm, finer in zip(self.up, self.beside, self.normed, reversed(maps[:-1]), strict=True):
            grown = functional.leaky_relu(norm(up(grown) + beside(finer)), 0.02)
        half = self.config.size // 2
        if grown.shape[-1] != half:
            grown = functional.interpolate(grown, size=(half, half), mode="bilinear", align_corners=False)
        return self.heat(grown).view(frames, views, self.config.size, self.config.size)
