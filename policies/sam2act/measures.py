"""How well SAM2Act knows its waypoints: what training looks at besides the losses."""

import torch
from torch import Tensor

from policies.heads.heatmap import gaussian, soft_cross_entropy
from policies.sam2act.config import Sam2ActConfig
from policies.sam2act.views import most_likely_point, pixels

NEAR_M = 0.05
# Two places that look alike cost log 2 = 0.69 nats, whichever is the right one; a place that is known costs about 0.05.
NEEDED_NATS = 0.35


def needs_memory(scores: Tensor, aim: Tensor, config: Sam2ActConfig) -> Tensor:
    """Returns the frames (frame,) whose waypoint `aim` (frame, 3) in the cube is not known by these heat maps.

    `scores` (frame, view, size, size) are those without memory. It counts what is left to be known of a waypoint, not
    whether the guess was right: learning from wrong guesses alone would teach to avoid what one would have guessed.
    """
    target = gaussian(pixels(aim, scores.shape[-1]), scores.shape[-1], sigma_px=config.heat_sigma_px)
    unknown = soft_cross_entropy(scores, target) - torch.special.entr(target).sum((-2, -1))
    return unknown.mean(-1) > NEEDED_NATS


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
