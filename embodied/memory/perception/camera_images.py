"""Checks of camera images before perception believes them: types, sizes, units, and agreement of their parts."""

import numpy as np

from embodied.errors import SceneError
from embodied.types import CameraImage

FAR_M = 20.0  # Depth cameras report no surface beyond; 65.535 and infinity stand for "nothing returned".
RIGID = 1e-3
UNIT_SHARE, UNIT_VALUES = 0.5, 10
EXACT_BYTES = 4
LARGEST_MASK = 2**16 - 1  # Pixels are counted by mask: a larger id, such as a hash, would take gigabytes.
MOST_MASKS = 1_000  # The work of a look grows with masks times things.


def require_camera_image(image: CameraImage) -> None:
    """Raises `SceneError`, with the rule, what was given and the remedy, for an image that is not as documented.

    `CameraImage` documents types and units. Masks may have any integral or floating type, and -1 for the background.
    """
    for name in ("depth_m", "rgb", "intrinsics", "world_from_camera"):
        part = getattr(image, name)
        _require(isinstance(part, np.ndarray), f"`{name}` must be an array.", type(part).__name__, "Use `numpy.array`.")
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
    _require_lens(image.intrinsics)
    _require(
        _rigid(image.world_from_camera),
        "The pose of a camera must be a 4 x 4 matrix without scale or reflection, with 0 0 0 1 as its last row.",
        image.world_from_camera.tolist(),
        "Its first three columns are the axes x right, y down, z forward, its last one the position: do not transpose.",
    )


def _require_lens(lens: np.ndarray) -> None:
    """Raises `SceneError` unless a matrix (3, 3) holds focal lengths and a principal point, in pixels."""
    _require(
        lens.shape == (3, 3) and _is_exact(lens) and lens[0, 0] > 0 and lens[1, 1] > 0,
        "Intrinsics must be a 3 x 3 matrix with positive focal lengths.",
        lens.tolist(),
        "Leave out the fourth column of a projection matrix.",
    )
    rest = np.array([lens[0, 1], lens[1, 0], *(lens[2] - (0.0, 0.0, 1.0))])
    _require(
        np.abs(rest).max() <= RIGID,
        "Intrinsics must be ((fx, 0, cx), (0, fy, cy), (0, 0, 1)), in pixels.",
        lens.tolist(),
        "Do not transpose or scale the matrix; rectify images of a camera with skew.",
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
    """Returns the mask of each pixel, flat, 0 for none.

    Raises `SceneError` for ids so large that no segmentation of one image numbers its masks by them.
    """
    given = np.asarray(image.instance)
    flat = given.ravel()
    if flat.dtype.kind == "f":
        flat = np.nan_to_num(flat)
    if flat.dtype.kind != "b" and flat.max() > LARGEST_MASK:
        raise SceneError(
            f"The masks of an image must have numbers up to {LARGEST_MASK}.",
            value=flat.max(),
            remedy="Number them from 1, such as by `numpy.unique(mask, return_inverse=True)`.",
        )
    found = flat.astype(np.intp)
    return found if flat.dtype.kind in "bu" or found.min() >= 0 else np.maximum(found, 0)


def mask_sizes(mask: np.ndarray) -> np.ndarray:
    """Returns the number of pixels of each mask of `masks`, by its id. Raises `SceneError` for too many masks."""
    pixels = np.bincount(mask)
    found = np.count_nonzero(pixels[1:])
    if found > MOST_MASKS:
        raise SceneError(
            f"An image must not have more than {MOST_MASKS} masks.",
            value=f"{found} masks",
            remedy="Merge the parts of things: each mask should be one thing.",
        )
    return pixels


def _rigid(matrix: np.ndarray) -> bool:
    if matrix.shape != (4, 4) or not _is_exact(matrix) or np.abs(matrix[3] - (0.0, 0.0, 0.0, 1.0)).max() > RIGID:
        return False
    turn = matrix[:3, :3]
    return bool(np.abs(turn @ turn.T - np.eye(3)).max() <= RIGID and np.linalg.det(turn) > 0)


def _is_exact(matrix: np.ndarray) -> bool:
    """Returns whether its numbers are finite, and finer than those of float16, which has millimetres up to 2 m."""
    exact = matrix.dtype.kind in "iu" or (matrix.dtype.kind == "f" and matrix.dtype.itemsize >= EXACT_BYTES)
    return bool(exact and np.isfinite(matrix).all())


def _require(holds: object, rule: str, value: object, remedy: str) -> None:
    if not holds:
        raise SceneError(rule, value=value, remedy=remedy)
