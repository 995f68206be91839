"""The three orthographic views of a cube, and where a point lies in them."""

import torch
from torch import Tensor

VIEWS = ("top", "front", "side")
# Per view: axis and sign of the rows (downwards), of the columns (rightwards), and of the depth (away from the eye).
# Top looks down with the robot below, front looks at the robot, side looks at it from its right (-y).
ROWS = ((0, -1.0), (2, -1.0), (2, -1.0))
COLUMNS = ((1, -1.0), (1, 1.0), (0, 1.0))
DEPTHS = ((2, -1.0), (0, -1.0), (1, 1.0))


def pixels(point: Tensor, size: int) -> Tensor:
    """Returns row and column (..., view, 2) of points (..., 3) in the cube: k + 0.5 is the middle of pixel k."""
    row = torch.stack([point[..., axis] * sign for axis, sign in ROWS], -1)
    column = torch.stack([point[..., axis] * sign for axis, sign in COLUMNS], -1)
    return (torch.stack((row, column), -1) + 1.0) * (size / 2)


def most_likely_point(scores: Tensor) -> Tensor:
    """Returns the point (batch, 3) in the cube whose three pixels have the largest sum of scores.

    `scores` are (batch, view, size, size). All size^3 points of the grid are compared; the middles of pixels are the
    grid, so the answer is exact to half a pixel. Ties go to the first.
    """
    size = scores.shape[-1]
    top, front, side = (_ascending(scores[:, view], view) for view in range(len(VIEWS)))
    # (x, y), (z, y) and (z, x) into (x, y, z).
    volume = top[:, :, :, None] + front.transpose(1, 2)[:, None, :, :] + side.transpose(1, 2)[:, :, None, :]
    best = volume.flatten(1).argmax(1)
    index = torch.stack((best // size**2, best // size % size, best % size), -1)
    return (index + 0.5) * (2 / size) - 1.0


def _ascending(view_scores: Tensor, view: int) -> Tensor:
    """Returns one view's scores with rows and columns in the order of their coordinates."""
    flipped = [axis for axis, (_, sign) in ((1, ROWS[view]), (2, COLUMNS[view])) if sign < 0]
    return view_scores.flip(flipped)
