"""The cube that a branch sees, the point cloud in it, and its three orthographic views."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

NOWHERE = float("inf")
VIEWS = ("top", "front", "side")
# Per view: axis and sign of the rows (downwards), of the columns (rightwards), and of the depth (away from the viewer).
# Top looks down with the robot below, front looks at the robot, side looks at it from its right (-y).
ROWS = ((0, -1.0), (2, -1.0), (2, -1.0))
COLUMNS = ((1, -1.0), (1, 1.0), (0, 1.0))
DEPTHS = ((2, -1.0), (0, -1.0), (1, 1.0))


@dataclass(frozen=True)
class Cube:
    """A cube in the world: its centre `centre_m` and half its side `half_m`."""

    centre_m: tuple[float, float, float]
    half_m: float

    def normalised(self, position_m: Tensor) -> Tensor:
        """Returns positions (..., 3) in metres as coordinates in the cube, [-1, 1] inside."""
        return (position_m - position_m.new_tensor(self.centre_m)) / self.half_m

    def metres(self, point: Tensor) -> Tensor:
        """Returns coordinates in the cube (..., 3) as positions in the world."""
        return point * self.half_m + point.new_tensor(self.centre_m)


class PointCloud(NamedTuple):
    """`position_m` (frame, point, 3) in the world, infinite where depth is unknown; `rgb` uint8 (frame, point, 3)."""

    position_m: Tensor
    rgb: Tensor


def point_cloud(rgb: Tensor, depth_m: Tensor, intrinsics: Tensor, world_from_camera: Tensor) -> PointCloud:
    """Returns the points that the cameras of each frame see, one per pixel, camera by camera and row by row.

    `rgb` uint8 (frame, camera, height, width, 3); `depth_m` (frame, camera, height, width) along the optical axis, 0
    where unknown; `intrinsics` (frame, camera, 3, 3) px; `world_from_camera` (frame, camera, 4, 4).
    """
    frames, cameras, height, width = depth_m.shape
    rotation, origin_m = world_from_camera[..., :3, :3], world_from_camera[..., None, :3, 3]
    rays = _image_points(height, width, depth_m.device) @ (rotation @ torch.linalg.inv(intrinsics)).transpose(-1, -2)
    depth = depth_m.reshape(frames, cameras, -1, 1)
    position_m = torch.addcmul(origin_m, depth, rays).masked_fill_(depth <= 0, NOWHERE)
    return PointCloud(position_m.view(frames, -1, 3), rgb.reshape(frames, -1, 3))


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


@lru_cache(maxsize=8)
def _image_points(height: int, width: int, device: torch.device) -> Tensor:
    """Returns the homogeneous middles of all pixels, (height * width, 3): column, row, 1."""
    down, across = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((across, down, torch.ones_like(across)), -1).view(-1, 3).to(device)
