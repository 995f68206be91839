"""What is told of the robot's body: numbers, and the tool drawn into every picture."""

import torch
from torch import Tensor

from policies.sam2act.config import LONGEST, TIME_WAVES, Sam2ActConfig
from policies.sam2act.sight import Body
from policies.sam2act.views import pixels

TOOL_SIGMA_PX = 1.5


def body_numbers(config: Sam2ActConfig, body: Body) -> Tensor:
    """Returns (frame, number): gripper opening, time; and the tool's place in the cube, two axes, waves of time."""
    time = body.time.to(body.gripper.dtype) * float(config.time_input)
    numbers = [body.gripper[:, None], time[:, None] / LONGEST]
    if config.tool_channel:
        phase = time[:, None] * (2 * torch.pi / time.new_tensor(TIME_WAVES))
        waves = torch.cat((phase.sin(), phase.cos()), 1) * float(config.time_input)
        numbers += [config.cube.normalised(body.position_m), _two_axes(body.orientation), waves]
    return torch.cat(numbers, 1)


def mark_tool(position_m: Tensor, centre_m: Tensor, half_m: float, size: int) -> Tensor:
    """Returns a blob of height 1 where the tool is in each view, (frame, view, 1, size, size)."""
    at = pixels((position_m - centre_m) / half_m, size)
    middle = torch.arange(size, device=at.device, dtype=at.dtype) + 0.5
    row, column = (torch.exp(-((middle - at[..., axis, None]) ** 2) / (2 * TOOL_SIGMA_PX**2)) for axis in (0, 1))
    return (row[..., :, None] * column[..., None, :])[:, :, None]


def _two_axes(quaternion: Tensor) -> Tensor:
    """Returns the first two axes of rotations xyzw, (frame, 6)."""
    x, y, z, w = quaternion.unbind(-1)
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w))
    second = (2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w))
    return torch.stack((*first, *second), -1)
