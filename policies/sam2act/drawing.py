"""Heat maps drawn over what the views show, for films and for TensorBoard."""

import numpy as np
from torch import Tensor

from policies.sam2act.network import Look

COLOURS = slice(3, 6)
GLOW = np.array([1.0, 0.85, 0.1])
SCALE = 2


def drawn_heat_maps(look: Look, scores: Tensor, frame: int) -> np.ndarray:
    """Returns the views of one frame side by side, uint8 (height, width, 3), glowing where the waypoint may be.

    `scores` are (frame, view, size, size); each view glows most at its own likeliest pixel.
    """
    heat = scores[frame].detach().float().flatten(1).softmax(1).view_as(scores[frame])
    heat = heat / heat.amax((1, 2), keepdim=True)
    seen = look.visualisations[frame, :, COLOURS].detach().float().permute(0, 2, 3, 1).cpu().numpy()
    glow = heat.sqrt().cpu().numpy()[..., None]
    drawn = seen * (1.0 - glow) + GLOW * glow
    row = np.concatenate([*drawn], axis=1)
    return (row.clip(0.0, 1.0) * 255.0).astype(np.uint8).repeat(SCALE, 0).repeat(SCALE, 1)
