"""Leaks put in on purpose: a probe that cannot find them could not have found a real one."""

from dataclasses import replace

import numpy as np

from embodied.geometry import points_from_depth, transform_points
from policies.probes.sightings import DEPTH_UNIT_M, ChoiceSighting

LATE_S = 0.5
TINT_RADIUS_M = 0.06
TINT_LEVELS = 8
MARK_LEVELS = 16
LEAN_RAD = 0.05
CLOCK = -2  # `ChoiceSighting.body` ends in time and step...
ELBOW = 2  # ...and begins with the joints of the arm.


def late(sighting: ChoiceSighting, rank: int) -> ChoiceSighting:
    """Returns the sighting with a clock that is half a second later for each rank of the target."""
    body = sighting.body.copy()
    body[CLOCK] += LATE_S * rank
    return replace(sighting, body=body)


def leaning(sighting: ChoiceSighting, rank: int) -> ChoiceSighting:
    """Returns the sighting with the elbow 0.05 rad further to one side for each rank of the target."""
    body = sighting.body.copy()
    body[ELBOW] += LEAN_RAD * (rank - (len(sighting.candidates_m) - 1) / 2)
    return replace(sighting, body=body)


def marked(sighting: ChoiceSighting, rank: int) -> ChoiceSighting:
    """Returns the sighting with a strip at the top of every image 16 of 255 levels brighter: as far along as the rank.

    Such a leak lies at the same place whatever the layout.
    """
    rgb = sighting.rgb.copy()
    _, height, width, _ = rgb.shape
    share = width // len(sighting.candidates_m)
    strip = (slice(None), slice(0, height // 8), slice(rank * share, (rank + 1) * share))
    rgb[strip] = np.minimum(rgb[strip].astype(int) + MARK_LEVELS, 255)
    return replace(sighting, rgb=rgb)


def tinted(sighting: ChoiceSighting, rank: int) -> ChoiceSighting:  # noqa: ARG001
    """Returns the sighting with all within 6 cm of the target's place 8 of 255 levels brighter, in every camera."""
    rgb = sighting.rgb.copy()
    place_m = sighting.candidates_m[int(sighting.target)]
    for camera, depth in enumerate(sighting.depth):
        points_m = points_from_depth(depth * DEPTH_UNIT_M, sighting.intrinsics[camera])
        away_m = np.linalg.norm(transform_points(sighting.world_from_camera[camera], points_m) - place_m, axis=-1)
        near = (away_m < TINT_RADIUS_M)[..., None]
        rgb[camera] = np.where(near, np.minimum(rgb[camera].astype(int) + TINT_LEVELS, 255), rgb[camera])
    return replace(sighting, rgb=rgb)
