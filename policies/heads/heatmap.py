"""Heat maps: where in a view the waypoint lies, as a distribution over its pixels."""

import torch
from torch import Tensor

SIGMA_PX = 1.5
REACH_SIGMAS = 3.0


def gaussian(points_px: Tensor, size: int, *, sigma_px: float = SIGMA_PX) -> Tensor:
    """Returns the target (..., `size`, `size`): a Gaussian of `sigma_px` around each of `points_px` (..., 2).

    It is cut at three sigma, with sum 1. Points are (row, column) in pixels from the outer corner, so that pixel
    centres lie at half-integers. Where no pixel is within reach of the point, the target is zero everywhere.
    """
    squared = squared_distance_px(points_px, size)
    heat = torch.exp(squared / (-2 * sigma_px**2)).masked_fill(squared > (REACH_SIGMAS * sigma_px) ** 2, 0.0)
    total = heat.sum((-2, -1), keepdim=True)
    return torch.where(total > 0, heat / total.clamp_min(torch.finfo(heat.dtype).tiny), 0.0)


def squared_distance_px(points_px: Tensor, size: int) -> Tensor:
    """Returns the squared distance of every pixel's centre from each point (..., 2), in pixels: (..., size, size)."""
    centres = torch.arange(size, dtype=points_px.dtype, device=points_px.device) + 0.5
    row, column = ((centres - points_px[..., axis, None]).square() for axis in (0, 1))
    return row[..., :, None] + column[..., None, :]


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Returns the cross-entropy (...) of heat maps given as logits (..., height, width), in nats.

    It is least, the target's own entropy, where softmax(logits) is the target; zero where the target is empty.
    """
    log_heat = logits.float().flatten(-2).log_softmax(-1)
    return -(target.flatten(-2) * log_heat).sum(-1)


def heatmap_loss(logits: Tensor, points_px: Tensor, *, sigma_px: float = SIGMA_PX) -> Tensor:
    """Returns the loss (...) of square heat maps `logits` (..., size, size) for `points_px` (..., 2), (row, column).

    Targets are as in `gaussian` with `sigma_px`.
    """
    return soft_cross_entropy(logits, gaussian(points_px.float(), logits.shape[-1], sigma_px=sigma_px))
