"""Convex upsampling: finer maps whose pixels are weighted means of coarse ones."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

NEIGHBOURS = 9
CACHED_NUMBERS = 1 << 17
WEIGHT_SCALE = 0.25  # RAFT's, to balance gradients: weights learn slower than what is weighted.


class ConvexUpsampling(nn.Module):
    """Predicts a map of `outputs` channels and makes it `ratio` times finer, with weights that it predicts too.

    Both predictions take two convolutions over `hidden` channels (0: twice the inputs). Source: RAFT, arXiv
    2003.12039, section 3.3; borders are repeated here, not padded with zeros, so that edges do not fade.
    """

    def __init__(self, inputs: int, outputs: int, ratio: int, *, hidden: int = 0) -> None:
        super().__init__()
        width = hidden or 2 * inputs
        self._ratio = ratio
        self._values = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, outputs, 3, padding=1)
        )
        self._weights = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, NEIGHBOURS * ratio**2, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Returns (image, outputs, ratio * height, ratio * width) of features (image, inputs, height, width)."""
        return convex_upsampling(self._values(features), WEIGHT_SCALE * self._weights(features), self._ratio)


def convex_upsampling(values: Tensor, logits: Tensor, ratio: int) -> Tensor:
    """Returns `values` (image, channel, height, width) made `ratio` times finer.

    Every fine pixel is the mean of the 3 x 3 coarse ones around it, weighted by the softmax of its nine `logits`
    (image, 9 * ratio**2, height, width): neighbour by neighbour in rows, and for each the fine pixels in rows.
    """
    images, channels, height, width = values.shape
    weights = logits.reshape(images, NEIGHBOURS, ratio**2, height, width).softmax(1)
    padded = functional.pad(values.to(weights.dtype), (1, 1, 1, 1), mode="replicate")
    finer: Tensor = _WeightedMean.apply(padded, weights)  # pyright: ignore[reportAssignmentType]
    return functional.pixel_shuffle(finer.view(images, channels * ratio**2, height, width), ratio)


class _WeightedMean(torch.autograd.Function):
    """Sums nine shifted maps (image, channel, height + 2, width + 2), each times its weights.

    The weights are (image, 9, fine pixel, height, width), the sums (image, channel, fine pixel, height, width). Plain
    autograd keeps each of the nine products, and takes half as long again; here a few images at a time stay in the
    processor's cache.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(padded, weights)
        sums = padded.new_empty(*padded.shape[:2], *weights.shape[2:])
        for few in _few_at_a_time(sums):
            total = sums[few]
            for neighbour, around in enumerate(_shifted(padded[few])):
                weight = weights[few, None, neighbour]
                torch.mul(weight, around, out=total) if neighbour == 0 else total.addcmul_(weight, around)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        padded, weights = ctx.saved_tensors
        to_padded, to_weights = torch.zeros_like(padded), torch.empty_like(weights)
        for few in _few_at_a_time(gradient):
            part = gradient[few]
            places = zip(_shifted(padded[few]), _shifted(to_padded[few]), strict=True)
            for neighbour, (around, place) in enumerate(places):
                to_weights[few, neighbour] = (part * around).sum(1)
                place.add_((part * weights[few, None, neighbour]).sum(2, keepdim=True))
        return to_padded, to_weights


def _shifted(padded: Tensor) -> Iterator[Tensor]:
    """Yields views (image, channel, 1, height, width) of the neighbours of all pixels, neighbour by neighbour."""
    height, width = padded.shape[2] - 2, padded.shape[3] - 2
    for row in range(3):
        for column in range(3):
            yield padded[:, :, None, row : row + height, column : column + width]


def _few_at_a_time(maps: Tensor) -> Iterator[slice]:
    """Yields slices of images small enough for a processor's cache; a GPU takes all at once."""
    images = max(1, len(maps))
    step = max(1, CACHED_NUMBERS * images // max(1, maps.numel())) if maps.device.type == "cpu" else images
    return (slice(start, start + step) for start in range(0, len(maps), step))
