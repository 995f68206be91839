"""A lived day as data: where the agent was, what it did and what it saw at every step, in one home."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
import numpy as np

from embodied.errors import DataError
from embodied.geometry import Pose, compose, quaternion_from_yaw
from embodied.scenes.house import House
from embodied.tasks.findingdory.sightings import Sightings
from embodied.tasks.findingdory.steps import ACTIONS, FRAMES, MODES, MOST_STEPS

CARRIED = Pose((0.33, 0.0, 0.95))  # In the frame of the base: what is carried is in the lower half of the image.
FLOOR_LEVEL_M = 0.0


class PickAndPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object that is carried from the surface of one receptacle to that of another, by their names.

    The agent reaches for the object from step `pick_start` on, carries it from `carry_start` to the destination, sets
    it down from `place_start` on, and leaves it at `pose` (world) after `place_end`.
    """

    object: str
    source: str
    source_surface: str
    destination: str
    destination_surface: str
    pose: Pose
    pick_start: int
    carry_start: int
    place_start: int
    place_end: int


@dataclass(frozen=True, eq=False)
class CodedImages:
    """Images of some steps or frames, each one coded by itself as bytes: `coded` WebP (lossless) or zlib of uint16 mm.

    `width_px` and `height_px` are those of every image.
    """

    width_px: int
    height_px: int
    coded: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.coded)


@dataclass(frozen=True, eq=False)
class Day:
    """A day of N steps. Rows of arrays are steps; indices count `house.rooms`, `house.objects` and the names below.

    `poses` float64 (N, 3): x, y in metres and yaw in radians of the base; `modes` and `actions` uint8 (N,), indices of
    `MODES` and `ACTIONS`: the action is the one that led to the step. `rooms` int16 (N,), -1 outside of all rooms;
    `held` int16 (N,), the object that is carried, or -1. `seen` are the pixels of objects and receptacles in the image
    at every step. `frames` int32 (96,) are steps in even distances; `frame_seen` are the pixels at full size from their
    poses in the home as it is at the end of the day. `rgb` and `depth` are of every step, `frame_rgb` of the frames as
    lived; each may be missing. Raises `DataError` for content that does not fit together.
    """

    house: House
    seed: int
    poses: np.ndarray
    modes: np.ndarray
    actions: np.ndarray
    rooms: np.ndarray
    held: np.ndarray
    interactions: tuple[PickAndPlace, ...]
    seen: Sightings
    frames: np.ndarray
    frame_seen: Sightings
    rgb: CodedImages | None = None
    depth: CodedImages | None = None
    frame_rgb: CodedImages | None = None
    renderer: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_day(self)

    @property
    def steps(self) -> int:
        """The number of steps N."""
        return len(self.poses)

    @cached_property
    def initial_poses(self) -> Mapping[str, Pose]:
        """The pose of every object at the beginning, by name."""
        bodies = {body.name: body.pose for body in self.house.scene.bodies}
        return {one.name: bodies[one.name] for one in self.house.objects}

    @cached_property
    def final_poses(self) -> Mapping[str, Pose]:
        """The pose of every object at the end of the day, by name."""
        return dict(self.initial_poses) | {one.object: one.pose for one in self.interactions}

    def object_poses(self, step: int) -> dict[str, Pose]:
        """Returns the pose of every object at `step`, by name; what is carried is before the base."""
        return lived_poses(self.house, self.initial_poses, self.interactions, (self.poses, self.held), step)


def lived_poses(
    house: House,
    initial: Mapping[str, Pose],
    interactions: Sequence[PickAndPlace],
    lived: tuple[np.ndarray, np.ndarray],
    step: int,
) -> dict[str, Pose]:
    """Returns the pose of every object of `house` at `step` of a day, by name.

    `initial` are the poses at the beginning, `interactions` those of the whole day; `lived` are the poses (N, 3) and
    the held objects (N,) of all steps.
    """
    found = dict(initial)
    for one in interactions:
        if one.carry_start <= step:
            found[one.object] = one.pose
    poses, held = lived
    if held[step] >= 0:
        found[house.objects[int(held[step])].name] = carried_pose(poses[step])
    return found


def base_pose(pose: np.ndarray) -> Pose:
    """Returns the pose in the world of a base at `pose` (3,): x, y in metres, yaw in radians."""
    x, y, yaw = (float(value) for value in pose)
    return Pose((x, y, FLOOR_LEVEL_M), quaternion_from_yaw(yaw))


def carried_pose(pose: np.ndarray) -> Pose:
    """Returns the pose in the world of what a base at `pose` (3,) carries."""
    return compose(base_pose(pose), CARRIED)


def _check_day(day: Day) -> None:
    """Raises `DataError` unless the parts of `day` fit together."""
    steps = len(day.poses)
    _require(1 <= steps <= MOST_STEPS, f"A day must have 1 to {MOST_STEPS} steps.", steps)
    _require(day.poses.shape == (steps, 3) and bool(np.isfinite(day.poses).all()), "Poses must be finite: x, y, yaw.")
    for name, least, most in (
        ("modes", 0, len(MODES)),
        ("actions", 0, len(ACTIONS)),
        ("rooms", -1, len(day.house.rooms)),
        ("held", -1, len(day.house.objects)),
    ):
        values = getattr(day, name)
        fits = values.shape == (steps,) and values.dtype.kind in "iu" and least <= values.min() <= values.max() < most
        _require(fits, f"The {name} of a day must be one of its kind for every step.", values.shape)
    for name in ("seen", "rgb", "depth"):
        part = getattr(day, name)
        _require(part is None or len(part) == steps, f"A day must have {name} for every step.", part and len(part))
    frames = day.frames
    _require(
        frames.shape == (FRAMES,) and frames[0] == 0 and frames[-1] == steps - 1 and (np.diff(frames) >= 0).all(),
        f"The {FRAMES} frames of a day must be steps from the first to the last.",
        frames.shape,
    )
    for name in ("frame_seen", "frame_rgb"):
        part = getattr(day, name)
        _require(part is None or len(part) == len(frames), f"A day must have {name} for every frame.")
    _check_interactions(day)


def _check_interactions(day: Day) -> None:
    objects = {one.name: index for index, one in enumerate(day.house.objects)}
    surfaces = {surface.name: one.name for one in day.house.receptacles for surface in one.surfaces}
    held, last = np.full(len(day.poses), -1), -1
    for one in day.interactions:
        known = one.object in objects and (surfaces.get(one.source_surface), surfaces.get(one.destination_surface)) == (
            one.source,
            one.destination,
        )
        _require(known, "An interaction must name an object and two surfaces with their receptacles.", one.object)
        rising = last < one.pick_start < one.carry_start < one.place_start < one.place_end < len(day.poses)
        _require(rising, "The steps of an interaction must rise, after those of the one before.", one.object)
        last = one.place_end
        carried = day.held[one.carry_start : one.place_end + 1] == objects[one.object]
        released = int(np.argmin(carried)) if not carried.all() else len(carried)
        least = one.place_start - one.carry_start
        _require(released >= least, "An object must be held from its pick until it is placed.", one.object)
        held[one.carry_start : one.carry_start + released] = objects[one.object]
    _require(bool((held == day.held).all()), "What is held must be what the interactions carry.")


def _require(holds: object, rule: str, value: object = None) -> None:
    if not holds:
        raise DataError(rule, value=value, remedy="Record the day again.")
