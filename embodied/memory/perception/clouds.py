"""Point clouds per instance: pixels lifted into the world, unsound ones left out, views and instants fused."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embodied.errors import MissingDependencyError, SceneError
from embodied.geometry import points_from_depth, transform_points
from embodied.types import CameraImage

_AROUND = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
LEAST_FRIENDS = 2
RING_PX = 2
AROUND_VOXEL_M = 0.01
OUTLIER_NEIGHBOURS = 12
OUTLIER_DEVIATIONS = 4.0


@dataclass(frozen=True, eq=False)
class Cloud:
    """The visible surface of one thing.

    `points_m` float64 (N, 3) in the world; `rgb` float64 (N, 3) in [0, 1]; `around_m` (M, 3) are points beside it in
    the images, of other things; `pixels` that showed it in its best view; `views` that contributed, over all
    instants; `footprint_m` is the width that one pixel covered, the median.
    """

    points_m: np.ndarray
    rgb: np.ndarray
    around_m: np.ndarray
    pixels: int
    views: int
    footprint_m: float


def require_instances(name: str, image: CameraImage) -> np.ndarray:
    """Returns the instance mask of an image. Raises `SceneError` where it has none."""
    if image.instance is None:
        raise SceneError(
            f"Perception needs the instance mask of camera {name!r}.",
            remedy="Let the worker render it, or set the masks of a segmenter.",
        )
    return image.instance


def lift(images: Mapping[str, CameraImage], wanted: Iterable[int], *, jump_px: float) -> dict[int, list[Cloud]]:
    """Returns the clouds of the `wanted` instances, one per view that shows something sound of it.

    `jump_px` is how many pixel widths of depth between two neighbours make an edge; see `sound_pixels`.
    """
    clouds: dict[int, list[Cloud]] = {instance: [] for instance in wanted}
    for name, image in images.items():
        mask = require_instances(name, image)
        footprint_m = image.depth_m / image.intrinsics[1, 1]
        sound = sound_pixels(image.depth_m, mask, jump_m=jump_px * footprint_m)
        points_m = transform_points(image.world_from_camera, points_from_depth(image.depth_m, image.intrinsics))
        for instance, found in clouds.items():
            mine = mask == instance
            kept = mine & sound
            if kept.any():
                beside = _beside(mine) & (image.depth_m > 0)
                rgb, width_m = image.rgb[kept] / 255.0, float(np.median(footprint_m[kept]))
                pixels = int(np.count_nonzero(mine))
                found.append(Cloud(points_m[kept], rgb, points_m[beside], pixels, 1, width_m))
    return clouds


def sound_pixels(depth_m: np.ndarray, instance: np.ndarray, *, jump_m: np.ndarray) -> np.ndarray:
    """Returns which pixels (height, width) measure the depth of their own instance.

    Left out are those without depth; flying ones (fewer than two of the eight neighbours are of the same instance at
    the same depth within `jump_m`, (height, width)); and those on the rim of a mask that lie behind the mask's inside
    by a jump: there a mask bleeds onto what is behind it, or a sensor mixes the two depths.
    """
    depth, mask = np.pad(depth_m, 1), np.pad(instance, 1)
    friends = np.zeros(depth_m.shape, dtype=np.int8)
    rim, behind = np.zeros(depth_m.shape, dtype=bool), np.zeros(depth_m.shape, dtype=bool)
    height, width = depth_m.shape
    for row, column in _AROUND:
        window = (slice(1 + row, 1 + row + height), slice(1 + column, 1 + column + width))
        same = (mask[window] == instance) & (depth[window] > 0)
        farther_m = depth_m - depth[window]
        friends += same & (np.abs(farther_m) <= jump_m)
        behind |= same & (farther_m > jump_m)
        rim |= mask[window] != instance
    return (depth_m > 0) & (friends >= LEAST_FRIENDS) & ~(rim & behind)


def fuse(clouds: Sequence[Cloud], *, voxel_m: float) -> Cloud:
    """Returns one cloud: a point per voxel of `voxel_m` (the mean of those in it), without statistical outliers.

    A point is an outlier where its mean distance to 12 neighbours lies 4 deviations above the usual one (Rusu et al.,
    2008). Raises `MissingDependencyError` without Open3D.
    """
    open3d = _open3d()
    cloud = open3d.geometry.PointCloud()
    cloud.points = open3d.utility.Vector3dVector(np.concatenate([part.points_m for part in clouds]))
    cloud.colors = open3d.utility.Vector3dVector(np.concatenate([part.rgb for part in clouds]))
    cloud = cloud.voxel_down_sample(voxel_m)
    if len(cloud.points) > OUTLIER_NEIGHBOURS:
        cloud, _ = cloud.remove_statistical_outlier(OUTLIER_NEIGHBOURS, OUTLIER_DEVIATIONS)
    around = open3d.geometry.PointCloud()
    around.points = open3d.utility.Vector3dVector(np.concatenate([part.around_m for part in clouds]))
    best = max(clouds, key=lambda part: part.pixels)
    return replace(
        best,
        points_m=np.asarray(cloud.points).copy(),
        rgb=np.asarray(cloud.colors).copy(),
        around_m=np.asarray(around.voxel_down_sample(AROUND_VOXEL_M).points).copy(),
        views=sum(part.views for part in clouds),
    )


def _beside(mask: np.ndarray) -> np.ndarray:
    """Returns the pixels outside a mask (height, width) that are at most `RING_PX` rows or columns away from it."""
    padded = np.pad(mask, RING_PX)
    height, width = mask.shape
    spans = range(2 * RING_PX + 1)
    tall = np.any([padded[row : row + height] for row in spans], axis=0)
    return np.any([tall[:, column : column + width] for column in spans], axis=0) & ~mask


def _open3d() -> Any:
    try:
        import open3d
    except ImportError as error:
        raise MissingDependencyError(
            "Perception needs Open3D.", remedy="Install it: pip install open3d-cpu (or open3d)."
        ) from error
    return open3d
