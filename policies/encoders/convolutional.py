"""A small convolutional encoder: the default, since it trains from nothing on two cores."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.encoders.config import GROUP, ConvolutionalConfig
from policies.encoders.encoder import ImageEncoder

IMAGES_AT_A_TIME = 96


class ConvolutionalEncoder(ImageEncoder):
    """Halves the image stage by stage; after each, residual blocks look around at half their width.

    Bottlenecks, since the 3 x 3 convolutions on the finest map cost most. Normalised in groups of channels of one
    image, so that a batch equals its images one by one. Channels lie innermost, where oneDNN is fastest in float32.
    """

    def __init__(self, config: ConvolutionalConfig) -> None:
        super().__init__()
        self.channels = tuple(config.widths)
        self.strides = tuple(2 ** (stage + 1) for stage in range(len(config.widths)))
        before = (config.inputs, *config.widths)
        self._stages = nn.ModuleList(
            nn.Sequential(_halving(inputs, width, first=stage == 0), *(_Block(width) for _ in range(config.blocks)))
            for stage, (inputs, width) in enumerate(zip(before, config.widths, strict=False))
        ).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # Missing in torch's own stubs.

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns one map per width; the size of the images must be a multiple of the last stride."""
        if images.device.type != "cpu" or len(images) <= IMAGES_AT_A_TIME:
            return self._encoded(images)
        # Larger maps are mapped anew by the system each time, which takes as long as half of the convolutions.
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
    """Adds what a 3 x 3 neighbourhood says, read at half the width."""

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
    # Edges matter on the image itself; between stages the blocks have already looked around.
    return nn.Conv2d(inputs, width, 3, stride=2, padding=1) if first else nn.Conv2d(inputs, width, 2, stride=2)
