"""One recorded episode of one robot in memory: declared columns, and their conversion to observations and intents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embodied.errors import DataError, unknown_name
from embodied.specs import KEYFRAME, ActionSpec
from embodied.trajectories.decisions import RecordedDecision
from embodied.trajectories.features import ACTION, OBSERVATION, Feature, action_feature
from embodied.trajectories.frames import Frames, codec_of, decode
from embodied.trajectories.label import Label
from embodied.types import CameraImage, MoveTo, Observation

IMAGE_PARTS = ("rgb", "depth_m", "intrinsics", "world_from_camera")
TIME = f"{OBSERVATION}.time_s"
PROPRIO = f"{OBSERVATION}.proprio"
GRIPPER = f"{OBSERVATION}.gripper"

Column = np.ndarray | Frames


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A recording of `robot`: one column of shape (rows, ...) for each feature; arrays are read-only.

    The actions of each of `spaces` are the column `action.<name of the space>`. An episode has one observation more
    than actions: action t led from observation t to observation t + 1. Observations hold no instance images, which are
    privileged, and show the clock as a policy without privileges saw it. `decisions` are the intents of a recording at
    a rate; in a recording of keyframes the actions are the intents.
    """

    label: Label
    robot: str
    features: tuple[Feature, ...]
    spaces: tuple[ActionSpec, ...]
    columns: Mapping[str, Column]
    decisions: tuple[RecordedDecision, ...] = ()

    def __len__(self) -> int:
        """The number of observations."""
        return len(self.columns[TIME])

    def feature(self, name: str) -> Feature:
        """Returns the declaration of a column. Raises `UnknownNameError`."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise unknown_name("feature", name, [feature.name for feature in self.features])

    def column(self, name: str) -> np.ndarray:
        """Returns a column of shape (rows, ...), decoded. Raises `UnknownNameError`."""
        feature, column = self.feature(name), self.columns[name]
        return decode(feature, column.codec, column.coded) if isinstance(column, Frames) else column

    @property
    def proprio_names(self) -> tuple[str, ...]:
        """The names of the entries of proprioception."""
        return self.feature(PROPRIO).entries

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All observations, decoded anew at every call."""
        columns = {feature.name: self.column(feature.name) for feature in self.features}
        return tuple(observation_at(self.robot, self.features, columns, row) for row in range(len(self)))

    @property
    def intents(self) -> tuple[MoveTo, ...]:
        """The actions of a recording of keyframes. Raises `UnknownNameError` for any other."""
        return tuple(move_to_from_action(row) for row in self.column(action_feature(KEYFRAME).name))


def image_sizes(features: Sequence[Feature]) -> dict[str, tuple[int, int]]:
    """Returns (height, width) in pixels by camera."""
    start = f"{OBSERVATION}.rgb."
    sizes = {feature.name.removeprefix(start): feature.field.shape for feature in features if start in feature.name}
    return {camera: (shape[0], shape[1]) for camera, shape in sizes.items()}


def observation_at(robot: str, features: Sequence[Feature], columns: Mapping[str, np.ndarray], row: int) -> Observation:
    """Returns observation `row` of `robot` from decoded `columns`, declared by `features`."""

    def image(camera: str) -> CameraImage:
        parts = {part: columns[f"{OBSERVATION}.{part}.{camera}"][row] for part in IMAGE_PARTS}
        return CameraImage(instance=None, **parts)

    time_s = float(columns[TIME][row])
    return Observation(
        robot=robot,
        images={camera: image(camera) for camera in image_sizes(features)},
        proprio=columns[PROPRIO][row],
        gripper=float(columns[GRIPPER][row]),
        time_s=None if np.isnan(time_s) else time_s,
    )


def action_from_move_to(intent: MoveTo) -> np.ndarray:
    """Converts `intent` to an action (9,) of the space `keyframe`."""
    return np.array([*intent.position_m, *intent.orientation, intent.gripper_open, intent.avoid_collisions], np.float64)


def move_to_from_action(action: np.ndarray) -> MoveTo:
    """Converts an action (9,) of the space `keyframe` to its intent."""
    values = [float(value) for value in action]
    return MoveTo(tuple(values[:3]), tuple(values[3:7]), bool(values[7]), bool(values[8]))  # type: ignore[arg-type]


def check_trajectory(trajectory: Trajectory) -> None:
    """Raises `DataError` where columns do not fit their features, or the features do not fit each other."""
    names = [feature.name for feature in trajectory.features]
    if len(set(names)) < len(names) or set(names) != trajectory.columns.keys():
        raise DataError(
            "A trajectory must have one column for each of its features.",
            value=sorted(set(names) ^ trajectory.columns.keys()) or names,
        )
    for feature in trajectory.features:
        _check_column(feature, trajectory.columns[feature.name])
    check_declarations(trajectory.features, trajectory.spaces)
    rows = {track: _row_counts(trajectory, track) for track in {feature.track for feature in trajectory.features}}
    if any(len(counts) != 1 for counts in rows.values()) or max(rows[OBSERVATION]) != max(rows[ACTION]) + 1:
        raise DataError("A trajectory must hold one observation before each action and one after the last.", value=rows)


def check_declarations(features: Sequence[Feature], spaces: Sequence[ActionSpec]) -> None:
    """Raises `DataError` unless `features` declare an observation with whole images, and the actions of `spaces`."""
    wanted = {PROPRIO, GRIPPER, TIME}
    for camera in image_sizes(features):
        wanted |= {f"{OBSERVATION}.{part}.{camera}" for part in IMAGE_PARTS}
    names = {feature.name for feature in features}
    actions = {feature for feature in features if feature.track == ACTION}
    if not wanted <= names or actions != {action_feature(space) for space in spaces} or not actions:
        raise DataError(
            "A recording must declare proprioception, gripper, time, whole images, and the actions of its spaces.",
            value=sorted(wanted - names) or sorted(feature.name for feature in actions),
        )


def _row_counts(trajectory: Trajectory, track: str) -> set[int]:
    return {len(trajectory.columns[feature.name]) for feature in trajectory.features if feature.track == track}


def _check_column(feature: Feature, column: Column) -> None:
    if isinstance(column, Frames):
        if column.codec is not codec_of(feature):
            raise DataError(f"The frames of {feature.name!r} must be coded as declared.", value=column.codec)
        return
    if str(column.dtype) != feature.field.dtype or column.shape[1:] != feature.field.shape or not column.ndim:
        raise DataError(
            f"Column {feature.name!r} must be {feature.field.dtype} (rows, *{feature.field.shape}).",
            value=(str(column.dtype), column.shape),
        )
    if feature.name != TIME and column.dtype.kind == "f" and not np.isfinite(column).all():
        raise DataError(f"Column {feature.name!r} must be finite.")
