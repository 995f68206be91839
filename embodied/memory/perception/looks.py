"""One look at a scene, its changes to the known things, and its comparison with earlier images of the same camera."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Self

import numpy as np

from embodied.geometry import Pose, Vector3, vector3
from embodied.memory.perception.boxes import UprightBox
from embodied.memory.perception.known import Known, Measured, measured, share_inside
from embodied.memory.perception.segments import SAME_RGB, SegmentedImage
from embodied.types import CameraImage

SAME_M = 0.004  # Depth tolerance, metres, for a pixel that is unchanged.
VACATED_SHARE = 0.05
LEAST_PIXELS = 10


class ChangeKind(StrEnum):
    """The effect of a look on the belief about one thing."""

    NEW = "new"
    MOVED = "moved"
    REFINED = "refined"
    CONFIRMED = "confirmed"
    GONE = "gone"


@dataclass(frozen=True)
class Change:
    """The change of the thing called `name` by a look; `share` of its place was seen empty where it is gone."""

    name: str
    kind: ChangeKind
    share: float = 0.0


@dataclass(frozen=True, eq=False)
class Look:
    """One image with masks, whose ids have no meaning beyond the image.

    `own_m` are points (N, 3) on the surface of each robot, by which its mask is found; `tools` are the tool poses of
    tools in use, by the name of what they hold. A `still` camera has the same pose in all looks. `given` holds the name
    and the category of masks (each "" for unknown), for the settings that need them.
    """

    camera: str
    image: CameraImage
    time_s: float
    own_m: Sequence[np.ndarray]
    still: bool = True
    tools: Mapping[str, Pose] = field(default_factory=dict)
    given: Mapping[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reference:
    """The background of a still camera, without robots; later looks change it in place.

    Depth in metres, colour, and the index of the thing, 0 for none. `depth_m` and `label` are (height * width,), `rgb`
    uint8 (height * width, 3), which is up to date for things that are no surfaces. `size_px` are height and width,
    `intrinsics` those of its first image: at another resolution or zoom its pixels show other points.
    """

    depth_m: np.ndarray
    rgb: np.ndarray
    label: np.ndarray
    size_px: tuple[int, ...]
    intrinsics: np.ndarray

    @classmethod
    def first(cls, seen: SegmentedImage, label: np.ndarray, hidden: np.ndarray) -> Self:
        """Returns a reference from the image `seen`; `label` and `hidden` (by a robot) are (height * width,)."""
        depth_m, rgb = np.where(hidden, 0.0, seen.depth_m), seen.image.rgb.reshape(-1, 3).copy()
        return cls(depth_m, rgb, label, seen.image.depth_m.shape, seen.image.intrinsics.copy())

    def fits(self, seen: SegmentedImage) -> bool:
        """Returns whether the pixels of an image show the same points as those of the reference."""
        return self.size_px == seen.image.depth_m.shape and np.array_equal(self.intrinsics, seen.image.intrinsics)


def fitting(references: dict[str, Reference], camera: str, seen: SegmentedImage) -> Reference | None:
    """Returns that of the `references` for a `camera`, None for none yet; one that does not fit `seen` is removed."""
    found = references.get(camera)
    if found is not None and not found.fits(seen):
        del references[camera]
        return None
    return found


class Segment:
    """The surface that one mask of an image shows; it is measured only where its points do not suffice."""

    def __init__(self, seen: SegmentedImage, mask: int) -> None:
        self._seen = seen
        self._mask = mask

    @cached_property
    def _indices(self) -> np.ndarray:
        return self._seen.indices(self._mask)

    @property
    def enough(self) -> bool:
        """Whether it has enough pixels to be measured."""
        return len(self._indices) >= LEAST_PIXELS

    @cached_property
    def points_m(self) -> np.ndarray:
        """Its points (N, 3) in the world."""
        return self._seen.points_m(self._indices)

    @cached_property
    def _ball(self) -> tuple[Vector3, float]:
        low, high = self.points_m.min(axis=0), self.points_m.max(axis=0)
        return vector3((low + high) / 2), float(np.linalg.norm(high - low)) / 2

    def share_inside(self, box: UprightBox, *, margin_m: float) -> float:
        """Returns the share in [0, 1] of its points that lie in a box, grown by `margin_m` on every side."""
        centre_m, radius_m = self._ball
        if math.dist(centre_m, box.pose.position_m) > radius_m + math.hypot(*box.size_m) / 2 + 2 * margin_m:
            return 0.0
        return share_inside(box, self.points_m, margin_m=margin_m)

    def left_behind(self, points_m: np.ndarray) -> np.ndarray:
        """Returns those of the points (N, 3) of a known surface where the image shows that it is not there any more.

        Such a point is in the picture, at least a pixel outside of this mask, and nothing stands before it.
        """
        index, depth = self._seen.project(points_m)
        shown = np.flatnonzero(index >= 0)
        at = index[shown]
        ahead_m = depth[shown] - self._seen.depth_m[at]
        bare = (ahead_m < SAME_M) & (self._seen.depth_m[at] > 0)
        return points_m[shown[bare & self._seen.apart(at, self._mask)]]

    @cached_property
    def measured(self) -> Measured:
        """Its points with box and colours."""
        return measured(self.points_m, self._seen.rgb(self._indices), int(self._seen.pixels[self._mask]))


class Votes:
    """Counts for each mask the pixels that agree with each thing of the reference, and those of vacated places.

    `ours` marks the masks of robots, `narrow` the indices of things that are not surfaces. Where the scene is `relit`
    only depths must agree, else also the colours of things that are not surfaces.
    """

    def __init__(
        self,
        seen: SegmentedImage,
        reference: Reference | None,
        ours: np.ndarray,
        narrow: np.ndarray,
        *,
        relit: bool = False,
    ) -> None:
        self._seen = seen
        masks, things = len(seen.pixels), len(narrow)
        self._same = self._open = np.zeros((masks, things))
        self._own_px = np.zeros(things)
        if reference is None:
            return
        ahead_m = seen.depth_m - reference.depth_m
        clear = (ahead_m > -SAME_M) & ~ours.take(seen.mask)
        same = clear & (ahead_m < SAME_M)
        if not relit:
            things_at = np.flatnonzero(same & narrow.take(reference.label))  # Surfaces keep their colour.
            now, before = seen.image.rgb.reshape(-1, 3)[things_at], reference.rgb[things_at]
            same[things_at] = np.abs(now.astype(np.int16) - before).sum(axis=1) < SAME_RGB
        groups = np.add(clear, same, dtype=np.intp)  # 0 hidden, 1 changed, 2 the same.
        groups *= masks
        groups += seen.mask
        groups *= things
        groups += reference.label
        hidden, changed, self._same = np.bincount(groups, minlength=3 * masks * things).reshape(3, masks, things)
        self._open = self._same + changed
        self._own_px = (hidden + self._open).sum(axis=0)

    def best(self, mask: int) -> int:
        """Returns the index of the thing that most pixels of a mask showed before, 0 for none."""
        row = self._same[mask, 1:]
        return int(np.argmax(row)) + 1 if len(row) and row.max() > 0 else 0

    def share(self, mask: int, index: int) -> float:
        """Returns the share of a mask's pixels that show a thing as before."""
        return float(self._same[mask, index] / self._seen.pixels[mask])

    def share_of_own(self, mask: int, index: int) -> float:
        """Returns the share of a thing's pixels that a mask shows as before."""
        return float(self._same[mask, index] / max(1, self._own_px[index]))

    def pixels_of(self, index: int) -> float:
        """Returns how many pixels showed a thing before."""
        return float(self._own_px[index])

    def moved_px(self, mask: int, index: int) -> float:
        """Returns how many pixels showed a thing that a mask no longer covers, though they are visible."""
        return float(self._open[:, index].sum() - self._open[mask, index])

    def knows(self, index: int) -> bool:
        """Returns whether the camera has seen enough of a thing at its place."""
        return bool(index < len(self._own_px) and self._own_px[index] >= LEAST_PIXELS)

    def vacated(self, found: Mapping[int, Known], by_index: list[Known | None]) -> Iterator[tuple[Known, float]]:
        """Yields the things whose place no mask shows any more, and the share of it that is seen to be empty."""
        stayed = {thing.index for thing in found.values()}
        for thing in by_index[1:]:
            if thing is not None and thing.index not in stayed and self.knows(thing.index):
                share = float(self._open[:, thing.index].sum() / self._own_px[thing.index])
                if share > VACATED_SHARE:
                    yield thing, share
