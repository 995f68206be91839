"""One branch of SAM2Act: views of a cube become tokens, which attend to each other and give one heat map per view."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.encoders.encoder import ImageEncoder
from policies.heads.upsampling import ConvexUpsampling
from policies.sam2act.geometry import VIEWS
from policies.sam2act.inputs import scatter_valid
from policies.sam2act.settings import BranchConfig, TransformerConfig
from policies.training.learner import FROZEN

SKIP = "side"
"""How cached files name the skip connections, followed by their number."""


class Conditioning(NamedTuple):
    """The inputs of a branch besides its views.

    `words` (frame, word, width) are the embedded instruction; `known` (frame, word) is False in its padding.
    `proprioception` (frame, number) is `inputs.proprioception_numbers`.
    """

    words: Tensor
    known: Tensor
    proprioception: Tensor


class BranchFeatures(NamedTuple):
    """The output of a branch for its cube: views, skip connections, and tokens (frame, view, grid ** 2, dim).

    `visualisations` are (frame, view, channel, size, size); `skips` are as `Branch.skips` returns them.
    """

    visualisations: Tensor
    skips: tuple[Tensor, ...]
    tokens: Tensor


class CoarseFeatures(NamedTuple):
    """Features of the coarse branch from which memory is trained; all but `needed` are as in `BranchFeatures`.

    `skips` are (frame, view, channel, y, x) each; `needed` (frame,) marks the frames whose waypoint cannot be found
    without memory, None if it has not been computed.
    """

    tokens: Tensor
    skips: tuple[Tensor, ...]
    needed: Tensor | None

    @classmethod
    def of(cls, features: BranchFeatures) -> "CoarseFeatures":
        """Returns the features of all frames, with views and frames apart."""
        views = features.tokens.shape[:2]
        return cls(features.tokens, tuple(skip.unflatten(0, views) for skip in features.skips), None)

    @classmethod
    def cached(cls, arrays: Mapping[str, Tensor]) -> "CoarseFeatures | None":
        """Returns the cached features that `batch` holds, as `named` wrote them, or None."""
        kept = {name.removeprefix(FROZEN): value for name, value in arrays.items() if name.startswith(FROZEN)}
        if not kept:
            return None
        skips = sorted(name for name in kept if name.startswith(SKIP))
        return cls(kept["tokens"].float(), tuple(kept[name].float() for name in skips), kept["needed"])

    def named(self, valid: Tensor) -> dict[str, Tensor]:
        """Returns the arrays to cache, (batch, time, ...) where `valid` (batch, time); floats in half precision."""
        skips = {f"{SKIP}{index}": skip.half() for index, skip in enumerate(self.skips)}
        kept = {"tokens": self.tokens.half(), **skips} | ({} if self.needed is None else {"needed": self.needed})
        return {name: scatter_valid(flat, valid) for name, flat in kept.items()}

    def skips_of(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Returns the skip connections of some frames (frame,) as `Branch.heat_map` takes them."""
        return tuple(skip[frames].flatten(0, 1) for skip in self.skips)


class Branch(nn.Module):
    """Tokens and heat maps of one cube.

    `channels` is the number of channels of a view, `proprioception` the number of proprioceptive values, `words` the
    width of an embedded word. Names of modules are keys of shipped weights, so they stay: `beside` and `normed` belong
    to the skip connections, `place` is the position code of the tokens.
    """

    def __init__(
        self, config: BranchConfig, encoder: ImageEncoder, *, channels: int, proprioception: int, words: int
    ) -> None:
        super().__init__()
        config.check()
        self.config = config
        dim, (fine, middle, coarse) = config.dim, encoder.channels
        self.from_features = nn.Conv2d(coarse, config.features, 1)
        edge = config.size // config.grid
        self.from_pixels = nn.Conv2d(channels, config.patch, edge, edge) if config.patch else None
        inner = 4 * config.body
        self.from_body = nn.Sequential(nn.Linear(proprioception, inner), nn.GELU(), nn.Linear(inner, config.body))
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

    def embed(self, maps: tuple[Tensor, ...], visualisations: Tensor, conditioning: Conditioning) -> Tensor:
        """Returns tokens (frame, view, grid ** 2, dim) that have attended to all views, words and proprioception.

        `maps` are the encoder's feature maps of the views of all frames, from fine to coarse; `visualisations` are the
        views themselves (frame, view, channel, size, size); `conditioning` holds words and proprioception.
        """
        frames, views = visualisations.shape[:2]
        parts = [self.from_features(maps[-1])]
        if self.from_pixels is not None:
            parts.append(self.from_pixels(visualisations.flatten(0, 1)))
        image = torch.cat(parts, 1).flatten(2).transpose(1, 2).view(frames, views, self.config.grid**2, -1)
        robot = self.from_body(conditioning.proprioception)[:, None, None].expand(*image.shape[:3], -1)
        image = torch.cat((image, robot), -1) + self.place
        return self.transformer(image, self.from_words(conditioning.words), conditioning.known)

    def skips(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns the skip connections from the encoder's finer maps, coarse to fine: (frame * view, channel, y, x)."""
        return tuple(beside(finer) for beside, finer in zip(self.beside, reversed(maps[:-1]), strict=True))

    def heat_map(self, tokens: Tensor, skips: tuple[Tensor, ...]) -> Tensor:
        """Returns the scores of every pixel, (frame, view, size, size), from tokens and `skips`."""
        frames, views, _, dim = tokens.shape
        grown = tokens.flatten(0, 1).transpose(1, 2).reshape(frames * views, dim, self.config.grid, self.config.grid)
        for up, norm, skip in zip(self.up, self.normed, skips, strict=True):
            grown = functional.leaky_relu(norm(up(grown) + skip), 0.02)
        half = self.config.size // 2
        if grown.shape[-1] != half:
            grown = functional.interpolate(grown, size=(half, half), mode="bilinear", align_corners=False)
        return self.heat(grown).view(frames, views, self.config.size, self.config.size)


class MultiViewTransformer(nn.Module):
    """Attention over tokens of width `dim`: within each view, then over all views and words.

    Pre-norm layers with gated GELU, as in RVT (arXiv 2306.14896, section 3.2).
    """

    def __init__(self, config: TransformerConfig, *, dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, config.width)
        self.alone = nn.ModuleList(_Layer(config) for _ in range(config.alone))
        self.joint = nn.ModuleList(_Layer(config) for _ in range(config.joint))
        self.leave = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, dim))

    def forward(self, image: Tensor, extra: Tensor, known: Tensor) -> Tensor:
        """Returns the tokens `image` (frame, view, token, dim) after attention to each other and to the tokens `extra`.

        `extra` are (frame, word, dim); tokens attend only to those that `known` (frame, word) marks.
        """
        frames, views, tokens, _ = image.shape
        mixed = self.enter(image).flatten(0, 1)
        for layer in self.alone:
            mixed = layer(mixed, None)
        mixed = torch.cat((mixed.view(frames, views * tokens, -1), self.enter(extra)), 1)
        seen = torch.cat((known.new_ones(frames, views * tokens), known), 1)[:, None, None, :]
        for layer in self.joint:
            mixed = layer(mixed, seen)
        return self.leave(mixed[:, : views * tokens]).view(frames, views, tokens, -1)


class _Layer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.width, config.width * config.feedforward
        self.heads, self.dropout = config.heads, config.dropout
        self.before_attention, self.before_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.gated, self.shrunk = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, tokens: Tensor, seen: Tensor | None) -> Tensor:
        batch, count, width = tokens.shape
        split = self.query_key_value(self.before_attention(tokens)).view(batch, count, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
        tokens = tokens + self._drop(self.attended(attended.transpose(1, 2).reshape(batch, count, width)))
        inner, gate = self.gated(self.before_feedforward(tokens)).chunk(2, -1)
        return tokens + self._drop(self.shrunk(inner * functional.gelu(gate)))

    def _drop(self, change: Tensor) -> Tensor:
        return functional.dropout(change, self.dropout, self.training) if self.dropout else change
