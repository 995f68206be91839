"""The inputs of SAM2Act: point cloud, instruction and proprioception of each frame, and the keyframes of a batch."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from policies.heads.bins import RotationBins
from policies.sam2act.geometry import PointCloud, pixels, point_cloud
from policies.sam2act.settings import LONGEST, TIME_WAVES, Sam2ActSettings
from policies.training.learner import Batch

TOOL_SIGMA_PX = 1.5


class Proprioception(NamedTuple):
    """The robot in each frame: tool position (frame, 3) m and orientation (frame, 4) xyzw in the world, gripper, time.

    `gripper` (frame,) is the opening in [0, 1]; `time` (frame,) counts keyframes.
    """

    position_m: Tensor
    orientation: Tensor
    gripper: Tensor
    time: Tensor


class Inputs(NamedTuple):
    """All inputs of the network for a batch of frames.

    `words` int64 (frame, word) are the ids of the instruction, padded with 0.
    """

    cloud: PointCloud
    words: Tensor
    proprioception: Proprioception


@dataclass(frozen=True, eq=False)
class Keyframes:
    """The valid keyframes of a batch, one after another, with observations and demonstrated actions.

    `arrays` are the batch's own by name, (frame, ...); `words` int64 (frame, word); `position_m` (frame, 3) in the
    world; `rotation` int64 (frame, 3) of `RotationBins`; `gripper_open` and `avoid_collisions` int64 (frame,), 0 or 1.
    """

    arrays: Batch
    words: Tensor
    position_m: Tensor
    rotation: Tensor
    gripper_open: Tensor
    avoid_collisions: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "Keyframes":
        """Returns the valid keyframes of a batch, row by row."""
        valid = batch["valid"]
        words = batch["words"][:, None].expand(-1, valid.shape[1], -1)
        arrays = {name: value[valid] for name, value in batch.items() if value.shape[:2] == valid.shape}
        return cls(
            arrays=arrays,
            words=words[valid],
            position_m=arrays["intent_position_m"],
            rotation=RotationBins().encode(arrays["intent_orientation"]),
            gripper_open=arrays["intent_gripper_open"].long(),
            avoid_collisions=arrays["intent_avoid_collisions"].long(),
        )

    @cached_property
    def inputs(self) -> Inputs:
        """The inputs of the network for these keyframes."""
        arrays = self.arrays
        cloud = point_cloud(arrays["rgb"], arrays["depth_m"], arrays["intrinsics"], arrays["world_from_camera"])
        proprioception = Proprioception(
            arrays["tool_position_m"], arrays["tool_orientation"], arrays["gripper"], arrays["time"]
        )
        return Inputs(cloud, self.words, proprioception)


def proprioception_numbers(settings: Sam2ActSettings, proprioception: Proprioception) -> Tensor:
    """Returns (frame, number): gripper opening and time; with `tool_channel` also the pose and sine codes of time.

    The pose is the tool's position in the cube, [-1, 1], and the first two axes of its orientation.
    """
    time = proprioception.time.to(proprioception.gripper.dtype) * float(settings.time_input)
    numbers = [proprioception.gripper[:, None], time[:, None] / LONGEST]
    if settings.tool_channel:
        phase = time[:, None] * (2 * torch.pi / time.new_tensor(TIME_WAVES))
        waves = torch.cat((phase.sin(), phase.cos()), 1) * float(settings.time_input)
        numbers += [settings.cube.normalised(proprioception.position_m), _two_axes(proprioception.orientation), waves]
    return torch.cat(numbers, 1)


def mark_tool(position_m: Tensor, centre_m: Tensor, half_m: float, size: int) -> Tensor:
    """Returns a Gaussian of height 1 at the tool's `position_m` in each view, (frame, view, 1, `size`, `size`).

    The views are of the cube of `half_m` around `centre_m`, (frame, 3) each.
    """
    at = pixels((position_m - centre_m) / half_m, size)
    middle = torch.arange(size, device=at.device, dtype=at.dtype) + 0.5
    row, column = (torch.exp(-((middle - at[..., axis, None]) ** 2) / (2 * TOOL_SIGMA_PX**2)) for axis in (0, 1))
    return (row[..., :, None] * column[..., None, :])[:, :, None]


def scatter_valid(flat: Tensor, valid: Tensor) -> Tensor:
    """Returns the values of valid frames (frame, ...) in their places (batch, time, ...), zero elsewhere."""
    whole = flat.new_zeros(*valid.shape, *flat.shape[1:])
    whole[valid] = flat
    return whole


def _two_axes(quaternion: Tensor) -> Tensor:
    """Returns the first two axes of rotations xyzw, (frame, 6)."""
    x, y, z, w = quaternion.unbind(-1)
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w))
    second = (2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w))
    return torch.stack((*first, *second), -1)
