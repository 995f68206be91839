"""The fixed shell of a home: a floor per room, walls with openings, and frames around them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from embodied.geometry import Pose
from embodied.scenes.house.floor_plan import WALL_M, FloorPlan, Rectangle
from embodied.scenes.house.records import Door
from embodied.scenes.parts import block, shade
from embodied.scenes.scene import Body, Part, Rgba

WALL_HEIGHT_M = 2.4
LINTEL_M = 2.05
FLOOR_M = 0.1
_FRAME_M = 0.05
_WALLS: tuple[Rgba, ...] = (
    (0.93, 0.91, 0.86, 1.0),
    (0.88, 0.90, 0.92, 1.0),
    (0.92, 0.88, 0.84, 1.0),
    (0.87, 0.91, 0.86, 1.0),
)
_WOODEN: tuple[Rgba, ...] = ((0.66, 0.50, 0.34, 1.0), (0.58, 0.42, 0.28, 1.0), (0.74, 0.60, 0.44, 1.0))
_TILED: tuple[Rgba, ...] = ((0.70, 0.76, 0.78, 1.0), (0.62, 0.66, 0.68, 1.0), (0.76, 0.72, 0.66, 1.0))
_CARPET: tuple[Rgba, ...] = (
    (0.55, 0.60, 0.70, 1.0),
    (0.64, 0.56, 0.58, 1.0),
    (0.54, 0.62, 0.54, 1.0),
    (0.68, 0.64, 0.54, 1.0),
)
_RUG: tuple[Rgba, ...] = (
    (0.55, 0.30, 0.28, 1.0),
    (0.32, 0.40, 0.50, 1.0),
    (0.62, 0.54, 0.42, 1.0),
    (0.38, 0.45, 0.38, 1.0),
)
_RUGS = ("living room", "bedroom", "dining room")
_FLOORS = {
    "kitchen": _TILED,
    "bathroom": _TILED,
    "laundry room": _TILED,
    "bedroom": _CARPET,
    "study": _CARPET,
    "living room": _WOODEN,
    "dining room": _WOODEN,
    "hallway": _WOODEN,
}


class _Line(NamedTuple):
    """The line on which walls stand: along `axis`, at `across` of the other axis."""

    axis: str
    across: float


def floors(rng: np.random.Generator, plan: FloorPlan) -> tuple[Body, ...]:
    """Returns a floor per room, top at z = 0, in colours drawn with `rng`: wood, tiles or carpet."""
    bodies = []
    for number, (room, one) in enumerate(zip(plan.rooms, plan.rectangles, strict=True)):
        colours = _FLOORS[room.category]
        rgba = shade(colours[int(rng.integers(len(colours)))], rng.uniform(0.94, 1.06))
        parts = [block((one.width, one.depth, FLOOR_M), (0, 0, 0), rgba)]
        if room.category in _RUGS:
            parts += _rug(rng, one)
        centre = ((one.left + one.right) / 2, (one.bottom + one.top) / 2, -FLOOR_M / 2)
        bodies.append(Body(f"floor_{number}", tuple(parts), Pose(centre), category="floor"))
    return tuple(bodies)


def _rug(rng: np.random.Generator, one: Rectangle) -> list[Part]:
    """Returns a rug with a border in the middle of a room; it lies flat and stops nothing."""
    length, width = (
        share * side for share, side in zip(rng.uniform(0.4, 0.55, 2), (one.width, one.depth), strict=True)
    )
    rgba = _RUG[int(rng.integers(len(_RUG)))]
    sizes = (
        (length, width, 1.0, 0.004),
        (length - 0.2, width - 0.2, 1.2, 0.006),
        (length - 0.3, width - 0.3, 0.9, 0.008),
    )
    return [
        msgspec.structs.replace(block((x, y, z), (0, 0, FLOOR_M / 2), shade(rgba, factor)), collides=False)
        for x, y, factor, z in sizes
    ]


def walls(rng: np.random.Generator, plan: FloorPlan) -> tuple[Body, ...]:
    """Returns the walls of `plan`, one body per straight line, with the openings of its doors; colours from `rng`."""
    rgba = _WALLS[int(rng.integers(len(_WALLS)))]
    frame = shade(_WOODEN[int(rng.integers(len(_WOODEN)))], 0.8)
    bodies = []
    for line, stretches in sorted(_lines(plan).items()):
        doors = [door for door in plan.doors if door.axis == line.axis and _across(door) == line.across]
        for low, high in stretches:
            inside = sorted((door for door in doors if low < _along(door) < high), key=_along)
            parts = [*_solid(line, low, high, inside, rgba), *(part for door in inside for part in _frame(door, frame))]
            bodies.append(Body(f"wall_{len(bodies)}", tuple(parts), category="wall"))
    return tuple(bodies)


def _lines(plan: FloorPlan) -> dict[_Line, list[tuple[float, float]]]:
    """Returns where walls stand on every line: the edges of all rooms, joined where they touch."""
    edges: dict[_Line, list[tuple[float, float]]] = defaultdict(list)
    for one in plan.rectangles:
        for y in (one.bottom, one.top):
            edges[_Line("x", y)].append((one.left, one.right))
        for x in (one.left, one.right):
            edges[_Line("y", x)].append((one.bottom, one.top))
    joined = {}
    for line, stretches in edges.items():
        merged: list[tuple[float, float]] = []
        for low, high in sorted(stretches):
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        joined[line] = merged
    return joined


def _solid(line: _Line, low: float, high: float, doors: Sequence[Door], rgba: Rgba) -> list[Part]:
    """Returns the wall from `low` to `high` beside and above the frames of its doors."""
    parts, start = [], low - WALL_M / 2
    for door in doors:
        reach = door.width_m / 2 + _FRAME_M
        left, right = _along(door) - reach, _along(door) + reach
        parts.append(_piece(line, (start, left), (0.0, WALL_HEIGHT_M), WALL_M, rgba))
        parts.append(_piece(line, (left, right), (LINTEL_M + _FRAME_M, WALL_HEIGHT_M), WALL_M, rgba))
        start = right
    return [*parts, _piece(line, (start, high + WALL_M / 2), (0.0, WALL_HEIGHT_M), WALL_M, rgba)]


def _frame(door: Door, rgba: Rgba) -> list[Part]:
    """Returns the frame around the opening of a door."""
    line, half = _Line(door.axis, _across(door)), door.width_m / 2
    thick = WALL_M + 0.03
    low, high = _along(door) - half, _along(door) + half
    stretches = [(low - _FRAME_M, low), (high, high + _FRAME_M)]
    posts = [_piece(line, stretch, (0.0, LINTEL_M), thick, rgba) for stretch in stretches]
    across = (stretches[0][0], stretches[1][1])
    return [*posts, _piece(line, across, (LINTEL_M, LINTEL_M + _FRAME_M), thick, rgba)]


def _piece(line: _Line, along: Sequence[float], heights: tuple[float, float], thick_m: float, rgba: Rgba) -> Part:
    (low, high), (bottom, top) = along, heights
    middle, length = (low + high) / 2, high - low
    if line.axis == "x":
        return block((length, thick_m, top - bottom), (middle, line.across, (bottom + top) / 2), rgba)
    return block((thick_m, length, top - bottom), (line.across, middle, (bottom + top) / 2), rgba)


def _along(door: Door) -> float:
    return door.centre_m[0 if door.axis == "x" else 1]


def _across(door: Door) -> float:
    return door.centre_m[1 if door.axis == "x" else 0]
