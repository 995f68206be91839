"""Convex upsampling: finer maps whose pixels are weighted means of coarse ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional

NEIGHBOURS = 9
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
    weights = logits.view(images, NEIGHBOURS, 1, ratio**2, height, width).softmax(1)
    padded = functional.pad(values, (1, 1, 1, 1), mode="replicate")
    finer = torch.zeros((), dtype=values.dtype, device=values.device)
    for neighbour in range(NEIGHBOURS):
        row, column = divmod(neighbour, 3)
        shifted = padded[:, :, row : row + height, column : column + width]
        finer = finer + weights[:, neighbour] * shifted[:, :, None]
    return functional.pixel_shuffle(finer.reshape(images, channels * ratio**2, height, width), ratio)
