"""Simple polygons on the ground: the outlines of rooms and floors."""

from collections.abc import Sequence

import numpy as np

Corner = tuple[float, float]


def is_simple(corners_m: Sequence[Corner]) -> bool:
    """Returns whether three or more corners (x, y) enclose an area without their edges touching each other."""
    count = len(corners_m)
    if count < 3 or len(set(corners_m)) < count or abs(area_m2(corners_m)) < 1e-9:
        return False
    edges = [(corners_m[index], corners_m[(index + 1) % count]) for index in range(count)]
    for first in range(count):
        for second in range(first + 1, count):
            neighbours = second - first == 1 or (first == 0 and second == count - 1)
            if neighbours:
                if _folds_back(
                    *((edges[first], edges[second]) if second - first == 1 else (edges[second], edges[first]))
                ):
                    return False
            elif _meet(*edges[first], *edges[second]):
                return False
    return True


def area_m2(corners_m: Sequence[Corner]) -> float:
    """Returns the enclosed area, positive where the corners run counter-clockwise (the shoelace formula)."""
    x, y = np.asarray(corners_m, dtype=np.float64).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def holds(corners_m: Sequence[Corner], x_m: float, y_m: float) -> bool:
    """Returns whether the point (`x_m`, `y_m`) lies inside the polygon `corners_m` (even-odd rule).

    Left and lower edges count as inside.
    """
    inside = False
    for (ax, ay), (bx, by) in zip(corners_m, (*corners_m[1:], corners_m[0]), strict=True):
        if (ay > y_m) != (by > y_m) and x_m < ax + (bx - ax) * (y_m - ay) / (by - ay):
            inside = not inside
    return inside


def _turn(a: Corner, b: Corner, c: Corner) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _between(a: Corner, b: Corner, point: Corner) -> bool:
    return min(a[0], b[0]) <= point[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= point[1] <= max(a[1], b[1])


def _meet(a: Corner, b: Corner, c: Corner, d: Corner) -> bool:
    """Returns whether the segments a-b and c-d share a point."""
    turns = (_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b))
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    touching = ((turns[0], a, b, c), (turns[1], a, b, d), (turns[2], c, d, a), (turns[3], c, d, b))
    return any(turn == 0.0 and _between(start, end, point) for turn, start, end, point in touching)


def _folds_back(edge: tuple[Corner, Corner], following: tuple[Corner, Corner]) -> bool:
    """Returns whether an edge runs back along the one before it."""
    (a, b), (_, c) = edge, following
    return _turn(a, b, c) == 0.0 and (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0
