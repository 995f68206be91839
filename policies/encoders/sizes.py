"""Sizes of the encoders and the channels of their images: plain values, which load without PyTorch."""

from dataclasses import dataclass
from enum import Enum

CHANNELS = ("x", "y", "z", "red", "green", "blue", "depth", "row", "column", "seen")
"""What a virtual view shows at each pixel, in this order.

`x`, `y`, `z`: the nearest point, in the cube's [-1, 1]. `red`, `green`, `blue`: its colour in [0, 1]. `depth`: how far
it lies from the middle of the cube along the view. `row`, `column`: where the pixel lies, in [-1, 1]. `seen`: 1 where
there is a point, else 0, and then all but the pixel's position is 0 too.
"""

COLOURS = slice(3, 6)
"""Where in `CHANNELS` red, green and blue lie."""

GROUP = 8
"""Channels per group of the convolutional encoder's group normalisation."""


class HieraSize(Enum):
    """The published sizes of SAM 2.1's image encoder: 27.2, 34.3 and 69.1 million parameters."""

    tiny = "tiny"
    small = "small"
    base_plus = "base_plus"


@dataclass(frozen=True)
class HieraShape:
    """The layers of a Hiera network.

    `width` and `heads` are those of the first stage, and double with each further stage. `blocks` counts the blocks of
    each stage; `global_blocks` are those whose attention spans the whole image. `background` is the side of the learned
    position code that is stretched over the image.
    """

    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    background: int


SHAPES = {
    HieraSize.tiny: HieraShape(96, 1, (1, 2, 7, 2), (5, 7, 9), 7),
    HieraSize.small: HieraShape(96, 1, (1, 2, 11, 2), (7, 10, 13), 7),
    HieraSize.base_plus: HieraShape(112, 2, (2, 3, 16, 3), (12, 16, 20), 14),
}
