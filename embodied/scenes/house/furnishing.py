"""Puts furniture into rooms: along walls, in the middle, and chairs at tables, with the space that its use needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from embodied.geometry import Pose, quaternion_from_yaw
from embodied.scenes.house.floor_plan import WALL_M, FloorPlan, Rectangle
from embodied.scenes.house.furniture import furniture
from embodied.scenes.house.pieces import Piece, Style

_AISLE_M = 0.64  # In front of furniture: a base of 0.25 m passes.
_DOORWAY_M = 0.8
_STEP_M = 0.05
_GAP_M = 0.02
_TOLERANCE_M = 2e-4  # Places are rounded to a tenth of a millimetre.
# What stands in a room: kind, and how likely it is wanted; what is certain is placed first, in all rooms.
_PROGRAMMES: Mapping[str, tuple[tuple[str, float], ...]] = {
    "kitchen": (
        *(("counter", 1.0), ("fridge", 1.0), ("dining group", 0.8), ("counter", 0.8), ("cabinet", 0.6)),
        *(("serving cart", 0.6), ("stool", 0.6)),
    ),
    "living room": (
        *(("couch", 1.0), ("stand", 1.0), ("low table", 0.9), ("shelves", 0.8), ("cabinet", 0.5), ("chair", 0.5)),
        *(("trunk", 0.3), ("bench", 0.3), ("serving cart", 0.2)),
    ),
    "bedroom": (
        *(("bed", 1.0), ("night stand", 0.9), ("wardrobe", 0.7), ("chest of drawers", 0.9), ("trunk", 0.5)),
        *(("chair", 0.4), ("shelves", 0.3), ("stool", 0.2)),
    ),
    "bathroom": (
        *(("toilet", 1.0), ("washbasin", 1.0), ("bathtub", 0.7), ("cabinet", 0.5), ("washer dryer", 0.5)),
        *(("stool", 0.5),),
    ),
    "study": (
        *(("desk", 1.0), ("filing cabinet", 0.9), ("shelves", 0.9), ("filing cabinet", 0.3), ("stool", 0.3)),
        *(("cabinet", 0.3), ("bench", 0.2)),
    ),
    "dining room": (
        *(("dining group", 1.0), ("cabinet", 0.7), ("serving cart", 0.7), ("chest of drawers", 0.4), ("bench", 0.4)),
    ),
    "laundry room": (
        *(("washer dryer", 1.0), ("washer dryer", 0.6), ("counter", 0.7), ("shelves", 0.6), ("stool", 0.4)),
        *(("bench", 0.3),),
    ),
    "hallway": (("bench", 0.7), ("cabinet", 0.7), ("trunk", 0.4)),
}
_PIECE_OF = {"dining group": "table", "desk": "table"}


@dataclass(frozen=True)
class Placed:
    """A piece of furniture in room number `room`: its middle (x, y), and its quarter turns about z from facing +y."""

    piece: Piece
    room: int
    x_m: float
    y_m: float
    turns: int

    @property
    def pose(self) -> Pose:
        """The pose of its frame, on the floor."""
        return Pose((self.x_m, self.y_m, 0.0), quaternion_from_yaw(self.turns * np.pi / 2))

    @property
    def footprint(self) -> Rectangle:
        """The part of the floor that it covers."""
        length, width = self.piece.footprint_m[:: -1 if self.turns % 2 else 1]
        return Rectangle(self.x_m - length / 2, self.y_m - width / 2, self.x_m + length / 2, self.y_m + width / 2)

    @property
    def aisle(self) -> Rectangle:
        """The part of the floor in front of it, from which it is used."""
        one = self.footprint
        x, y = _FRONT[self.turns % 4]
        return Rectangle(
            one.left + min(0.0, x * _AISLE_M) if x <= 0 else one.right,
            one.bottom + min(0.0, y * _AISLE_M) if y <= 0 else one.top,
            one.right + max(0.0, x * _AISLE_M) if x >= 0 else one.left,
            one.top + max(0.0, y * _AISLE_M) if y >= 0 else one.bottom,
        )


_FRONT = ((0, 1), (-1, 0), (0, -1), (1, 0))  # The direction of the front after that many quarter turns.


@dataclass(eq=False)
class _Space:
    """The state of one room while it is furnished: `blocked` are footprints, `kept` must stay free of footprints."""

    number: int
    inside: Rectangle
    kept: list[Rectangle]
    placed: list[Placed] = field(default_factory=list)

    def accepts(self, rectangles: np.ndarray, aisles: np.ndarray) -> np.ndarray:
        """Returns which of N footprints (N, 4) with `aisles` (N, 4) fit: left, bottom, right, top."""
        inside = self.inside.grown(_TOLERANCE_M)
        fits = _holds(inside, rectangles) & _holds(inside, aisles)
        for one in self.placed:
            fits &= ~_overlap(rectangles, one.footprint.grown(_GAP_M)) & ~_overlap(aisles, one.footprint)
            fits &= ~_overlap(rectangles, one.aisle)
        for keep in self.kept:
            fits &= ~_overlap(rectangles, keep)
        return fits


def furnish(rng: np.random.Generator, plan: FloorPlan, wanted: int) -> tuple[Placed, ...]:
    """Returns the furniture of all rooms of `plan`, with `wanted` receptacles or fewer where no more fit.

    Sizes, colours and places are drawn with `rng`. What makes a room what it is comes first, then the rest at random.
    """
    style = Style(rng)
    rooms = [
        _Space(number, one.grown(-WALL_M / 2 - 0.01), list(_doorways(plan, number)))
        for number, one in enumerate(plan.rectangles)
    ]
    certain, possible = [], []
    for room, described in zip(rooms, plan.rooms, strict=True):
        for kind, likely in _PROGRAMMES[described.category]:
            if likely == 1.0:
                certain.append((room, kind))
            elif rng.random() < likely:
                possible.append((room, kind))
    order = rng.permutation(len(possible)).tolist() if possible else []
    for room, kind in [*certain, *(possible[index] for index in order)]:
        left = wanted - sum(bool(one.piece.boards) for each in rooms for one in each.placed)
        if left > 0 or kind in ("fridge", "wardrobe", "bathtub", "washbasin"):
            _place(rng, style, room, kind, left)
    return tuple(one for room in rooms for one in room.placed)


def _doorways(plan: FloorPlan, number: int) -> Iterator[Rectangle]:
    """Yields the places on both sides of each door that furniture must leave free."""
    for door in plan.doors:
        if plan.rooms[number].name in door.rooms:
            (x, y), half = door.centre_m, door.width_m / 2 + 0.08
            reach = (half, _DOORWAY_M) if door.axis == "x" else (_DOORWAY_M, half)
            yield Rectangle(x - reach[0], y - reach[1], x + reach[0], y + reach[1])


def _place(rng: np.random.Generator, style: Style, room: _Space, kind: str, left: int) -> None:
    """Puts a piece of `kind`, or a group around it, into the room if it fits; at most `left` receptacles."""
    piece = furniture(_PIECE_OF.get(kind, kind), style)
    if kind == "dining group":
        chairs = [furniture("chair", style)] * min(4, left - 1)
        if _dining_group(rng, room, piece, chairs):
            return
    if kind == "low table" and _before_couch(room, piece):
        return
    found = list(_along_walls(room, piece))
    if not found:
        return
    chosen = _nearest_to_head(room, found) if kind == "night stand" else found[int(rng.integers(len(found)))]
    room.placed.append(chosen)
    if kind == "desk" and left > 1:
        _chair_at_desk(room, chosen, furniture("chair", style))


def _along_walls(room: _Space, piece: Piece) -> Iterator[Placed]:
    """Yields the places along the walls that fit, corners several times as often as others."""
    inside, (length, depth) = room.inside, piece.footprint_m
    for turns in range(4):
        x, y = _FRONT[turns]
        low, high = (inside.left, inside.right) if y else (inside.bottom, inside.top)
        along = np.arange(low + length / 2, high - length / 2 + 1e-9, _STEP_M)
        if not len(along):
            continue
        along = np.unique(np.append(along, high - length / 2)).round(4)
        if y:
            across = inside.bottom + depth / 2 if y > 0 else inside.top - depth / 2
            found = [Placed(piece, room.number, float(one), round(across, 4), turns) for one in along]
        else:
            across = inside.left + depth / 2 if x > 0 else inside.right - depth / 2
            found = [Placed(piece, room.number, round(across, 4), float(one), turns) for one in along]
        fits = room.accepts(_array(one.footprint for one in found), _array(one.aisle for one in found))
        fitting = [one for one, fit in zip(found, fits, strict=True) if fit]
        yield from fitting
        if fitting:
            yield from [fitting[0], fitting[-1]] * (len(fitting) // 3)


def _dining_group(rng: np.random.Generator, room: _Space, table: Piece, chairs: Sequence[Piece]) -> bool:
    """Puts a table into the middle of the room with chairs on its long sides; returns whether it fitted."""
    for seats in range(len(chairs), -1, -1):
        for _ in range(12):
            turns = int(rng.integers(2))
            middle = ((room.inside.left + room.inside.right) / 2, (room.inside.bottom + room.inside.top) / 2)
            x, y = (round(float(value + rng.uniform(-0.4, 0.4)), 3) for value in middle)
            group = [
                Placed(table, room.number, x, y, turns),
                *_seats(room.number, table, chairs[:seats], (x, y), turns),
            ]
            around = _array(one.footprint.grown(_AISLE_M) for one in group)
            near = _array(one.footprint.grown(0.3) for one in group)
            wide = Rectangle(*around[:, :2].min(axis=0), *around[:, 2:].max(axis=0))
            clear = not any(_overlap(around, one.footprint).any() for one in room.placed)
            clear &= not any(_overlap(near, keep).any() for keep in room.kept)
            if clear and _within(wide, room.inside.grown(0.05)):
                room.placed += group
                return True
    return False


def _seats(
    number: int, table: Piece, chairs: Sequence[Piece], at_m: tuple[float, float], turns: int
) -> Iterator[Placed]:
    """Yields chairs beside a table, facing it, in turns on both sides; close to it, but not under it."""
    length, depth = table.footprint_m
    for index, chair in enumerate(chairs):
        side = 1 if index % 2 == 0 else -1
        shift = 0.0 if len(chairs) <= 2 else (length / 4 if index < 2 else -length / 4)
        x, y = shift, side * (depth / 2 + chair.footprint_m[1] / 2 + 0.03)
        if turns:
            x, y = -y, x
        yield Placed(chair, number, round(at_m[0] + x, 4), round(at_m[1] + y, 4), (turns + (2 if side > 0 else 0)) % 4)


def _before_couch(room: _Space, table: Piece) -> bool:
    """Puts a low table in front of a couch; returns whether it fitted."""
    for couch in room.placed:
        if couch.piece.category == "couch":
            x, y = _FRONT[couch.turns]
            away = couch.piece.footprint_m[1] / 2 + _AISLE_M + 0.01 + table.footprint_m[1] / 2
            chosen = Placed(
                table, room.number, round(couch.x_m + x * away, 4), round(couch.y_m + y * away, 4), couch.turns
            )
            if room.accepts(_array([chosen.footprint]), _array([chosen.aisle])).all():
                room.placed.append(chosen)
                return True
    return False


def _nearest_to_head(room: _Space, found: Sequence[Placed]) -> Placed:
    """Returns the place nearest to the head of the bed, the first of all where the room has no bed."""
    beds = [one for one in room.placed if one.piece.category == "bed"]
    if not beds:
        return found[0]
    x, y = _FRONT[beds[-1].turns]
    half = beds[-1].piece.footprint_m[1] / 2 - 0.2
    head = (beds[-1].x_m - x * half, beds[-1].y_m - y * half)
    return min(found, key=lambda one: (one.x_m - head[0]) ** 2 + (one.y_m - head[1]) ** 2)


def _chair_at_desk(room: _Space, desk: Placed, chair: Piece) -> None:
    """Puts a chair in front of a desk, facing it, if it fits."""
    x, y = _FRONT[desk.turns]
    away = desk.piece.footprint_m[1] / 2 + chair.footprint_m[1] / 2 + 0.05
    chosen = Placed(
        chair, room.number, round(desk.x_m + x * away, 4), round(desk.y_m + y * away, 4), (desk.turns + 2) % 4
    )
    others = [one for one in room.placed if one is not desk]
    clear = not any(_overlap(_array([chosen.footprint]), one.footprint.grown(0.3)).any() for one in others)
    if clear and _within(chosen.footprint.grown(0.3), room.inside):
        room.placed.append(chosen)


def _array(rectangles: Sequence[Rectangle] | Iterator[Rectangle]) -> np.ndarray:
    return np.array([(one.left, one.bottom, one.right, one.top) for one in rectangles]).reshape(-1, 4)


def _overlap(rectangles: np.ndarray, other: Rectangle) -> np.ndarray:
    """Returns which of (N, 4) rectangles share area with `other`."""
    return (
        (rectangles[:, 0] < other.right - 1e-6)
        & (rectangles[:, 2] > other.left + 1e-6)
        & (rectangles[:, 1] < other.top - 1e-6)
        & (rectangles[:, 3] > other.bottom + 1e-6)
    )


def _holds(one: Rectangle, others: np.ndarray) -> np.ndarray:
    """Returns which of (N, 4) rectangles lie within `one`."""
    low = np.all(others[:, :2] >= (one.left, one.bottom), axis=1)
    return low & np.all(others[:, 2:] <= (one.right, one.top), axis=1)


def _within(one: Rectangle, other: Rectangle) -> bool:
    return bool(_holds(other.grown(_TOLERANCE_M), _array([one])).all())
