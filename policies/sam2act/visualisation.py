"""Heat maps drawn over the views, for videos and for TensorBoard."""

import numpy as np
from torch import Tensor

from policies.encoders.sizes import COLOURS

GLOW = np.array([1.0, 0.85, 0.1])
SCALE = 2


def drawn_heat_maps(visualisations: Tensor, scores: Tensor, frame: int) -> np.ndarray:
    """Returns the views of one `frame` side by side, uint8 (height, width, 3), bright where the waypoint is likely.

    `visualisations` are (frame, view, channel, size, size), `scores` (frame, view, size, size); each view is brightest
    at its own likeliest pixel.
    """
    heat = scores[frame].detach().float().flatten(1).softmax(1).view_as(scores[frame])
    heat = heat / heat.amax((1, 2), keepdim=True)
    seen = visualisations[frame, :, COLOURS].detach().float().permute(0, 2, 3, 1).cpu().numpy()
    glow = heat.sqrt().cpu().numpy()[..., None]
    drawn = seen * (1.0 - glow) + GLOW * glow
    row = np.concatenate([*drawn], axis=1)
    return (row.clip(0.0, 1.0) * 255.0).astype(np.uint8).repeat(SCALE, 0).repeat(SCALE, 1)
