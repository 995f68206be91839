"""Whether a base reaches every room of a home and, from within the room, every surface."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np

from embodied.geometry import rotation_matrix
from embodied.scenes.free_space import FreeSpace
from embodied.scenes.house.records import Room, Surface
from embodied.scenes.occupancy import GridOptions, Point, occupancy_grid
from embodied.scenes.polygons import Corner
from embodied.scenes.scene import Body, Scene

CELL_M = 0.05
IN_THE_WAY_M = (0.03, 1.5)


class Reach:
    """Where a base of `radius_m` stands among `bodies`: on the largest connected part of the free floor of `rooms`."""

    def __init__(self, bodies: Sequence[Body], rooms: Sequence[Room], radius_m: float) -> None:
        corners = [corner for room in rooms for corner in room.outline_m]
        options = GridOptions(heights_m=IN_THE_WAY_M, cell_m=CELL_M, margin_m=0.2)
        scene = Scene("reach", tuple(bodies))
        grid = occupancy_grid(scene, {body.name: body.pose for body in bodies}, options, around_m=corners)
        self._space = FreeSpace(grid, radius_m)
        self._rooms = {room.name: room for room in rooms}

    @cached_property
    def _places(self) -> Mapping[str, np.ndarray]:
        """The places (N, 2) of the base in each room, without those cut off."""
        from scipy.ndimage import label

        grid = self._space.grid
        rows, columns = self._space.free.shape
        x, y = np.meshgrid(
            grid.origin_m[0] + (np.arange(columns) + 0.5) * grid.cell_m,
            grid.origin_m[1] + (np.arange(rows) + 0.5) * grid.cell_m,
        )
        inside = {name: _holds(room.outline_m, x, y) for name, room in self._rooms.items()}
        indoors = np.logical_or.reduce(list(inside.values()))
        islands, count = cast(tuple[np.ndarray, int], label(self._space.free & indoors))
        if not count:
            return {name: np.zeros((0, 2)) for name in self._rooms}
        largest = 1 + int(np.argmax(np.bincount(islands.ravel())[1:]))
        return {
            name: np.stack([x[here], y[here]], axis=1)
            for name, one in inside.items()
            for here in [one & (islands == largest)]
        }

    def places(self, room: str) -> np.ndarray:
        """Returns the centres (N, 2) of the cells of `room` on which the base can stand. Raises `KeyError`."""
        return self._places[room]

    def unreached_rooms(self) -> tuple[str, ...]:
        """Returns the names of the rooms that the base cannot enter."""
        return tuple(name for name, places in self._places.items() if not len(places))

    def viewpoint(self, room: str, surface: Surface, within_m: float) -> Point | None:
        """Returns the place in `room` nearest to the rectangle of `surface`, None if none is `within_m` of it."""
        places = self._places[room]
        if not len(places):
            return None
        distances = distance_to_surface(surface, places)
        nearest = int(np.argmin(distances))
        return (float(places[nearest][0]), float(places[nearest][1])) if distances[nearest] <= within_m else None


def distance_to_surface(surface: Surface, points_m: np.ndarray) -> np.ndarray:
    """Returns the horizontal distances (N,) in metres from `points_m` (N, 2) to the rectangle of `surface`."""
    shifted = points_m - np.array(surface.pose.position_m[:2])
    local = shifted @ rotation_matrix(surface.pose.orientation)[:2, :2]
    outside = np.maximum(np.abs(local) - np.array(surface.size_m) / 2, 0.0)
    return np.hypot(outside[:, 0], outside[:, 1])


def _holds(outline_m: Sequence[Corner], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns which points lie within the rectangle around an outline, which is a rectangle itself."""
    (left, bottom), (right, top) = np.min(outline_m, axis=0), np.max(outline_m, axis=0)
    return (x >= left) & (x < right) & (y >= bottom) & (y < top)
