"""What predicates and agents need of a home: rooms, the free floor, and the viewpoints of its receptacles."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from embodied.geometry import Pose, rotation_matrix
from embodied.scenes import polygons
from embodied.scenes.clearance import ClearanceField
from embodied.scenes.floor_plan import CELL_M, driving_options, floor_plan
from embodied.scenes.geodesics import Geodesics
from embodied.scenes.house import House, Receptacle
from embodied.scenes.occupancy import GridOptions, Point, PointLike, obstacle_outlines

BASE_RADIUS_M = 0.25
VIEWPOINT_STEP_M, VIEWPOINT_REACH_M = 0.15, 1.0
EYE_M = 1.31
_INWARD_M = 0.1  # A sight line ends this far inside a receptacle, so that a wall behind it is not in the way.
_CANDIDATES = 4


class HomeMap:
    """The floor of `house` for a base of `radius_m`: walls and furniture are obstacles, loose objects are not.

    Rooms whose names are in `closed` are obstacles too. Mesh files are read from `assets`.
    """

    def __init__(
        self,
        house: House,
        *,
        radius_m: float = BASE_RADIUS_M,
        closed: Sequence[str] = (),
        assets: Path | None = None,
    ) -> None:
        self.house = house
        self._assets = assets
        self._loose = [one.name for one in house.objects]
        self._poses: Mapping[str, Pose] = {body.name: body.pose for body in house.scene.bodies}
        self.floor: Geodesics = floor_plan(
            house.scene,
            self._poses,
            driving_options(assets=assets, without=self._loose),
            radius_m=radius_m,
            closed_m=[room.outline_m for room in house.rooms if room.name in closed],
        )

    def room_at(self, point_m: PointLike) -> int:
        """Returns the number of the room in which (x, y) lies, -1 for none."""
        x, y = float(point_m[0]), float(point_m[1])
        for number, room in enumerate(self.house.rooms):
            if polygons.holds(room.outline_m, x, y):
                return number
        return -1

    @cached_property
    def main(self) -> int:
        """The number of the connected part of the floor on which most free cells in rooms lie, 0 without any."""
        islands = self._indoors[0]
        return int(np.argmax(np.bincount(islands))) if len(islands) else 0

    @cached_property
    def viewpoints(self) -> Mapping[str, np.ndarray]:
        """The viewpoints (N, 2) of every receptacle by name: free points of a grid of 15 cm from which it is seen.

        They lie within 1 m of the box around it, on the main part of the floor, with no wall between.
        """
        return {one.name: self._viewpoints(one) for one in self.house.receptacles}

    def standing_point(self, pose: Pose) -> Point | None:
        """Returns the free point nearest to an object at `pose`, in the room in which the object is; None without."""
        room = self.room_at(pose.position_m)
        centres, rooms = self._free_centres
        inside = centres[rooms == room] if room >= 0 else centres
        if not len(inside):
            return self.floor.snap(pose.position_m, island=self.main)
        gaps = np.linalg.norm(inside - pose.position_m[:2], axis=1)
        x, y = inside[int(np.argmin(gaps))]
        return (float(x), float(y))

    def object_distance_m(self, start_m: PointLike, pose: Pose) -> float:
        """Returns the length of the way from (x, y) to the free point nearest to an object at `pose`, or infinity."""
        point = self.standing_point(pose)
        return np.inf if point is None else self.floor.distances_m(start_m, [point])[0]

    def receptacle_distances_m(self, start_m: PointLike) -> dict[str, float]:
        """Returns the length of the way from (x, y) to the nearest viewpoint of every receptacle, or infinity."""
        field = self.floor.field(start_m)
        goals: list[np.ndarray] = []
        owners: list[str] = []
        for name, points in self.viewpoints.items():
            goals += [points[index] for index in np.argsort(field.at_all(points), kind="stable")[:_CANDIDATES]]
            owners += [name] * (len(goals) - len(owners))
        found = dict.fromkeys(self.viewpoints, np.inf)
        for name, length_m in zip(owners, self.floor.distances_m(start_m, goals), strict=True):
            found[name] = min(found[name], length_m)
        return found

    @cached_property
    def _free_centres(self) -> tuple[np.ndarray, np.ndarray]:
        """The centres (N, 2) of the cells of the main part, and the number of the room of each."""
        islands, centres, rooms = self._indoors
        chosen = islands == self.main
        return centres[chosen], rooms[chosen]

    @cached_property
    def _indoors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The free cells within rooms: the number of the island (N,), the centre (N, 2) and the room (N,) of each."""
        cells = self.floor.cells
        centres = cells.clearance.centres(np.argwhere(cells.free))
        rooms = np.full(len(centres), -1)
        for number, room in enumerate(self.house.rooms):
            rooms[_inside(room.outline_m, centres)] = number
        inside = rooms >= 0
        return cells.islands[cells.free][inside], centres[inside], rooms[inside]

    @cached_property
    def _walls(self) -> ClearanceField:
        """The distance to what hides a receptacle: bodies as high as the camera that are no receptacles."""
        carriers = [one.name for one in self.house.receptacles]
        options = GridOptions(
            heights_m=(EYE_M - 0.01, EYE_M + 0.01), without=[*self._loose, *carriers], asset_root=self._assets
        )
        outlines = [outline for _, outline in obstacle_outlines(self.house.scene, self._poses, options)]
        clearance = self.floor.clearance
        low = np.array(clearance.first_m) - CELL_M / 2
        high = low + np.array(clearance.values.shape[::-1]) * CELL_M
        return ClearanceField(outlines, low, high, cell_m=CELL_M, reach_m=0.3)

    def _viewpoints(self, receptacle: Receptacle) -> np.ndarray:
        pose = self._poses[receptacle.name]
        low, high = self._box(receptacle.name)
        turned = rotation_matrix(pose.orientation)[:2, :2]
        steps = [np.arange(a - VIEWPOINT_REACH_M, b + VIEWPOINT_REACH_M + 1e-9, VIEWPOINT_STEP_M) for a, b in
                 zip(low, high, strict=True)]  # fmt: skip
        local = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
        local = local[np.linalg.norm(local - np.clip(local, low, high), axis=1) <= VIEWPOINT_REACH_M]
        middle = (low + high) / 2
        nearest = np.clip(local, np.minimum(low + _INWARD_M, middle), np.maximum(high - _INWARD_M, middle))
        points, ends = (one @ turned.T + pose.position_m[:2] for one in (local, nearest))
        free = self.floor.islands_at(points) == self.main
        points, ends = points[free], ends[free]
        return points[self._walls.open_lines(points, ends, 0.0)]

    def _box(self, body: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the least and largest x, y of a body in its own frame."""
        options = GridOptions(heights_m=(-np.inf, np.inf), asset_root=self._assets,
                              without=[name for name in self._poses if name != body])  # fmt: skip
        outlines = obstacle_outlines(self.house.scene, {**self._poses, body: Pose()}, options)
        corners = np.concatenate([outline for _, outline in outlines])
        return corners.min(axis=0), corners.max(axis=0)


def _inside(outline_m: Sequence[Point], points: np.ndarray) -> np.ndarray:
    """Returns bool (N,): which of `points` (N, 2) lie in the polygon (even-odd rule, as `polygons.holds`)."""
    inside = np.zeros(len(points), dtype=bool)
    x, y = points.T
    for (ax, ay), (bx, by) in zip(outline_m, (*outline_m[1:], outline_m[0]), strict=True):
        crossing = (ay > y) != (by > y)
        if ay != by:
            inside ^= crossing & (x < ax + (bx - ax) * (y - ay) / (by - ay))
    return inside
