"""Checks the values in a URDF: finite numbers of the right count, positive sizes, and shapes that can be simulated."""

import math
from xml.etree import ElementTree

from embodied.errors import RobotModelError

MOMENTS = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
_SHAPES = ("mesh", "box", "cylinder", "sphere")
_NUMBERS = {
    "origin": {"xyz": 3, "rpy": 3},
    "axis": {"xyz": 3},
    "box": {"size": 3},
    "cylinder": {"radius": 1, "length": 1},
    "sphere": {"radius": 1},
    "mesh": {"scale": 3},
    "mass": {"value": 1},
    "inertia": dict.fromkeys(MOMENTS, 1),
}


def check_numbers(robot: ElementTree.Element) -> None:
    """Raises `RobotModelError` for poses, axes, sizes and inertias that are not finite, and for unsupported shapes."""
    for element in robot.iter():
        if not all(name.isascii() for name in (element.tag, *element.attrib)):
            raise RobotModelError("Tags and attributes of a URDF must be ASCII.", value=element.tag)
    for geometry in robot.iter("geometry"):
        shapes = [shape.tag for shape in geometry]
        if len(shapes) != 1 or shapes[0] not in _SHAPES:
            raise RobotModelError(
                "A geometry of a URDF must be one mesh, box, cylinder or sphere.",
                value=shapes,
                remedy="Make it one of these.",
            )
    for element in robot.iter():
        for attribute, count in _NUMBERS.get(element.tag, {}).items():
            text = element.get(attribute)
            values = [number(element, word) for word in (text or "").split()]
            needed = element.tag in _SHAPES and element.tag != "mesh"
            if (text is not None or needed) and len(values) != count:
                raise RobotModelError(f"`{attribute}` of <{element.tag}> must be {count} numbers.", value=text)
            if values and element.tag in _SHAPES and min(values) <= 0.0:
                raise RobotModelError(f"`{attribute}` of <{element.tag}> must be positive.", value=text)
            if element.tag == "axis" and not any(values):
                raise RobotModelError("The axis of a joint must have a direction.", value=text)


def number(element: ElementTree.Element, text: str | None) -> float:
    """Returns `text` of `element` as a finite number. Raises `RobotModelError` for any other text."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RobotModelError(
            f"The numbers of <{element.tag}> {element.get('name', '')!r} must be finite numbers.",
            value=text,
            remedy="Correct the URDF.",
        )
    return value
