"""Orientations as bins: one of 72 steps of 5 degrees about each of three axes."""

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 72


@dataclass(frozen=True)
class RotationBins:
    """Counts orientations in `count` equal bins per Euler angle; bin 0 is centred on 0, so that level stays level.

    The angles turn about the fixed axes x, then y, then z, in this order, and bring the world's axes onto the tool's
    after renaming: y, z and x of the tool become x, y and z. So the middle angle is how far the tool's y axis, along
    which its fingers open, tilts from level; only where it is vertical (+-90 degrees) do the outer two coincide. A tool
    that points down, or ahead with level fingers, is as far from there as can be: at (-90, 0, yaw) and (0, 0, yaw).
    """

    count: int = BINS

    def encode(self, orientation: Tensor) -> Tensor:
        """Returns the bins (..., 3), int64 in [0, count), of unit quaternions xyzw (..., 4)."""
        steps = euler_angles(orientation) * (self.count / (2 * torch.pi))
        return steps.round().long() % self.count

    def decode(self, bins: Tensor) -> Tensor:
        """Returns the unit quaternions xyzw (..., 4), float32, at the centres of bins (..., 3)."""
        return orientation_from_euler(bins.float() * (2 * torch.pi / self.count))


def euler_angles(orientation: Tensor) -> Tensor:
    """Returns the three angles (..., 3) in radians of unit quaternions xyzw (..., 4); see `RotationBins`.

    Where the tool's y axis is vertical, the first angle is 0 and the last carries the whole turn.
    """
    x, y, z, w = orientation.unbind(-1)
    # Columns of the rotation matrix, of the axes as renamed: the tool's y, z and x.
    first = (2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w))
    second = (2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y))
    third = (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w))
    level = torch.hypot(first[0], first[1])
    vertical = level < torch.finfo(orientation.dtype).eps ** 0.5
    roll = torch.where(vertical, 0.0, torch.atan2(second[2], third[2]))
    yaw = torch.where(vertical, torch.atan2(-second[0], second[1]), torch.atan2(first[1], first[0]))
    return torch.stack([roll, torch.atan2(-first[2], level), yaw], -1)


def orientation_from_euler(angles: Tensor) -> Tensor:
    """Returns the unit quaternions xyzw (..., 4) of three angles (..., 3) in radians; see `RotationBins`."""
    (cr, cp, cy), (sr, sp, sy) = ((part(angles / 2)).unbind(-1) for part in (torch.cos, torch.sin))
    x = sr * cp * cy - cr * sp * sy
    y = cr * sp * cy + sr * cp * sy
    z = cr * cp * sy - sr * sp * cy
    w = cr * cp * cy + sr * sp * sy
    return _renamed_back(torch.stack([x, y, z, w], -1))


def _renamed_back(orientation: Tensor) -> Tensor:
    """The orientation of the tool, of that of its renamed axes: turned about (1, 1, 1) by a third of a full turn."""
    x, y, z, w = orientation.unbind(-1)
    # The product with (-1, -1, -1, 1) / 2, the rotation that brings y to x, z to y and x to z.
    return 0.5 * torch.stack([x - y + z - w, x + y - z - w, y + z - x - w, x + y + z + w], -1)
