"""One recorded episode of one robot on disk: keyframes and intents, lossless, checked, without pickle.

A file is an `archive`: a ZIP that `numpy.load` can open too. `header.json` holds `Header`; every other member is one
`.npy` array, with T keyframes first and the camera's name after the dot:

    rgb.<camera>                uint8   (T, H, W, 3)
    depth_m.<camera>            float32 (T, H, W)     metres along the optical axis, 0 unknown
    intrinsics.<camera>         float64 (T, 3, 3)     pixels
    world_from_camera.<camera>  float64 (T, 4, 4)     camera x right, y down, z forward
    proprio                     float32 (T, Q)        named by `Header.proprio_names`
    gripper                     float64 (T,)          opening, 0 closed to 1 open
    time_s                      float64 (T,)          what the clock showed, NaN where it is hidden
    intent_position_m           float64 (T - 1, 3)    world frame; intent t was chosen on seeing keyframe t
    intent_orientation          float64 (T - 1, 4)    xyzw
    intent_gripper_open         bool    (T - 1,)
    intent_avoid_collisions     bool    (T - 1,)

The last keyframe is what the last intent led to. The ZIP's comment is a SHA-256 over everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from embodied.archive import broken, peek_archive, read_archive, write_archive
from embodied.errors import DataError
from embodied.types import CameraImage, MoveTo, Observation, Outcome

SCHEMA = "embodied-memory/trajectory"
SCHEMA_VERSION = 1
SUFFIX = ".npz"
OLDER_NAMES = {"variation": "variant", "first_choice": "choice"}  # Of labels.
IMAGE_PARTS = ("rgb", "depth_m", "intrinsics", "world_from_camera")
DTYPES = {
    "rgb": np.uint8,
    "depth_m": np.float32,
    "intrinsics": np.float64,
    "world_from_camera": np.float64,
    "proprio": np.float32,
    "gripper": np.float64,
    "time_s": np.float64,
    "intent_position_m": np.float64,
    "intent_orientation": np.float64,
    "intent_gripper_open": np.bool_,
    "intent_avoid_collisions": np.bool_,
}


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the episode was and how it ended; with `task`, `tier`, `seed` and `split` it can be sampled again.

    `reached` are the phases in order of completion, `choice` the candidate touched first, None before that.
    """

    episode: str
    task: str
    tier: str
    variant: int
    seed: int
    split: str
    instruction: str
    target: str
    candidates: tuple[str, ...]
    outcome: Outcome
    reason: str
    reached: tuple[str, ...]
    choice: str | None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What `robot` saw at T keyframes and the T - 1 intents between them; `proprio_names` (Q,) name its proprioception.

    Observations carry no instance images: those are privileged.
    """

    label: Label
    robot: str
    proprio_names: tuple[str, ...]
    observations: tuple[Observation, ...]
    intents: tuple[MoveTo, ...]


@dataclass(frozen=True, eq=False)
class Outline:
    """What can be told of a file without unpacking its images: `image_px` (height, width) by camera.

    `intents_m` (T - 1, 3) are the positions of all intents, world frame.
    """

    label: Label
    robot: str
    proprio_names: tuple[str, ...]
    image_px: Mapping[str, tuple[int, int]]
    intents_m: np.ndarray


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`header.json`."""

    schema: str
    version: int
    label: Label
    robot: str
    proprio_names: tuple[str, ...]
    cameras: tuple[str, ...]
    keyframes: int


def write_trajectory(path: Path, trajectory: Trajectory) -> str:
    """Writes `trajectory` to `path`, whole or not at all, and returns the SHA-256 of the file.

    The same trajectory gives the same bytes. Raises `DataError` where it does not fit the form of this module.
    """
    header = Header(
        schema=SCHEMA,
        version=SCHEMA_VERSION,
        label=trajectory.label,
        robot=trajectory.robot,
        proprio_names=trajectory.proprio_names,
        cameras=_cameras(trajectory),
        keyframes=len(trajectory.observations),
    )
    arrays = _stack(trajectory, header.cameras)
    problem = _mismatch(header, arrays)
    if problem:
        raise DataError(f"A trajectory must fit the documented form: {problem}.", value=trajectory.label.episode)
    return write_archive(path, msgspec.json.format(msgspec.json.encode(header)), arrays)


def read_trajectory(path: Path) -> Trajectory:
    """Reads what `write_trajectory` wrote; its arrays are read-only.

    Raises `DataError`, naming the file and what is wrong, for one that is missing, truncated, altered or of another
    version.
    """
    text, arrays = read_archive(path)
    header = _header(path, text)
    problem = _mismatch(header, arrays)
    if problem:
        raise broken(path, problem)
    return _unstack(header, arrays)


def outline_trajectory(path: Path) -> Outline:
    """Returns the outline of a file, without checking its images: those are checked when they are read.

    Raises `DataError`, naming the file and what is wrong, as far as it has looked.
    """
    text, arrays, shapes = peek_archive(path, ["intent_position_m"])
    header = _header(path, text)
    intents_m = arrays.get("intent_position_m", np.zeros(0))
    known = (header.schema, header.version) == (SCHEMA, SCHEMA_VERSION)
    if not known or intents_m.shape != (header.keyframes - 1, 3) or not np.isfinite(intents_m).all():
        raise broken(path, f"it is not a whole {SCHEMA!r} of version {SCHEMA_VERSION}")
    sizes = {camera: shapes.get(f"rgb.{camera}", ()) for camera in header.cameras}
    if any(len(size) != 4 for size in sizes.values()):
        raise broken(path, "a camera of its header has no images")
    image_px = {camera: (size[1], size[2]) for camera, size in sizes.items()}
    return Outline(header.label, header.robot, header.proprio_names, image_px, intents_m)


def _header(path: Path, text: bytes) -> Header:
    try:
        content = msgspec.json.decode(text, type=dict[str, Any])
        if isinstance(content.get("label"), dict):
            content["label"] = {OLDER_NAMES.get(name, name): value for name, value in content["label"].items()}
        return msgspec.convert(content, Header)
    except msgspec.DecodeError as error:
        raise broken(path, f"its header says {error}") from error


def _cameras(trajectory: Trajectory) -> tuple[str, ...]:
    seen = trajectory.observations
    if len(seen) != len(trajectory.intents) + 1:
        raise DataError(
            "A trajectory must hold one observation before each intent and one after the last.",
            value=(len(seen), len(trajectory.intents)),
        )
    cameras = tuple(sorted(seen[0].images))
    for observation in seen:
        if tuple(sorted(observation.images)) != cameras or observation.robot != trajectory.robot:
            raise DataError(
                "Every keyframe must show the same robot through the same cameras.",
                value=(observation.robot, sorted(observation.images)),
            )
        if any(image.instance is not None for image in observation.images.values()):
            raise DataError("Instance images are privileged and must not be stored.", remedy="Set them to None.")
    return cameras


def _stack(trajectory: Trajectory, cameras: Sequence[str]) -> dict[str, np.ndarray]:
    seen, intents = trajectory.observations, trajectory.intents
    columns: dict[str, Sequence[object]] = {
        "proprio": [observation.proprio for observation in seen],
        "gripper": [observation.gripper for observation in seen],
        "time_s": [np.nan if observation.time_s is None else observation.time_s for observation in seen],
        "intent_position_m": [intent.position_m for intent in intents],
        "intent_orientation": [intent.orientation for intent in intents],
        "intent_gripper_open": [intent.gripper_open for intent in intents],
        "intent_avoid_collisions": [intent.avoid_collisions for intent in intents],
    }
    for camera in cameras:
        for part in IMAGE_PARTS:
            columns[f"{part}.{camera}"] = [getattr(observation.images[camera], part) for observation in seen]
    return {name: _column(name, values) for name, values in columns.items()}


def _column(name: str, values: Sequence[object]) -> np.ndarray:
    dtype = np.dtype(DTYPES[name.partition(".")[0]])
    width = {"intent_position_m": (3,), "intent_orientation": (4,)}.get(name, ())
    try:
        return np.array(values) if values else np.zeros((0, *width), dtype)
    except ValueError as error:
        raise DataError(f"Every keyframe must have the same shape of {name!r}.", value=str(error)) from error


def _unstack(header: Header, arrays: Mapping[str, np.ndarray]) -> Trajectory:
    def image(camera: str, index: int) -> CameraImage:
        return CameraImage(instance=None, **{part: arrays[f"{part}.{camera}"][index] for part in IMAGE_PARTS})

    def observation(index: int) -> Observation:
        time_s = float(arrays["time_s"][index])
        return Observation(
            robot=header.robot,
            images={camera: image(camera, index) for camera in header.cameras},
            proprio=arrays["proprio"][index],
            gripper=float(arrays["gripper"][index]),
            time_s=None if np.isnan(time_s) else time_s,
        )

    intents = zip(*(arrays[name].tolist() for name in DTYPES if name.startswith("intent")), strict=True)
    return Trajectory(
        label=header.label,
        robot=header.robot,
        proprio_names=header.proprio_names,
        observations=tuple(observation(index) for index in range(header.keyframes)),
        intents=tuple(MoveTo(tuple(place), tuple(turn), opened, avoid) for place, turn, opened, avoid in intents),
    )


def _mismatch(header: Header, arrays: Mapping[str, np.ndarray]) -> str:
    """Returns what does not fit the form that the module describes, or nothing."""
    if (header.schema, header.version) != (SCHEMA, SCHEMA_VERSION):
        return f"it is {header.schema!r} version {header.version}, not {SCHEMA!r} version {SCHEMA_VERSION}"
    shapes = _shapes(header, arrays)
    if shapes.keys() != arrays.keys():
        return f"its arrays differ from the documented ones by {sorted(shapes.keys() ^ arrays.keys())}"
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != DTYPES[name.partition(".")[0]]:
            return f"{name!r} is {array.dtype}"
        if array.shape != shape:
            return f"{name!r} has shape {array.shape} instead of {shape}"
        if name != "time_s" and not np.isfinite(array).all():
            return f"{name!r} is not finite"
    return ""


def _shapes(header: Header, arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    keyframes = header.keyframes
    shapes = {
        "proprio": (keyframes, len(header.proprio_names)),
        "gripper": (keyframes,),
        "time_s": (keyframes,),
        "intent_position_m": (keyframes - 1, 3),
        "intent_orientation": (keyframes - 1, 4),
        "intent_gripper_open": (keyframes - 1,),
        "intent_avoid_collisions": (keyframes - 1,),
    }
    for camera in header.cameras:
        depth = arrays.get(f"depth_m.{camera}", np.zeros(0))
        height, width = (*depth.shape, 0, 0, 0)[1:3]
        shapes[f"rgb.{camera}"] = (keyframes, height, width, 3)
        shapes[f"depth_m.{camera}"] = (keyframes, height, width)
        shapes[f"intrinsics.{camera}"] = (keyframes, 3, 3)
        shapes[f"world_from_camera.{camera}"] = (keyframes, 4, 4)
    return shapes
