"""Floor plans: a rectangle split into labelled rooms, and doors between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

import numpy as np

from embodied.errors import SceneError
from embodied.scenes.house.records import Door, Room

DOOR_M = 0.95
WALL_M = 0.12
_HALLWAY_M = 1.75
_JAMB_M = 0.30  # Of wall on either side of an opening.
_NARROWEST_M = 2.55
_EXTRA = ("bedroom", "study", "dining room", "laundry room", "bathroom", "bedroom")
_ORDINALS = ("", "second_", "third_", "fourth_")
_PRIVATE = ("bathroom", "bedroom", "laundry room")  # One walks through them only where there is no other way.
# The rooms that a living room or kitchen opens to, where they are neighbours.
_OPEN = ({"living room", "kitchen"}, {"living room", "dining room"}, {"kitchen", "dining room"})


@dataclass(frozen=True)
class Rectangle:
    """A part of the floor between two corners, metres in the world."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        """Its extent along x."""
        return self.right - self.left

    @property
    def depth(self) -> float:
        """Its extent along y."""
        return self.top - self.bottom

    @property
    def area(self) -> float:
        """Its area in square metres."""
        return self.width * self.depth

    def grown(self, margin_m: float) -> "Rectangle":
        """Returns the rectangle with `margin_m` more on every side, or less where that is negative."""
        return Rectangle(self.left - margin_m, self.bottom - margin_m, self.right + margin_m, self.top + margin_m)

    def transposed(self) -> "Rectangle":
        """Returns the rectangle with x and y exchanged."""
        return Rectangle(self.bottom, self.left, self.top, self.right)


@dataclass(frozen=True)
class FloorPlan:
    """The rooms with their rectangles, up to the middles of the walls, and the doors between them."""

    rooms: tuple[Room, ...]
    rectangles: tuple[Rectangle, ...]
    doors: tuple[Door, ...]


@dataclass(frozen=True)
class _Shared:
    """The wall that two rooms share: along `axis`, at `across` of the other one, between `low` and `high`."""

    axis: Literal["x", "y"]
    across: float
    low: float
    high: float


def draw_floor_plan(rng: np.random.Generator, count: int) -> FloorPlan:
    """Returns a plan of `count` rooms, drawn with `rng`; all are connected, and at least two have a single door.

    Homes of five rooms or more mostly have a hallway with rooms on both sides; the others are split again and again.
    Raises `SceneError` where a draw leaves a room without a door; another draw helps.
    """
    hallway = count >= 6 or (count == 5 and rng.random() < 0.5)
    rectangles = _along_hallway(rng, count - 1) if hallway else _split(rng, count)
    if rng.random() < 0.5:
        rectangles = [one.transposed() for one in rectangles]
    categories = _categories(rng, rectangles, hallway=hallway)
    rooms = _named(categories, rectangles)
    doors = _doors(rng, rooms, rectangles)
    return FloorPlan(rooms, tuple(rectangles), doors)


def _along_hallway(rng: np.random.Generator, count: int) -> list[Rectangle]:
    """Returns the hallway, then `count` rooms in a row on each side of it."""
    first = (count + 1) // 2
    length = max(2.75 * first + 1.0, first * rng.uniform(3.1, 3.8))
    rectangles = [Rectangle(0.0, 0.0, _rounded(length), _HALLWAY_M)]
    for number, sign in ((first, 1), (count - first, -1)):
        depth = _rounded(rng.uniform(3.3, 4.1))
        low, high = (_HALLWAY_M, _HALLWAY_M + depth) if sign > 0 else (-depth, 0.0)
        for left, right in _cuts(rng, length, number):
            rectangles.append(Rectangle(left, low, right, high))
    return rectangles


def _cuts(rng: np.random.Generator, length_m: float, number: int) -> list[tuple[float, float]]:
    """Returns `number` stretches that fill `length_m`, none narrower than a room may be."""
    spare = length_m - number * _NARROWEST_M
    shares = rng.dirichlet(np.full(number, 2.0))
    ends = [0.0, *(_rounded(value) for value in np.cumsum(_NARROWEST_M + spare * shares))]
    ends[-1] = _rounded(length_m)
    return list(pairwise(ends))


def _split(rng: np.random.Generator, count: int) -> list[Rectangle]:
    """Returns `count` rooms: the largest one is cut across its longer side until there are enough."""
    side = float(np.sqrt(count * rng.uniform(13.0, 16.0)))
    aspect = rng.uniform(0.85, 1.2)
    rectangles = [Rectangle(0.0, 0.0, _rounded(side * aspect), _rounded(side / aspect))]
    while len(rectangles) < count:
        rectangles.sort(key=lambda one: one.area)
        whole = rectangles.pop()
        share = rng.uniform(0.42, 0.58)
        if whole.width >= whole.depth:
            cut = _rounded(whole.left + share * whole.width)
            rectangles += [
                Rectangle(whole.left, whole.bottom, cut, whole.top),
                Rectangle(cut, whole.bottom, whole.right, whole.top),
            ]
        else:
            cut = _rounded(whole.bottom + share * whole.depth)
            rectangles += [
                Rectangle(whole.left, whole.bottom, whole.right, cut),
                Rectangle(whole.left, cut, whole.right, whole.top),
            ]
    if any(min(one.width, one.depth) < _NARROWEST_M for one in rectangles):
        raise SceneError("A room must be wide enough to be furnished.", remedy="Draw again.")
    return rectangles


def _categories(rng: np.random.Generator, rectangles: Sequence[Rectangle], *, hallway: bool) -> list[str]:
    """Returns a category per room: the smallest is the bathroom, the largest the living room, beside it the kitchen."""
    order = sorted(range(1 if hallway else 0, len(rectangles)), key=lambda index: (rectangles[index].area, index))
    chosen = {0: "hallway"} if hallway else {}
    chosen[order[0]], chosen[order[-1]] = "bathroom", "living room"
    free = order[1:-1]
    beside = [index for index in free if _shared(rectangles[index], rectangles[order[-1]]) is not None] or free
    kitchen = int(rng.choice(beside))
    chosen[kitchen] = "kitchen"
    free = [index for index in free if index != kitchen]
    extra = [str(name) for name in rng.permutation(_EXTRA)]
    for index, name in zip(free, ["bedroom", *extra], strict=False):
        chosen[index] = name
    return [chosen[index] for index in range(len(rectangles))]


def _named(categories: Sequence[str], rectangles: Sequence[Rectangle]) -> tuple[Room, ...]:
    rooms: list[Room] = []
    for category, one in zip(categories, rectangles, strict=True):
        ordinal = _ORDINALS[sum(room.category == category for room in rooms)]
        corners = ((one.left, one.bottom), (one.right, one.bottom), (one.right, one.top), (one.left, one.top))
        rooms.append(Room(ordinal + category.replace(" ", "_"), category, corners))
    return tuple(rooms)


def _doors(rng: np.random.Generator, rooms: Sequence[Room], rectangles: Sequence[Rectangle]) -> tuple[Door, ...]:
    """Returns doors that connect all rooms: from the hallway or living room outward, then few more."""
    walls = {
        pair: wall
        for pair in combinations(range(len(rooms)), 2)
        if (wall := _shared(rectangles[pair[0]], rectangles[pair[1]])) is not None
    }
    hub = next((index for index, room in enumerate(rooms) if room.category == "hallway"), None)
    start = hub if hub is not None else next(i for i, room in enumerate(rooms) if room.category == "living room")
    chosen = _tree(rooms, walls, start)
    for pair in sorted(set(walls) - set(chosen)):
        opens = {rooms[pair[0]].category, rooms[pair[1]].category} in _OPEN
        if rng.random() < (0.7 if opens else 0.0):
            chosen.append(pair)
    return tuple(_opening(rng, rooms, pair, walls[pair], number) for number, pair in enumerate(chosen))


def _tree(rooms: Sequence[Room], walls: dict[tuple[int, int], _Shared], start: int) -> list[tuple[int, int]]:
    """Returns pairs of rooms that connect all: each opens to the one reached first, if possible not a private one."""
    reached, chosen = [start], []
    while len(reached) < len(rooms):
        found = [
            (one, other)
            for one in sorted(reached, key=lambda index: rooms[index].category in _PRIVATE)
            for other in range(len(rooms))
            if other not in reached and (min(one, other), max(one, other)) in walls
        ]
        if not found:
            raise SceneError("Every room must share a wall with another one.", remedy="Draw again.")
        reached.append(found[0][1])
        chosen.append((min(found[0]), max(found[0])))
    return chosen


def _opening(
    rng: np.random.Generator, rooms: Sequence[Room], pair: tuple[int, int], wall: _Shared, number: int
) -> Door:
    reach = DOOR_M / 2 + _JAMB_M
    along = _rounded(rng.uniform(wall.low + reach, wall.high - reach))
    centre = (along, wall.across) if wall.axis == "x" else (wall.across, along)
    return Door(f"door_{number}", (rooms[pair[0]].name, rooms[pair[1]].name), centre, DOOR_M, wall.axis)


def _shared(one: Rectangle, other: Rectangle) -> _Shared | None:
    """Returns the wall between two rooms, None where it is missing or too short for a door."""
    return _across("x", one, other) or _across("y", one.transposed(), other.transposed())


def _across(axis: Literal["x", "y"], first: Rectangle, second: Rectangle) -> _Shared | None:
    low, high = max(first.left, second.left), min(first.right, second.right)
    if high - low < DOOR_M + 2 * _JAMB_M:
        return None
    if first.top == second.bottom:
        return _Shared(axis, first.top, low, high)
    return _Shared(axis, first.bottom, low, high) if first.bottom == second.top else None


def _rounded(value: float) -> float:
    return round(float(value), 2)
