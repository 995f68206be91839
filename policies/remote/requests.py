"""Encodes requests for a server: the observation under the names of its file, and nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from embodied.codec import moment_to_plain
from embodied.errors import ConfigError
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.types import CameraImage, Observation, Request
from policies.remote.names import Entry, ServerNames
from policies.remote.rotations import axis_angle_of, rpy_of

TOOL_POSITION = ("tool_x_m", "tool_y_m", "tool_z_m")
TOOL_ORIENTATION = ("tool_qx", "tool_qy", "tool_qz", "tool_qw")
BASE = ("base_x_m", "base_y_m", "base_yaw_rad")


class RequestNames:
    """Encodes requests under the names of a server. Raises `UnknownNameError` for an unknown robot."""

    def __init__(self, names: ServerNames) -> None:
        self._names = names
        self._layout = proprio_layout(robot_model(names.robot))

    def message(self, request: Request, *, first: bool, since: int) -> dict[str, Any]:
        """Returns the message of `request`: only the keys that the file of names lists.

        `first` is whether it opens a session, `since` the number of observations that the server has not seen, this one
        included. Raises `ConfigError` for an observation without a camera of the file, or of another robot.
        """
        past = request.history[:-1][-(since - 1) :] if since > 1 else ()
        fresh = (*past, request.observation)
        return {key: self._value(entry, request, fresh, first=first) for key, entry in self._names.request.items()}

    def _value(self, entry: Entry, request: Request, fresh: Sequence[Observation], *, first: bool) -> Any:
        if entry.text:
            return request.instruction
        if entry.flag:
            return first
        if entry.memory:
            return [moment_to_plain(moment) for moment in request.memory.moments]
        values = [self._seen(entry, observation) for observation in (fresh if entry.each else fresh[-1:])]
        return values if entry.each else values[0]

    def _seen(self, entry: Entry, observation: Observation) -> np.ndarray:
        if entry.image:
            return resized(_camera(observation, entry.image).rgb, entry.size_px)
        if entry.depth_m:
            return _camera(observation, entry.depth_m).depth_m
        parts = []
        for part in entry.numbers:
            of, scale, offset = (part, 1.0, 0.0) if isinstance(part, str) else (part.of, part.scale, part.offset)
            parts.append(self._numbers(of, observation) * scale + offset)
        return np.concatenate(parts).astype(np.float32)

    def _numbers(self, of: str, observation: Observation) -> np.ndarray:
        if observation.proprio.shape != (len(self._layout),):
            raise ConfigError(
                f"The observations of this policy must hold the proprioception of {self._names.robot!r}, "
                f"{len(self._layout)} numbers.",
                value=observation.proprio.shape,
                remedy="Play the robot that the file of names is for.",
            )
        if of == "gripper":
            return np.array([observation.gripper])
        named = {
            "joints": [name for name in self._layout if name.endswith("_rad") and name not in BASE],
            "tool_position": TOOL_POSITION,
            "base": BASE,
        }.get(of, TOOL_ORIENTATION)
        try:
            values = observation.proprio[[self._layout.index(name) for name in named]].astype(np.float64)
        except ValueError as error:
            raise ConfigError(
                f"Robot {self._names.robot!r} must have the numbers that a file of names lists.", value=of,
                remedy="Name the numbers of a robot with one arm, or with a base.",
            ) from error  # fmt: skip
        if of == "tool_axis_angle":
            return axis_angle_of(values)
        return rpy_of(values) if of == "tool_rpy" else values


def resized(rgb: np.ndarray, size_px: tuple[int, int] | None) -> np.ndarray:
    """Returns an image uint8 (H, W, 3) at `size_px` (height, width): bilinear, aspect ratio kept, padded with black."""
    if size_px is None or rgb.shape[:2] == size_px:
        return rgb
    height, width = size_px
    scale = min(height / rgb.shape[0], width / rgb.shape[1])
    inner = max(1, round(rgb.shape[0] * scale)), max(1, round(rgb.shape[1] * scale))
    small = np.asarray(Image.fromarray(rgb).resize((inner[1], inner[0]), resample=Image.Resampling.BILINEAR))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    padded = np.zeros((height, width, 3), np.uint8)
    padded[top : top + inner[0], left : left + inner[1]] = small
    return padded


def _camera(observation: Observation, name: str) -> CameraImage:
    if name not in observation.images:
        raise ConfigError(
            "The observations of this policy must hold the images of all cameras of its file of names.",
            value=(name, sorted(observation.images)),
            remedy="Observe through `policy.observation_spec.cameras`.",
        )
    return observation.images[name]
