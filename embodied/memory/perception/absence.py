"""Evidence that a thing is gone: its place is in sight, and the cameras see through it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embodied.geometry import transform_points
from embodied.memory.perception.boxes import UprightBox, samples
from embodied.types import CameraImage

SAMPLES_PER_SIDE = 5
FREE_MARGIN_M = 0.006  # A surface must lie this far behind a sample, in depth, for the sample to be free space.


@dataclass(frozen=True)
class Absence:
    """A thing that is not where it was; `visible_fraction` of its box was seen to be empty."""

    entity: str
    visible_fraction: float


def absences(
    boxes: Mapping[str, UprightBox], images: Mapping[str, CameraImage], *, least: float
) -> tuple[Absence, ...]:
    """Returns which of the remembered `boxes`, by entity, are seen empty to at least the share `least`."""
    found = (Absence(entity, visible_fraction(box, images)) for entity, box in boxes.items())
    return tuple(absence for absence in found if absence.visible_fraction >= least)


def visible_fraction(box: UprightBox, images: Mapping[str, CameraImage], *, margin_m: float = FREE_MARGIN_M) -> float:
    """Returns the share in [0, 1] of the box that some camera sees to be empty.

    Of 125 points spread through the box, those count that project into an image whose measured depth there is
    greater than the point's own by more than `margin_m`. A point out of view, behind something nearer, or where depth
    is unknown counts as unseen: it may still hold the thing. A thing flatter than the margin can never be seen gone.
    """
    points_m = samples(box, per_side=SAMPLES_PER_SIDE)
    free = np.zeros(len(points_m), dtype=bool)
    for image in images.values():
        free |= _seen_through(points_m, image, margin_m)
    return float(np.mean(free))


def _seen_through(points_m: np.ndarray, image: CameraImage, margin_m: float) -> np.ndarray:
    camera = transform_points(np.linalg.inv(image.world_from_camera), points_m)
    height, width = image.depth_m.shape
    ahead = camera[:, 2] > 0.0
    pixels = camera @ image.intrinsics.T / np.where(ahead, camera[:, 2], 1.0)[:, None]
    column, row = np.floor(pixels[:, 0]), np.floor(pixels[:, 1])
    shown = ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    measured = np.zeros(len(points_m))
    measured[shown] = image.depth_m[row[shown].astype(int), column[shown].astype(int)]
    return shown & (measured > camera[:, 2] + margin_m)  # Unknown depth is 0: never greater than what is ahead.
