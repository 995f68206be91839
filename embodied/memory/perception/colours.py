"""Colours by name: the nearest of a few well-known ones, in a perceptual colour space."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from embodied.geometry import Vector3, vector3

NAMED_RGB: dict[str, Vector3] = {
    "red": (0.8, 0.1, 0.1),
    "orange": (0.95, 0.5, 0.1),
    "yellow": (0.9, 0.85, 0.15),
    "green": (0.15, 0.6, 0.2),
    "cyan": (0.15, 0.75, 0.8),
    "blue": (0.15, 0.3, 0.8),
    "purple": (0.5, 0.2, 0.65),
    "pink": (0.95, 0.55, 0.7),
    "brown": (0.45, 0.3, 0.18),
    "white": (0.95, 0.95, 0.95),
    "grey": (0.5, 0.5, 0.5),
    "black": (0.06, 0.06, 0.06),
}
LIGHTNESS_WEIGHT = 0.5  # Shading changes the lightness of a thing far more than its hue.
_WEIGHTS = np.array([LIGHTNESS_WEIGHT, 1.0, 1.0])
_XYZ_FROM_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


@dataclass(frozen=True)
class Colour:
    """A colour: CIE L*a*b* (D65), and the name of the nearest known one."""

    lab: Vector3
    name: str


def lab_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """Returns CIE L*a*b* (..., 3) under D65 of sRGB values (..., 3) in [0, 1] (IEC 61966-2-1)."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ_FROM_RGB.T / _XYZ_FROM_RGB.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def median_lab(lab: np.ndarray) -> Colour:
    """Returns the median of the lighter half of CIE L*a*b* values (N, 3): the lit side of a thing."""
    lab = median(lab[lab[:, 0] >= median(lab[:, 0])])
    names, known = _known_colours()
    apart = (known - lab) * _WEIGHTS
    return Colour(vector3(lab), names[int(np.argmin((apart * apart).sum(axis=1)))])


def median(values: np.ndarray) -> np.ndarray:
    """Returns the median along the first axis, of at least one value: `np.median` without its checks, much faster."""
    ordered = np.sort(values, axis=0)
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


@lru_cache(maxsize=1)
def _known_colours() -> tuple[list[str], np.ndarray]:
    return list(NAMED_RGB), lab_from_rgb(np.array(list(NAMED_RGB.values())))
