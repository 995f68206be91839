"""Orthographic views of a point cloud: every point covers the pixels around it, and the nearest point is visible."""

from typing import NamedTuple

import torch
from torch import Tensor

from policies.encoders.sizes import CHANNELS
from policies.sam2act.geometry import COLUMNS, DEPTHS, ROWS, VIEWS, PointCloud

# One number per point holds its distance, then its index: the minimum is the nearest point, the first of equals.
_STEPS = 1 << 20
_INDEX_BITS = 32
_INDEX = (1 << _INDEX_BITS) - 1
_EMPTY = 1 << 62


class Lens(NamedTuple):
    """How a cube is rendered: views of `size` x `size` pixels, in which a point covers 2 * `radius_px` + 1 each way.

    Each view also shows points before and behind the cube, up to `reach` times half its side from the middle: a cube
    around a gripper high above the table would otherwise show nothing of the table.
    """

    size: int
    radius_px: int = 1
    reach: float = 1.0


def splat(cloud: PointCloud, centre_m: Tensor, half_m: float, lens: Lens) -> Tensor:
    """Returns views (frame, view, channel, size, size) of the cube of `half_m` around each `centre_m` (frame, 3).

    `cloud` holds the points of all frames, `lens` the size of the views. Channels: x, y, z of the visible point in the
    cube, red, green, blue, depth in units of the reach, row and column position, and 1 where a point is visible. All
    but x, y, z along the view lie in [-1, 1], colours in [0, 1]; where no point is visible all but the positions are 0.
    """
    frames, count = cloud.position_m.shape[:2]
    point = ((cloud.position_m - centre_m[:, None]) / half_m).view(-1, 3)
    apart = point.abs()
    # A view shows the points that lie within the cube along its two image axes.
    shown = ((apart < 1.0).sum(1) >= 2) & (apart < lens.reach).all(1)
    inside = shown.nonzero()[:, 0]
    point = point[inside]
    nearest = _nearest(point, inside // max(count, 1), frames, lens)
    for _ in range(lens.radius_px):
        nearest = _spread(nearest)
    return _views(point, inside, cloud.rgb.reshape(-1, 3), nearest, reach=lens.reach)


def _views(point: Tensor, inside: Tensor, rgb: Tensor, nearest: Tensor, *, reach: float) -> Tensor:
    """Returns all channels of the nearest points; `inside` are their rows of `rgb`.

    Pixels without a point index a last row of zeros, since indexing whole rows is much faster than masking.
    """
    seen = nearest < _EMPTY
    index = (nearest & _INDEX).masked_fill_(~seen, len(point)).view(-1)
    place = torch.cat((point, point.new_zeros(1, 3))).index_select(0, index)
    row = torch.cat((inside, inside.new_full((1,), len(rgb)))).index_select(0, index)
    colour = torch.cat((rgb, rgb.new_zeros(1, 3))).index_select(0, row)
    frames, views, size, _ = nearest.shape
    rendered = point.new_empty(frames, views, len(CHANNELS), size, size)
    rendered[:, :, :3] = place.view(*nearest.shape, 3).movedim(-1, 2)
    rendered[:, :, 3:6] = colour.view(*nearest.shape, 3).movedim(-1, 2)
    rendered[:, :, 3:6] /= 255.0
    for view, (axis, sign) in enumerate(DEPTHS):
        torch.mul(rendered[:, view, axis], sign / reach, out=rendered[:, view, 6])
    rendered[:, :, 7:9] = _positions(size, like=point).movedim(-1, 0)
    rendered[:, :, 9] = seen
    return rendered


def _nearest(point: Tensor, frame: Tensor, frames: int, lens: Lens) -> Tensor:
    """Returns distance and index of the nearest point of each pixel, (frame, view, size, size)."""
    # One row per axis, in 32 bits: most of the rendering time is spent here.
    size, rows = lens.size, point.T.contiguous()
    cell = ((rows + 1.0) * (size / 2)).floor_().int()
    distance = ((rows / lens.reach + 1.0) * (_STEPS / 2)).int()
    first = frame.int() * (len(VIEWS) * size * size)
    number = torch.arange(len(point), device=point.device)
    pixels = frames * len(VIEWS) * size * size
    nearest = number.new_full((pixels + 1,), _EMPTY)  # The last entry takes the points that a view does not show.
    for view in range(len(VIEWS)):
        row, column = (_along(cell, axis, sign, size - 1) for axis, sign in (ROWS[view], COLUMNS[view]))
        pixel = (row * size).add_(column).add_(first).add_(view * size * size)
        if lens.reach > 1.0:
            # Points that are inside the cube along one of two axes only.
            beyond = (row < 0) | (row >= size) | (column < 0) | (column >= size)
            pixel.masked_fill_(beyond, pixels)
        key = _along(distance, *DEPTHS[view], _STEPS).long()
        key = key.bitwise_left_shift_(_INDEX_BITS).bitwise_or_(number)
        nearest.scatter_reduce_(0, pixel.long(), key, "amin")
    return nearest[:-1].view(frames, len(VIEWS), size, size)


def _along(values: Tensor, axis: int, sign: float, most: int) -> Tensor:
    return values[axis] if sign > 0 else most - values[axis]


def _spread(nearest: Tensor) -> Tensor:
    """Returns the nearest point of each pixel and its eight neighbours."""
    for dim in (2, 3):
        length = nearest.shape[dim] - 1
        wider = nearest.clone()
        for ours, theirs in ((0, 1), (1, 0)):
            target = wider.narrow(dim, ours, length)
            torch.minimum(target, nearest.narrow(dim, theirs, length), out=target)
        nearest = wider
    return nearest


def _positions(size: int, *, like: Tensor) -> Tensor:
    """Returns row and column of every pixel, (size, size, 2) in [-1, 1]."""
    middle = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * (2 / size) - 1.0
    return torch.stack(torch.meshgrid(middle, middle, indexing="ij"), -1)
