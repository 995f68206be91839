"""The tree of places: simple polygons on the ground with a height range, and the place around a point."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from embodied.errors import MemoryBankError
from embodied.geometry import Vector3
from embodied.memory.schema.kinds import Polygon
from embodied.memory.schema.limits import MOST_CORNERS

SMALLEST_AREA_M2 = 1e-9
FLOOR_MARGIN_M = 0.03  # Odometry and cameras place things on the floor up to this far below it.
LEAST_CORNERS = 3
FEW_CORNERS = 12  # Up to here a loop over all pairs of edges is faster than arrays.


@dataclass(frozen=True)
class Place:
    """A node of the tree; `polygon` in the site frame, metres, empty where its extent is unknown.

    It also is where the extent was given in the frame of a map, `map_id`, that is not placed level in the site.
    """

    name: str
    level: str
    parent: str
    polygon: Polygon
    bottom_m: float
    top_m: float
    valid_time_s: float
    seq: int
    map_id: str = ""

    def holds(self, point_m: Vector3) -> bool:
        """Returns whether a point lies inside, border included; what stands on the floor may be measured below it."""
        x, y, z = point_m
        high = self.bottom_m - FLOOR_MARGIN_M <= z <= self.top_m
        return bool(self.polygon) and high and inside_polygon(self.polygon, x, y)


def check_polygon(polygon: Sequence[Sequence[float]]) -> None:
    """Raises `MemoryBankError` unless a polygon is finite, has an area and does not cross or touch itself.

    The first corner may be repeated at the end, as in GeoJSON. At most 500 corners are allowed, since every question
    about a place looks at all of them.
    """
    if len(polygon) > LEAST_CORNERS and tuple(polygon[0]) == tuple(polygon[-1]):
        polygon = polygon[:-1]
    count = len(polygon)
    if count > MOST_CORNERS:
        raise MemoryBankError(
            f"A region must not have more than {MOST_CORNERS} corners.",
            value=f"{count} corners",
            remedy="Leave out corners that change the border by less than a centimetre.",
        )
    if any(len(corner) != 2 or not all(map(math.isfinite, corner)) for corner in polygon):
        raise MemoryBankError("The corners of a region must be finite pairs (x, y).", value=tuple(polygon))
    if _is_flat(polygon):
        raise _empty(polygon)
    pairs = combinations(range(count), 2) if count <= FEW_CORNERS else _meeting_edges(polygon)
    for i, j in pairs:
        if _cross(polygon, i, j):
            raise MemoryBankError(
                "A region must not cross itself.",
                value=tuple(polygon),
                remedy=f"Its edges {i} and {j} meet: list the corners along the border.",
            )
    if abs(signed_area(polygon)) < SMALLEST_AREA_M2:
        raise _empty(polygon)


def signed_area(polygon: Sequence[Sequence[float]]) -> float:
    """Returns the area, square metres, positive where the corners run counter-clockwise (shoelace formula)."""
    following = [*polygon[1:], *polygon[:1]]
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(polygon, following, strict=True)) / 2


def inside_polygon(polygon: Sequence[Sequence[float]], x: float, y: float) -> bool:
    """Returns whether the point (`x`, `y`) lies in a simple `polygon`, border included (even-odd rule)."""
    inside = False
    x1, y1 = polygon[-1]
    for x2, y2 in polygon:
        side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if side == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return True
        if (y1 > y) != (y2 > y) and (side > 0) == (y2 > y1):
            inside = not inside
        x1, y1 = x2, y2
    return inside


def may_hold(places: Mapping[str, Place], name: str, point_m: Vector3) -> bool:
    """Returns whether `point_m` lies in the place `name`, or in the nearest place around it of known extent.

    It is True where no extent of the `places` around is known.
    """
    place = places.get(name)
    while place is not None and not place.polygon:
        place = places.get(place.parent)
    return place is None or place.holds(point_m)


def is_within(places: Mapping[str, Place], inner: str, outer: str) -> bool:
    """Returns whether the place `inner` is `outer` or below it in the tree of `places`."""
    place = places.get(inner)
    while place is not None and place.name != outer:
        place = places.get(place.parent)
    return place is not None


def _is_flat(polygon: Sequence[Sequence[float]]) -> bool:
    """Returns whether no edge spans an area with the first corner: those of a figure of eight do, but cancel out."""
    return all(abs(signed_area((polygon[0], *edge))) < SMALLEST_AREA_M2 for edge in pairwise(polygon))


def _empty(polygon: Sequence[Sequence[float]]) -> MemoryBankError:
    return MemoryBankError(
        "A region must not be empty.",
        value=tuple(polygon),
        remedy="Give at least three corners, in metres, that span an area.",
    )


def _meeting_edges(polygon: Sequence[Sequence[float]]) -> Iterator[tuple[int, int]]:
    """Yields all pairs of edges for which `_cross` may be true, in order; most of the others are left out.

    Left out are edges with all corners of one on the same side of the other, as `_turn` calculates it.
    """
    start = np.array(polygon, float)
    end = np.roll(start, -1, axis=0)
    along = end - start
    with np.errstate(over="ignore", invalid="ignore"):
        # [i, j]: the side of edge i on which edge j starts; it ends where edge j + 1 starts.
        side = np.sign(
            along[:, None, 0] * (start[None, :, 1] - start[:, None, 1])
            - along[:, None, 1] * (start[None, :, 0] - start[:, None, 0])
        )
    apart = side * np.roll(side, -1, axis=1) > 0
    for i, j in np.argwhere(np.triu(~(apart | apart.T), 1)):
        yield int(i), int(j)


def _cross(polygon: Sequence[Sequence[float]], i: int, j: int) -> bool:
    """Returns whether two edges share more than the common corner of neighbours."""
    count = len(polygon)
    a, b = polygon[i], polygon[(i + 1) % count]
    c, d = polygon[j], polygon[(j + 1) % count]
    if j == i + 1 or (i == 0 and j == count - 1):
        common, left, right = (b, a, d) if j == i + 1 else (a, b, c)
        return _turn(left, common, right) == 0 and (
            (left[0] - common[0]) * (right[0] - common[0]) + (left[1] - common[1]) * (right[1] - common[1]) >= 0
        )
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    corners = zip(turns, ((a, b, c), (a, b, d), (c, d, a), (c, d, b)), strict=True)
    return any(turn == 0 and _between(*three) for turn, three in corners)


def _turn(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> int:
    side = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (side > 0) - (side < 0)


def _between(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> bool:
    """Returns whether `c`, on the line through `a` and `b`, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])
