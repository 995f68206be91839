"""Depth images of all cameras into one cloud of coloured points per frame."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

NOWHERE = float("inf")


class Cloud(NamedTuple):
    """`position_m` (frame, point, 3) in the world, infinite where depth is unknown; `rgb` uint8 (frame, point, 3)."""

    position_m: Tensor
    rgb: Tensor


def point_cloud(rgb: Tensor, depth_m: Tensor, intrinsics: Tensor, world_from_camera: Tensor) -> Cloud:
    """Returns the points that the cameras of each frame see, camera by camera and row by row.

    `rgb` uint8 (frame, camera, height, width, 3); `depth_m` (frame, camera, height, width) along the optical axis, 0
    where unknown; `intrinsics` (frame, camera, 3, 3) px; `world_from_camera` (frame, camera, 4, 4).
    """
    frames, cameras, height, width = depth_m.shape
    rotation, origin_m = world_from_camera[..., :3, :3], world_from_camera[..., None, :3, 3]
    rays = _image_points(height, width, depth_m.device) @ (rotation @ torch.linalg.inv(intrinsics)).transpose(-1, -2)
    depth = depth_m.reshape(frames, cameras, -1, 1)
    position_m = torch.addcmul(origin_m, depth, rays).masked_fill_(depth <= 0, NOWHERE)
    return Cloud(position_m.view(frames, -1, 3), rgb.reshape(frames, -1, 3))


@lru_cache(maxsize=8)
def _image_points(height: int, width: int, device: torch.device) -> Tensor:
    """Returns the homogeneous middles of all pixels, (height * width, 3): column, row, 1."""
    down, across = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((across, down, torch.ones_like(across)), -1).view(-1, 3).to(device)
