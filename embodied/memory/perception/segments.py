"""Masks of one image as surfaces in the world.

Mask ids have no meaning beyond the image; tracking identifies things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from embodied.memory.perception.camera_images import known_depth_m, mask_sizes, masks, require_camera_image
from embodied.types import CameraImage

MOST_POINTS = 250
OWN_M = 0.02  # Tolerance in depth for points of a robot's own surface.
LEAST_HITS, LEAST_HIT_SHARE = 3, 0.1
_ROWS, _COLUMNS = np.array([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column]).T
SAME_RGB, LARGEST_RGB = 60, 765  # Colour tolerance, summed over the three channels.
FAR_M = 0.12  # Of depth: a larger step between neighbours leads to another thing.
JUMP_PX = 4.0  # Of depth, in pixel widths: a larger step between neighbours is an edge.


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """One image whose `instance` are masks: `mask` and `depth_m` are flat, (height * width,).

    Raises `SceneError` for an image that is not as `CameraImage` documents.
    """

    image: CameraImage

    def __post_init__(self) -> None:
        require_camera_image(self.image)
        _ = self.pixels  # Raises before anything is tracked.

    @cached_property
    def mask(self) -> np.ndarray:
        """The mask of each pixel, 0 for none."""
        return masks(self.image)

    @cached_property
    def depth_m(self) -> np.ndarray:
        """The depth of each pixel along the optical axis, 0 where unknown."""
        return known_depth_m(self.image)

    @cached_property
    def pixels(self) -> np.ndarray:
        """The number of pixels of each mask, by its id."""
        return mask_sizes(self.mask)

    def indices(self, mask: int) -> np.ndarray:
        """Returns the flat indices of pixels that show the thing of a mask, evenly thinned to `MOST_POINTS`.

        Pixels without depth are left out. So are two kinds of pixels on the rim of a mask, where no neighbour inside
        the mask has about the same depth: those with the colour of the surface outside, into which the mask bleeds,
        and those whose depth no neighbour shares or which lies far from that of the inside, where a sensor mixes two
        depths. A mask of which this would leave no pixel is kept whole.
        """
        found = np.flatnonzero(self.mask == mask)
        found = found[self.depth_m[found] > 0]
        found = found[:: 1 + len(found) // MOST_POINTS]
        sound = found[self._sound(found)]
        return sound if len(sound) else found

    def points_m(self, indices: np.ndarray) -> np.ndarray:
        """Returns the world points (N, 3) of pixels given by their flat indices."""
        intrinsics, pose = self.image.intrinsics, self.image.world_from_camera
        row, column = np.divmod(indices, self.image.depth_m.shape[1])
        depth = self.depth_m[indices].astype(np.float64)
        camera = np.empty((len(indices), 3))
        camera[:, 0] = (column + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0] * depth
        camera[:, 1] = (row + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1] * depth
        camera[:, 2] = depth
        return camera @ pose[:3, :3].T + pose[:3, 3]

    def rgb(self, indices: np.ndarray) -> np.ndarray:
        """Returns the colours (N, 3) of pixels, in [0, 1]."""
        return self.image.rgb.reshape(-1, 3)[indices] / 255.0

    def project(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the flat index of the pixel that shows each point (N, 3), -1 out of view, and its depth in metres."""
        pose, intrinsics = self.image.world_from_camera, self.image.intrinsics
        camera = (points_m - pose[:3, 3]) @ pose[:3, :3]
        ahead = np.maximum(camera[:, 2], 1e-6)
        column = np.floor(camera[:, 0] / ahead * intrinsics[0, 0] + intrinsics[0, 2])
        row = np.floor(camera[:, 1] / ahead * intrinsics[1, 1] + intrinsics[1, 2])
        height, width = self.image.depth_m.shape
        shown = (camera[:, 2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return np.where(shown, row * width + column, -1).astype(np.int64), camera[:, 2]

    def apart(self, indices: np.ndarray, mask: int) -> np.ndarray:
        """Returns which pixels, given by their flat indices, neither belong to a mask nor touch it."""
        row, column = np.divmod(indices, self.image.depth_m.shape[1])
        wide = self.image.depth_m.shape[1] + 2
        _, _, padded, _ = self._padded
        around = ((row + 1) * wide + column + 1)[:, None] + (_ROWS * wide + _COLUMNS)
        return (self.mask[indices] != mask) & (padded[around] != mask).all(axis=1)

    @cached_property
    def _padded(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rims of all masks, depths, masks, colours, flat, with one more row and column on each side of the image."""
        height, width = self.image.depth_m.shape
        mask = np.zeros((height + 2, width + 2), dtype=np.int32)
        depth_m = np.zeros(mask.shape, dtype=np.float32)
        rgb = np.zeros((*mask.shape, 3), dtype=np.uint8)
        rim = np.ones(mask.shape, dtype=bool)
        middle = mask[1:-1, 1:-1]
        middle[:], depth_m[1:-1, 1:-1] = (part.reshape(height, width) for part in (self.mask, self.depth_m))
        rgb[1:-1, 1:-1] = self.image.rgb
        found = rim[1:-1, 1:-1]
        np.not_equal(middle, mask[1:-1, :-2], out=found)
        for beside in (mask[1:-1, 2:], mask[:-2, 1:-1], mask[2:, 1:-1]):
            found |= middle != beside
        return rim.ravel(), depth_m.ravel(), mask.ravel(), rgb.reshape(-1, 3)

    def _sound(self, indices: np.ndarray) -> np.ndarray:
        """Returns which pixels, given by their flat indices, show the thing of their own mask."""
        rim, depth_m, mask, rgb = self._padded
        row, column = np.divmod(indices, self.image.depth_m.shape[1])
        wide = self.image.depth_m.shape[1] + 2
        at = (row + 1) * wide + column + 1
        sound = ~rim.take(at)
        at = at[~sound, None]
        around = at + (_ROWS * wide + _COLUMNS)
        step_m = np.abs(depth_m.take(around) - depth_m.take(at))
        near = step_m <= JUMP_PX * depth_m.take(at) / self.image.intrinsics[1, 1]
        same = mask.take(around) == mask.take(at)
        inner = same & ~rim.take(around)
        kept = (near & inner).any(axis=1)
        doubted = np.flatnonzero(~kept)
        inner, same, step_m = inner[doubted], same[doubted], step_m[doubted]
        apart = np.abs(rgb[around[doubted]].astype(np.int16) - rgb[at[doubted]]).sum(axis=2)
        beside, own = (np.where(which, apart, LARGEST_RGB).min(axis=1) for which in (~same, inner))
        bled = (beside < SAME_RGB) & (beside < own)
        apart_m = np.where(inner, step_m, np.inf).min(axis=1)
        mixed = ~(near[doubted] & same).any(axis=1) | (inner.any(axis=1) & (apart_m > FAR_M))
        kept[doubted] = ~(bled | mixed)
        sound[~sound] = kept
        return sound

    def of_robots(self, own_m: Sequence[np.ndarray]) -> frozenset[int]:
        """Returns the masks of robots: those hit by the points (N, 3) of each robot's own surface."""
        return frozenset(mask for points_m in own_m for mask in self._hit(points_m))

    def _hit(self, points_m: np.ndarray) -> list[int]:
        index, depth = self.project(points_m)
        shown = index >= 0
        index, depth = index[shown], depth[shown]
        hit = np.abs(depth - self.depth_m[index]) < OWN_M
        counts = np.bincount(self.mask[index[hit]], minlength=1)
        counts[0] = 0
        return np.flatnonzero(counts >= max(LEAST_HITS, LEAST_HIT_SHARE * np.count_nonzero(hit))).tolist()
