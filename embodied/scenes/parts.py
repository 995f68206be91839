"""Short forms of coloured parts, and the box around parts: for furniture and objects made of primitive shapes."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from embodied.geometry import Pose, Quaternion, Vector3, quaternion_from_yaw, rotation_matrix
from embodied.scenes.scene import Box, Cylinder, Part, Rgba, Sphere

Axis = Literal["x", "y", "z"]
Point3 = Sequence[float] | np.ndarray
_HALF = float(np.sqrt(0.5))
_ALONG: dict[Axis, Quaternion] = {
    "x": (0.0, _HALF, 0.0, _HALF),
    "y": (_HALF, 0.0, 0.0, _HALF),
    "z": (0.0, 0.0, 0.0, 1.0),
}
DIGITS = 6  # Of lengths in metres and of colours: text that stays short, and sizes that differ from model to model.


def block(size_m: Point3, centre_m: Point3, rgba: Rgba, yaw_rad: float = 0.0) -> Part:
    """Returns a cuboid with edges `size_m`, centred on `centre_m`, turned by `yaw_rad` about z, coloured `rgba`."""
    turned = quaternion_from_yaw(yaw_rad) if yaw_rad else _ALONG["z"]
    return Part(Box(rounded(size_m)), Pose(rounded(centre_m), turned), rgba)


def column(radius_m: float, height_m: float, centre_m: Point3, rgba: Rgba, axis: Axis = "z") -> Part:
    """Returns a cylinder of `radius_m` and `height_m` along `axis`, centred on `centre_m`, coloured `rgba`."""
    shape = Cylinder(round(float(radius_m), DIGITS), round(float(height_m), DIGITS))
    return Part(shape, Pose(rounded(centre_m), _ALONG[axis]), rgba)


def ball(radius_m: float, centre_m: Point3, rgba: Rgba) -> Part:
    """Returns a sphere of `radius_m`, centred on `centre_m`, coloured `rgba`."""
    return Part(Sphere(round(float(radius_m), DIGITS)), Pose(rounded(centre_m)), rgba)


def rounded(values: Point3) -> Vector3:
    """Returns three plain floats with six digits after the point."""
    x, y, z = (round(float(value), DIGITS) for value in values)
    return (x, y, z)


def shade(rgba: Rgba, factor: float) -> Rgba:
    """Returns `rgba` darker (a `factor` below 1) or brighter, within [0, 1]."""
    red, green, blue = (round(min(1.0, max(0.0, value * factor)), DIGITS) for value in rgba[:3])
    return (red, green, blue, rgba[3])


def bounds(parts: Iterable[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and highest corner (3,) of the box around `parts` in the frame of their body.

    For a turned cylinder it is the box around its own box. `parts` are boxes, cylinders and spheres.
    """
    lows, highs = [], []
    for part in parts:
        shape = part.shape
        if isinstance(shape, Box):
            half = np.array(shape.size_m) / 2
        elif isinstance(shape, Cylinder):
            half = np.array([shape.radius_m, shape.radius_m, shape.height_m / 2])
        elif isinstance(shape, Sphere):
            half = np.full(3, shape.radius_m)
        else:
            raise TypeError(f"The box around a {type(shape).__name__} is not known.")
        reach = np.abs(rotation_matrix(part.pose.orientation)) @ half
        lows.append(part.pose.position_m - reach)
        highs.append(part.pose.position_m + reach)
    return np.min(lows, axis=0), np.max(highs, axis=0)
