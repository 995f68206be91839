"""Checks of camera images before perception believes them: types, sizes, units, and agreement of their parts."""

import numpy as np

from embodied.errors import SceneError
from embodied.types import CameraImage

FAR_M = 20.0  # Depth cameras report no surface beyond; 65.535 and infinity stand for "nothing returned".
RIGID = 1e-3
UNIT_SHARE, UNIT_VALUES = 0.5, 10


def require_camera_image(image: CameraImage) -> None:
    """Raises `SceneError`, with the rule, what was given and the remedy, for an image that is not as documented.

    `CameraImage` documents types and units. Masks may have any integral or floating type, and -1 for the background.
    """
    shape = image.depth_m.shape
    _require(
        len(shape) == 2 and min(shape) > 0 and image.depth_m.dtype.kind == "f",
        "Depth must be an image of floating-point metres.",
        f"{image.depth_m.dtype} {shape}",
        "Divide millimetres by 1000, and leave out the axis of channels.",
    )
    _require(
        image.rgb.dtype == np.uint8 and image.rgb.shape == (*shape, 3),
        "Colour must be uint8 with three channels, of the size of the depth image.",
        f"{image.rgb.dtype} {image.rgb.shape}, depth {shape}",
        "Leave out alpha, and multiply colours in [0, 1] by 255.",
    )
    mask = image.instance
    _require(
        mask is not None and mask.shape == shape and mask.dtype.kind in "biuf",
        "Perception needs a segmentation of each image, of the size of its depth.",
        "None" if mask is None else f"{mask.dtype} {mask.shape}, depth {shape}",
        "Let the worker render masks, or segment the image.",
    )
    lens = image.intrinsics
    _require(
        lens.shape == (3, 3) and bool(np.isfinite(lens).all()) and lens[0, 0] > 0 and lens[1, 1] > 0,
        "Intrinsics must be a 3 x 3 matrix with positive focal lengths.",
        lens.tolist(),
        "Leave out the fourth column of a projection matrix.",
    )
    _require(
        _rigid(image.world_from_camera),
        "The pose of a camera must be a 4 x 4 matrix without scale or reflection.",
        image.world_from_camera.tolist(),
        "Its first three columns are the axes x right, y down, z forward.",
    )


def known_depth_m(image: CameraImage) -> np.ndarray:
    """Returns depth, flat, with 0 wherever a camera cannot know it: not finite, not positive, or beyond `FAR_M`.

    Raises `SceneError` where most of the image is farther away, but not as far as a camera's mark of no return.
    """
    depth_m = image.depth_m.ravel()
    if depth_m.min() >= 0.0 and depth_m.max() <= FAR_M:  # False for NaN.
        return depth_m
    known = np.isfinite(depth_m) & (depth_m > 0.0)
    beyond = known & (depth_m > FAR_M)
    if np.count_nonzero(beyond) > UNIT_SHARE * np.count_nonzero(known):
        values = np.unique(depth_m[beyond])
        if len(values) > UNIT_VALUES:
            raise SceneError(
                f"Depth must be in metres, and mostly within {FAR_M:g} m.",
                value=f"median {np.median(depth_m[beyond]):g}",
                remedy="Divide millimetres by 1000.",
            )
    return np.where(known & ~beyond, depth_m, np.zeros(1, depth_m.dtype))


def masks(image: CameraImage) -> np.ndarray:
    """Returns the mask of each pixel, flat, 0 for none."""
    flat = np.asarray(image.instance).ravel()
    if flat.dtype.kind == "f":
        flat = np.nan_to_num(flat)
    found = flat.astype(np.intp)
    return found if flat.dtype.kind in "bu" or found.min() >= 0 else np.maximum(found, 0)


def _rigid(matrix: np.ndarray) -> bool:
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    turn = matrix[:3, :3]
    return bool(np.abs(turn @ turn.T - np.eye(3)).max() <= RIGID and np.linalg.det(turn) > 0)


def _require(holds: object, rule: str, value: object, remedy: str) -> None:
    if not holds:
        raise SceneError(rule, value=value, remedy=remedy)
