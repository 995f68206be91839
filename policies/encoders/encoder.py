"""The seam of image encoders: from virtual views to maps of features, fine to coarse."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

CHANNELS = ("x", "y", "z", "red", "green", "blue", "depth", "row", "column", "seen")
"""What a virtual view shows at each pixel, in this order.

`x`, `y`, `z`: the nearest point, in the cube's [-1, 1]. `red`, `green`, `blue`: its colour in [0, 1]. `depth`: how far
it lies behind the near face of the cube. `row`, `column`: where the pixel lies, in [-1, 1]. `seen`: 1 where there is a
point, else 0, and then all but the pixel's place is 0 too.
"""

COLOURS = slice(3, 6)
"""Where in `CHANNELS` red, green and blue lie."""


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

        The channels begin with `CHANNELS`; an eleventh may follow.
        """

    def sides(self, size: int) -> tuple[int, ...]:
        """Returns the side of each map in pixels, for images of `size`."""
        return tuple(size // stride for stride in self.strides)
