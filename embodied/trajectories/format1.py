"""Format 1, which is read and no longer written: one robot, keyframes of `MoveTo` only, every array stored whole.

A file is an `archive`: `header.json` holds `FirstHeader`; every other member is one `.npy` array, T keyframes first
and the camera's name after the dot. All arrays are exact.

    rgb.<camera>                uint8   (T, H, W, 3)
    depth_m.<camera>            float32 (T, H, W)     metres along the optical axis, 0 unknown
    intrinsics.<camera>         float64 (T, 3, 3)     pixels
    world_from_camera.<camera>  float64 (T, 4, 4)     camera x right, y down, z forward
    proprio                     float32 (T, Q)        named by `FirstHeader.proprio_names`
    gripper                     float64 (T,)          opening, 0 closed to 1 open
    time_s                      float64 (T,)          what the clock showed, NaN where it is hidden
    intent_position_m           float64 (T - 1, 3)    world frame; intent t was chosen on seeing keyframe t
    intent_orientation          float64 (T - 1, 4)    xyzw
    intent_gripper_open         bool    (T - 1,)
    intent_avoid_collisions     bool    (T - 1,)
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from embodied.archive import broken, peek_archive, read_archive
from embodied.errors import EmbodiedError
from embodied.specs import KEYFRAME
from embodied.trajectories.columns import observation_features
from embodied.trajectories.features import OBSERVATION, Feature, action_feature
from embodied.trajectories.label import FirstLabel, Label
from embodied.trajectories.trajectory import Trajectory, check_trajectory
from embodied.types import CameraImage, Observation

VERSION = 1
INTENT_PARTS = ("intent_position_m", "intent_orientation", "intent_gripper_open", "intent_avoid_collisions")


class FirstHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `header.json`."""

    schema: str
    version: int
    label: FirstLabel
    robot: str
    proprio_names: tuple[str, ...]
    cameras: tuple[str, ...]
    keyframes: int


class FirstFormat:
    """A file of format 1, read as format 2; images are not unpacked before `trajectory` is called.

    Raises `DataError`, naming the file and what is wrong, for the parts that it has read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text, parts, shapes = peek_archive(path, INTENT_PARTS)
        header = _header(path, text)
        self.label: Label = header.label.renamed(header.robot)
        self.robot = header.robot
        self.rows = header.keyframes
        self.features = _features(path, header, shapes)
        self.actions = _actions(path, header, parts)

    def trajectory(self) -> Trajectory:
        """Returns the whole recording, checked."""
        text, arrays = read_archive(self.path)
        header = _header(self.path, text)
        shapes = {name: array.shape for name, array in arrays.items()}
        features = _features(self.path, header, shapes)
        columns = {f"{OBSERVATION}.{name}": array for name, array in arrays.items() if name not in INTENT_PARTS}
        columns[action_feature(KEYFRAME).name] = _actions(self.path, header, arrays)
        trajectory = Trajectory(self.label, self.robot, features, (KEYFRAME,), columns)
        try:
            check_trajectory(trajectory)
            if len(trajectory) != header.keyframes:
                raise broken(self.path, f"it holds {len(trajectory)} keyframes instead of {header.keyframes}")
        except EmbodiedError as error:
            raise broken(self.path, str(error)) from error
        return trajectory


def _header(path: Path, text: bytes) -> FirstHeader:
    try:
        return msgspec.json.decode(text, type=FirstHeader)
    except msgspec.DecodeError as error:
        raise broken(path, f"its header says {error}") from error


def _features(path: Path, header: FirstHeader, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Feature, ...]:
    sizes = {camera: shapes.get(f"rgb.{camera}", ()) for camera in header.cameras}
    if any(len(size) != 4 for size in sizes.values()):
        raise broken(path, "a camera of its header has no images")
    images = {camera: _blank(size[1], size[2]) for camera, size in sizes.items()}
    proprio = np.zeros(len(header.proprio_names), np.float32)
    seen = Observation(header.robot, images, proprio, gripper=0.0, time_s=None)
    try:
        return (*observation_features(seen, header.proprio_names), action_feature(KEYFRAME))
    except EmbodiedError as error:
        raise broken(path, str(error)) from error


def _blank(height_px: int, width_px: int) -> CameraImage:
    rgb = np.zeros((height_px, width_px, 3), np.uint8)
    return CameraImage(rgb, np.zeros(rgb.shape[:2], np.float32), None, np.eye(3), np.eye(4))


def _actions(path: Path, header: FirstHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    try:
        parts = [arrays[name].reshape(header.keyframes - 1, -1).astype(np.float64) for name in INTENT_PARTS]
        actions = np.concatenate(parts, axis=1)
    except (KeyError, ValueError) as error:
        raise broken(path, f"its intents do not fit its {header.keyframes} keyframes: {error}") from error
    if actions.shape[1:] != (KEYFRAME.size,) or not np.isfinite(actions).all():
        raise broken(path, "its intents are not whole")
    return actions
