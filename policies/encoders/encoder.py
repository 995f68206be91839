"""The interface of image encoders: from virtual views to maps of features, fine to coarse."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ImageEncoder(nn.Module, ABC):
    """Turns images into maps of features.

    `channels` is the width of each map, `strides` how many input pixels one of its pixels stands for; both run from
    fine to coarse. Images are encoded one by one: what else is in the batch changes nothing.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns maps (image, channels[i], side, side), fine to coarse, of images (image, channel, size, size).

        The channels begin with `policies.encoders.sizes.CHANNELS`; an eleventh may follow.
        """

    def sides(self, size: int) -> tuple[int, ...]:
        """Returns the side of each map in pixels, for images of `size`."""
        return tuple(size // stride for stride in self.strides)
