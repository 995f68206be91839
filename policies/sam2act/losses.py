"""The losses of SAM2Act, and measures of the accuracy of its waypoints."""

import torch
from torch import Tensor
from torch.nn import functional

from policies.heads.autoregressive import ActionLogits
from policies.heads.heatmap import gaussian, heatmap_loss, squared_distance_px
from policies.sam2act.geometry import most_likely_point, pixels
from policies.sam2act.inputs import Keyframes
from policies.sam2act.settings import Sam2ActSettings

NEAR_M = 0.05
KNOWN_SHARE = 0.7  # Two places that look alike get about a half each.


def waypoint_loss(scores: Tensor, point: Tensor, *, sigma_px: float) -> Tensor:
    """Returns the loss (frame,) of heat maps `scores` (frame, view, size, size) for `point` (frame, 3).

    It is a mean over the views; targets have the width `sigma_px`.
    """
    at = pixels(point, scores.shape[-1])
    return heatmap_loss(scores, at, sigma_px=sigma_px).mean(-1)


def action_losses(logits: ActionLogits, keyframes: Keyframes) -> dict[str, Tensor]:
    """Returns the losses of the action head by name, each a mean over the frames."""
    rotation = functional.cross_entropy(logits.rotation.flatten(0, 1), keyframes.rotation.flatten(), reduction="none")
    return {
        "rotation": rotation.view(-1, 3).sum(1).mean(),
        "gripper": functional.cross_entropy(logits.gripper, keyframes.gripper_open),
        "collisions": functional.cross_entropy(logits.collisions, keyframes.avoid_collisions),
    }


def needs_memory(scores: Tensor, aim: Tensor, settings: Sam2ActSettings) -> Tensor:
    """Returns the frames (frame,) whose waypoint `aim` (frame, 3) in the cube these heat maps do not find.

    `settings` give the width of the targets; `scores` (frame, view, size, size) are computed without memory. A frame
    needs memory if, in some view, the heat near the waypoint is less than `KNOWN_SHARE` of the target's. The missing
    heat counts, not whether the likeliest point was right: training on wrong guesses alone would teach the network to
    avoid guesses.
    """
    size = scores.shape[-1]
    at = pixels(aim, size)
    close = squared_distance_px(at, size) <= (NEAR_M * size / (2 * settings.cube.half_m)) ** 2
    heat = scores.float().flatten(-2).softmax(-1).view_as(scores)
    there, wanted = ((one * close).sum((-2, -1)) for one in (heat, gaussian(at, size, sigma_px=settings.heat_sigma_px)))
    return (there < KNOWN_SHARE * wanted).any(-1)


def waypoint_error_m(scores: Tensor, aim: Tensor, settings: Sam2ActSettings) -> Tensor:
    """Returns the distance (frame,) of the likeliest coarse waypoints in `scores` from `aim` (frame, 3) in the cube.

    `settings` give the size of the cube.
    """
    return (settings.cube.metres(most_likely_point(scores)) - settings.cube.metres(aim)).norm(dim=-1)


def share_near(error_m: Tensor) -> Tensor:
    """Returns the share of distances (frame,) in metres that are small enough for the fine branch."""
    return (error_m < NEAR_M).float().mean()


def entropy(attention: Tensor) -> Tensor:
    """Returns the mean entropy, in nats, of attention (frame, moment) over frames with something in memory."""
    attending = attention.sum(-1) > 0.5
    each = torch.special.entr(attention).sum(-1)
    return (each * attending).sum().detach() / attending.sum().clamp_min(1)
