"""The observations of a robot: images and its own state."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One camera at one instant.

    `rgb` uint8 (height, width, 3); `depth_m` float32 (height, width), along the optical axis, 0 where unknown;
    `instance` int32 (height, width), privileged: ids of `Scene.instance_ids()`, 0 background, or None;
    `intrinsics` float64 (3, 3) in pixels; `world_from_camera` float64 (4, 4), camera x right, y down, z forward.
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    instance: np.ndarray | None
    intrinsics: np.ndarray
    world_from_camera: np.ndarray


@dataclass(frozen=True, eq=False)
class Observation:
    """The observation of one robot.

    `proprio` float32 (Q,), laid out by `robots.commands.proprio_layout`; `gripper` is the opening, 0 closed to 1 open,
    of the first end effector (`proprio` holds those of all); `time_s` is what the episode's clock shows: None where the
    task hides time.
    """

    robot: str
    images: Mapping[str, CameraImage]
    proprio: np.ndarray
    gripper: float
    time_s: float | None
