"""How well SAM2Act knows its waypoints: what training looks at besides the losses."""

import torch
from torch import Tensor

from policies.heads.heatmap import gaussian, squared_distance_px
from policies.sam2act.config import Sam2ActConfig
from policies.sam2act.views import most_likely_point, pixels

NEAR_M = 0.05
KNOWN_SHARE = 0.7  # Of two places that look alike, each gets about a half.


def needs_memory(scores: Tensor, aim: Tensor, config: Sam2ActConfig) -> Tensor:
    """Returns the frames (frame,) whose waypoint `aim` (frame, 3) in the cube is not known by these heat maps.

    `scores` (frame, view, size, size) are those without memory: in one view or another, the heat near the waypoint is
    less than `KNOWN_SHARE` of what should be there. It counts what is left to be known, not whether the guess was
    right: learning from wrong guesses alone would teach to avoid what one would have guessed.
    """
    size = scores.shape[-1]
    at = pixels(aim, size)
    close = squared_distance_px(at, size) <= (NEAR_M * size / (2 * config.cube.half_m)) ** 2
    heat = scores.float().flatten(-2).softmax(-1).view_as(scores)
    there, wanted = ((one * close).sum((-2, -1)) for one in (heat, gaussian(at, size, sigma_px=config.heat_sigma_px)))
    return (there < KNOWN_SHARE * wanted).any(-1)


def off_m(scores: Tensor, aim: Tensor, config: Sam2ActConfig) -> Tensor:
    """Returns how far the likeliest coarse waypoints are from `aim` (frame, 3) in the cube, (frame,)."""
    return (config.cube.metres(most_likely_point(scores)) - config.cube.metres(aim)).norm(dim=-1)


def near(off: Tensor) -> Tensor:
    """Returns the share of distances (frame,) in metres that are small enough for the closer look."""
    return (off < NEAR_M).float().mean()


def entropy(attention: Tensor) -> Tensor:
    """Returns the mean entropy, in nats, of attention (frame, moment) over frames that remember something."""
    remembering = attention.sum(-1) > 0.5
    each = torch.special.entr(attention).sum(-1)
    return (each * remembering).sum().detach() / remembering.sum().clamp_min(1)
