"""Distinguishes a pushed thing from one of which more is seen than before, and another light from another thing."""

import math
from collections.abc import Iterable

import numpy as np

from embodied.geometry import Vector3
from embodied.memory.perception.boxes import inside
from embodied.memory.perception.colours import lab_from_rgb, median_lab
from embodied.memory.perception.known import Known
from embodied.memory.perception.looks import LEAST_PIXELS, Segment
from embodied.memory.perception.segments import SegmentedImage

OUTSIDE_M, OUTSIDE_SHARE = 0.004, 0.03
TRAILING_SHARE = 0.35
ON_SURFACE_M = 0.015
RELIT = 6.0  # In CIE L*a*b*: noise and the shadow of a robot change the median of a surface far less.


def has_shifted(thing: Known, new: Segment) -> bool:
    """Returns whether a view reaches beyond a thing on one side and leaves its opposite side empty.

    More of a thing at rest than before is seen without any emptiness. Both are measured against all that is known of
    the thing, not against the last image, so that many small steps add up.
    """
    beyond = ~inside(thing.box, new.points_m, margin_m=OUTSIDE_M)
    if np.count_nonzero(beyond) <= OUTSIDE_SHARE * len(beyond):
        return False
    centre_m = thing.box.centre_m[:2]
    towards = new.points_m[beyond, :2].mean(axis=0) - centre_m
    towards /= max(float(np.linalg.norm(towards)), 1e-9)
    known_m = thing.measured.points_m
    reach_m = float(((centre_m - known_m[:, :2]) @ towards).max())
    behind_m = (centre_m - new.left_behind(known_m)[:, :2]) @ towards
    # Of a thing at rest the rim is seen empty, on all sides.
    return len(behind_m) > OUTSIDE_SHARE * len(known_m) and behind_m.mean() > TRAILING_SHARE * reach_m


class Lighting:
    """Notices that the light or a camera's colours have changed, by the surfaces that stay where they are."""

    def __init__(self) -> None:
        self._by_camera: dict[tuple[str, str], Vector3] = {}
        self._newest: dict[str, Vector3] = {}

    def changed(self, camera: str, seen: SegmentedImage, surfaces: Iterable[Known]) -> bool:
        """Returns whether at least half of the `surfaces` that an image shows have another colour than before.

        The colour before is that of the last image of the same `camera`, else of any; `seen` is the image.
        """
        known = differ = 0
        for surface in surfaces:
            before = self._by_camera.get((camera, surface.name), self._newest.get(surface.name))
            now = self._note(camera, seen, surface)
            if before is not None and now is not None:
                known += 1
                differ += math.dist(now, before) > RELIT
        return 0 < known <= 2 * differ

    def learn(self, camera: str, seen: SegmentedImage, surfaces: Iterable[Known]) -> None:
        """Notes the colours of those `surfaces` that an image `seen` by `camera` shows for the first time."""
        for surface in surfaces:
            if surface.name not in self._newest:
                self._note(camera, seen, surface)

    def _note(self, camera: str, seen: SegmentedImage, surface: Known) -> Vector3 | None:
        """Returns the colour that an image shows of a surface in its place, None where it shows too little of it."""
        index, depth = seen.project(surface.measured.points_m)
        shown = index >= 0
        index, depth = index[shown], depth[shown]
        index = index[np.abs(depth - seen.depth_m[index]) < ON_SURFACE_M]
        if len(index) < LEAST_PIXELS:
            return None
        lab = median_lab(lab_from_rgb(seen.rgb(index))).lab
        self._by_camera[camera, surface.name] = self._newest[surface.name] = lab
        return lab
