"""A small convolutional encoder: the default, since it trains from random weights on two cores."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.encoders.encoder import ImageEncoder
from policies.encoders.sizes import GROUP

IMAGES_AT_A_TIME = 96


class ConvolutionalEncoder(ImageEncoder):
    """Halves the image stage by stage; after each halving, residual bottleneck blocks see the 3 x 3 neighbourhood.

    `inputs` counts the channels of an image, `widths` those of each stage (multiples of `GROUP`), `blocks` the residual
    blocks per stage. Blocks are bottlenecks because the 3 x 3 convolutions on the finest map cost most. Normalisation
    is by groups of channels of one image, so that a batch equals its images one by one. Channels lie innermost in
    memory, where oneDNN is fastest in float32.
    """

    def __init__(self, *, inputs: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.channels = tuple(widths)
        self.strides = tuple(2 ** (stage + 1) for stage in range(len(widths)))
        before = (inputs, *widths)
        self._stages = nn.ModuleList(
            nn.Sequential(_halving(narrow, width, first=stage == 0), *(_Block(width) for _ in range(blocks)))
            for stage, (narrow, width) in enumerate(zip(before, widths, strict=False))
        ).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # Missing in torch's own stubs.

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns one map per width; the size of the images must be a multiple of the last stride."""
        if images.device.type != "cpu" or len(images) <= IMAGES_AT_A_TIME:
            return self._encoded(images)
        # The system maps the memory of larger batches anew each time, which takes half as long as the convolutions.
        parts = [self._encoded(few) for few in images.split(IMAGES_AT_A_TIME)]
        return tuple(torch.cat(maps) for maps in zip(*parts, strict=True))

    def _encoded(self, images: Tensor) -> tuple[Tensor, ...]:
        features = images.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self._stages:
            features = stage(features)
            maps.append(features)
        return tuple(maps)


class _Block(nn.Module):
    """A residual bottleneck: a 3 x 3 convolution at half the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._norm = nn.GroupNorm(width // GROUP, width)
        self._narrow = nn.Conv2d(width, width // 2, 1)
        self._around = nn.Conv2d(width // 2, width // 2, 3, padding=1)
        self._widen = nn.Conv2d(width // 2, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        around = self._around(functional.silu(self._narrow(self._norm(features))))
        return features + self._widen(functional.silu(around))


def _halving(inputs: int, width: int, *, first: bool) -> nn.Conv2d:
    # The image itself needs the 3 x 3 neighbourhood for its edges; later stages have seen it in their blocks.
    return nn.Conv2d(inputs, width, 3, stride=2, padding=1) if first else nn.Conv2d(inputs, width, 2, stride=2)
