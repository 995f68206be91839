"""Converts observations and intents to declared columns."""

from collections.abc import Sequence

import numpy as np

from embodied.errors import DataError
from embodied.specs import KEYFRAME, Field
from embodied.trajectories.features import OBSERVATION, Feature, action_feature
from embodied.trajectories.label import Label
from embodied.trajectories.trajectory import (
    GRIPPER,
    IMAGE_PARTS,
    PROPRIO,
    TIME,
    Trajectory,
    action_from_move_to,
    check_trajectory,
)
from embodied.types import MoveTo, Observation


def keyframe_trajectory(
    label: Label,
    robot: str,
    proprio_names: Sequence[str],
    observations: Sequence[Observation],
    intents: Sequence[MoveTo],
) -> Trajectory:
    """Returns the exact recording of an episode of keyframes.

    Args:
        label: The label of the episode.
        robot: The robot that was recorded.
        proprio_names: The names of the entries of its proprioception.
        observations: One before each intent, and one after the last.
        intents: The intents decided.

    Raises:
        DataError: For observations of other robots or cameras, of different sizes, with instance images, or with values
            that are not finite.
    """
    if not observations:
        raise DataError("A trajectory must hold one observation before each action and one after the last.", value=0)
    features = observation_features(observations[0], proprio_names)
    columns = _observation_columns(robot, observations)
    actions = action_feature(KEYFRAME)
    columns[actions.name] = np.array([action_from_move_to(one) for one in intents]).reshape(-1, KEYFRAME.size)
    trajectory = Trajectory(label, robot, (*features, actions), (KEYFRAME,), columns)
    check_trajectory(trajectory)
    return trajectory


def observation_features(
    seen: Observation,
    proprio_names: Sequence[str],
    *,
    rate_hz: float | None = None,
    depth_precision_m: float = 0.0,
) -> tuple[Feature, ...]:
    """Returns the declarations of the columns of observations like `seen`.

    Args:
        seen: An example of these observations.
        proprio_names: The names of the entries of its proprioception.
        rate_hz: Observations per second, None where there is one per decision.
        depth_precision_m: What depth is rounded to, in metres; 0 for exact depth.
    """
    found = [
        Feature(Field(PROPRIO, seen.proprio.shape, "float32"), rate_hz, tuple(proprio_names)),
        Feature(Field(GRIPPER, (), "float64", lower=0.0, upper=1.0), rate_hz),
        Feature(Field(TIME, (), "float64", "s"), rate_hz),
    ]
    for camera in sorted(seen.images):
        height, width = seen.images[camera].rgb.shape[:2]
        found += [
            Feature(Field(f"{OBSERVATION}.rgb.{camera}", (height, width, 3), "uint8"), rate_hz),
            Feature(
                Field(f"{OBSERVATION}.depth_m.{camera}", (height, width), "float32", "m", camera, lower=0.0),
                rate_hz,
                precision=depth_precision_m,
            ),
            Feature(Field(f"{OBSERVATION}.intrinsics.{camera}", (3, 3), "float64", "px", camera), rate_hz),
            Feature(Field(f"{OBSERVATION}.world_from_camera.{camera}", (4, 4), "float64", "m", "world"), rate_hz),
        ]
    return tuple(found)


def observation_row(seen: Observation) -> dict[str, np.ndarray]:
    """Returns the row of every column of observations, a hidden time as NaN. Raises `DataError`."""
    if any(image.instance is not None for image in seen.images.values()):
        raise DataError("Instance images are privileged and must not be stored.", remedy="Set them to None.")
    time_s = np.nan if seen.time_s is None else seen.time_s
    row = {PROPRIO: seen.proprio, GRIPPER: np.array(seen.gripper), TIME: np.array(time_s)}
    for camera, image in seen.images.items():
        for part in IMAGE_PARTS:
            row[f"{OBSERVATION}.{part}.{camera}"] = getattr(image, part)
    return row


def _observation_columns(robot: str, observations: Sequence[Observation]) -> dict[str, np.ndarray]:
    cameras = sorted(observations[0].images)
    rows: dict[str, list[np.ndarray]] = {}
    for seen in observations:
        if sorted(seen.images) != cameras or seen.robot != robot:
            raise DataError(
                "Every observation must show the same robot through the same cameras.",
                value=(seen.robot, sorted(seen.images)),
            )
        for name, value in observation_row(seen).items():
            rows.setdefault(name, []).append(value)
    return {name: _stacked(name, values) for name, values in rows.items()}


def _stacked(name: str, rows: Sequence[np.ndarray]) -> np.ndarray:
    try:
        return np.array(rows)
    except ValueError as error:
        raise DataError(f"Every observation must have the same shape of {name!r}.", value=str(error)) from error
