"""Placement noise: every transport ends a little beside its target, so that careful placement leaves no trace."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from embodied.geometry import UNIT_TOLERANCE, multiply_quaternions, quaternion_from_yaw
from embodied.seeding import stream
from embodied.specs import ActionSpec
from embodied.types import ActionChunk, DeltaPose, Episode, Intent, MoveTo, WorldState, holder_name


def moved_holder(state: WorldState, robot: str, intent: Intent) -> str:
    """Returns the key in `WorldState.held` of the end effector that an `intent` of `robot` moves in `state`.

    An intent that names none of several end effectors has a key that `held` lacks.
    """
    space = intent.space if isinstance(intent, ActionChunk) else intent
    name = space.end_effector if isinstance(space, MoveTo | DeltaPose | ActionSpec) else ""
    return holder_name(robot, name, only=len(state.robots[robot].end_effectors) < 2)


def with_action_noise(episode: Episode, holder: str, *, grasp_count: int, intent: Intent) -> Intent:
    """Returns `intent` as the end effector `holder` runs it while it holds the body of its grasp `grasp_count`.

    A `MoveTo` is shifted in world x and y by up to `episode.placement_noise_m` metres each and turned about world z
    by up to `episode.placement_noise_rad` radians, uniformly. The draw depends on the episode's seed, the holder and
    the grasp alone, so all moves of one grasp share it. Other intents are returned as they are: see `release_errors`.
    """
    if not isinstance(intent, MoveTo) or (episode.placement_noise_m == 0.0 and episode.placement_noise_rad == 0.0):
        return intent
    if not _well_formed(intent):
        return intent  # The controller refuses it with its own message.
    shift_x_m, shift_y_m, yaw_rad = _draw(episode, holder, grasp_count)
    x_m, y_m, z_m = intent.position_m
    return replace(
        intent,
        position_m=(x_m + shift_x_m, y_m + shift_y_m, z_m),
        orientation=multiply_quaternions(quaternion_from_yaw(yaw_rad), intent.orientation),
    )


def release_errors(episode: Episode, grasp_count: Mapping[str, int]) -> dict[str, tuple[float, float, float]]:
    """Returns the displacement of a body when an end effector releases it: world x and y in metres, yaw in radians.

    `grasp_count` gives the number of its grasp by holder. The draw equals the one of `with_action_noise`, so both
    have the same distribution; it acts while the fingers open, after the last command that could have corrected it.
    """
    if episode.placement_noise_m == 0.0 and episode.placement_noise_rad == 0.0:
        return {}
    return {holder: _draw(episode, holder, count) for holder, count in grasp_count.items()}


def _draw(episode: Episode, holder: str, grasp_count: int) -> tuple[float, float, float]:
    draw = stream(episode.seed, "placement", holder, grasp_count).uniform(-1.0, 1.0, size=3)
    shift_x_m, shift_y_m = (float(value) for value in draw[:2] * episode.placement_noise_m)
    return shift_x_m, shift_y_m, float(draw[2] * episode.placement_noise_rad)


def _well_formed(intent: MoveTo) -> bool:
    try:
        values = np.array([*intent.position_m, *intent.orientation], dtype=np.float64)
    except (TypeError, ValueError):
        return False
    unit = values.shape == (7,) and len(intent.position_m) == 3
    return unit and bool(np.isfinite(values).all()) and abs(float(np.linalg.norm(values[3:])) - 1.0) <= UNIT_TOLERANCE
