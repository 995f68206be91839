"""Distances from one point to all free cells of a floor plan."""

from dataclasses import dataclass

import numpy as np

from embodied.scenes.bends import TANGENT_SLACK_RAD, Bends
from embodied.scenes.clearance import ClearanceField
from embodied.scenes.free_cells import FreeCells
from embodied.scenes.occupancy import PointLike

START_RAY_RAD = 2 * np.pi / 1080
FAN_RAYS = 25
_AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


@dataclass(frozen=True, eq=False)
class DistanceField:
    """`values_m` float64 (rows, columns): the length of the shortest path from one point to the centre of every cell.

    It is infinite where there is no path.
    """

    values_m: np.ndarray
    cells: FreeCells

    def at(self, point_m: PointLike) -> float:
        """Returns the distance in metres of the point (x, y), infinite where it is not free or no path leads to it.

        It is interpolated between four cells where all of them can be reached, else exact to within half a cell.
        """
        return float(self.at_all(np.array([[float(point_m[0]), float(point_m[1])]]))[0])

    def at_all(self, points_m: np.ndarray) -> np.ndarray:
        """Returns the distance (N,) of each of `points_m` (N, 2), as `at`."""
        found = np.full(len(points_m), np.inf)
        free = np.flatnonzero(self.cells.islands_at(points_m))
        points, clearance = points_m[free], self.cells.clearance
        right, up = ((points - clearance.first_m) / clearance.cell_m).T
        row, column = up.astype(int), right.astype(int)
        right, up = right - column, up - row
        around = [(down, over) for down in (0, 1) for over in (0, 1)]
        values = np.stack([self.values_m[row + down, column + over] for down, over in around], axis=1)
        shares = np.stack([abs(1 - down - up) * abs(1 - over - right) for down, over in around], axis=1)
        gaps = clearance.cell_m * np.stack([np.hypot(down - up, over - right) for down, over in around], axis=1)
        finite = np.isfinite(values).all(axis=1)
        found[free[finite]] = (values[finite] * shares[finite]).sum(axis=1)
        found[free[~finite]] = (values + gaps)[~finite].min(axis=1)
        return found

    def nearby(self, points_m: np.ndarray) -> np.ndarray:
        """Returns the distance (N,) in metres of the centre of the cell nearest to each of `points_m` (N, 2)."""
        clearance = self.cells.clearance
        columns, rows = np.rint((points_m - clearance.first_m) / clearance.cell_m).astype(int).T
        return self.values_m[np.clip(rows, 0, len(self.values_m) - 1), np.clip(columns, 0, self.values_m.shape[1] - 1)]


class SightFans:
    """The cells that a path reaches straight from each bend point without a further bend; found once per plan.

    They lie in two narrow fans around the tangent at the point. A field of distances is then the least sum, over these
    pairs of a bend point and a cell, of the way to the point and the line from it. What a line of sight reaches is
    taken from the nearest of many rays: where that is wrong, a bend changes the length by a few millimetres.
    """

    def __init__(self, clearance: ClearanceField, cells: FreeCells, bends: Bends, least_m: float) -> None:
        self._clearance = clearance
        self._cells = cells
        self._least_m = least_m
        self._centres = clearance.centres(np.argwhere(cells.free))
        fans = self._seen_from(bends)
        pairs = np.concatenate(fans) if fans else np.zeros(0, dtype=int)
        point = np.repeat(np.arange(len(bends)), [len(fan) for fan in fans])
        by_cell = np.argsort(pairs, kind="stable")
        self._point = point[by_cell]
        self._line_m = np.linalg.norm(bends.points_m[self._point] - self._centres[pairs[by_cell]], axis=1)
        self._cell, self._first = np.unique(pairs[by_cell], return_index=True)

    def field(self, start: np.ndarray, island: int, distances: np.ndarray | None) -> DistanceField:
        """Returns the field of the point `start` (2,) of `island`, whose bend points lie at `distances` (V,) metres.

        `distances` are None for a start that is not free.
        """
        values = np.full(self._cells.free.shape, np.inf)
        if distances is None:
            return DistanceField(values, self._cells)
        found = np.full(len(self._centres), np.inf)
        if len(self._cell):
            found[self._cell] = np.minimum.reduceat(distances[self._point] + self._line_m, self._first)
        offsets = self._centres - start
        straight = np.hypot(offsets[:, 0], offsets[:, 1])
        around = np.arange(0.0, 2 * np.pi, START_RAY_RAD)
        ranges = self._clearance.ranges_m(np.broadcast_to(start, (len(around), 2)), around, self._least_m)
        ray = np.rint(np.arctan2(offsets[:, 1], offsets[:, 0]) / START_RAY_RAD).astype(int) % len(around)
        seen = (straight <= ranges[ray] + self._clearance.cell_m / 2) & (straight < found)
        found[seen] = straight[seen]
        values[self._cells.free] = found
        self._fill(values, self._cells.islands == island)
        return DistanceField(values, self._cells)

    def _seen_from(self, bends: Bends) -> list[np.ndarray]:
        """Returns the indices of the free cells in the two fans of each bend point."""
        tangents = np.arctan2(bends.normals[:, 0], -bends.normals[:, 1])
        share = np.linspace(-1.0, 1.0, FAN_RAYS)
        reach = np.minimum(bends.half_angles_rad + TANGENT_SLACK_RAD, np.pi / 2)
        angles = np.stack([tangents, tangents + np.pi], axis=1)[..., None] + reach[:, None, None] * share
        starts = np.broadcast_to(bends.points_m[:, None, None], (*angles.shape, 2)).reshape(-1, 2)
        ranges = self._clearance.ranges_m(starts, angles.ravel(), self._least_m).reshape(angles.shape)
        return [self._fan(bends, bend, tangents[bend], reach[bend], ranges[bend]) for bend in range(len(bends))]

    def _fan(self, bends: Bends, bend: int, tangent_rad: float, reach_rad: float, ranges_m: np.ndarray) -> np.ndarray:
        """Returns the cells within `ranges_m` (2, rays) ahead of and behind a bend point, `reach_rad` to each side."""
        offsets = self._centres - bends.points_m[bend]
        along = offsets @ [np.cos(tangent_rad), np.sin(tangent_rad)]
        across = offsets @ [-np.sin(tangent_rad), np.cos(tangent_rad)]
        farthest = ranges_m.max(axis=1)
        near = (along <= farthest[0]) & (along >= -farthest[1])
        inside = np.flatnonzero(near & (np.abs(across) <= np.tan(min(reach_rad, 1.5)) * np.abs(along) + 1e-9))
        along, across = along[inside], across[inside]
        behind = (along < 0.0).astype(int)
        angle = np.arctan2(np.where(along < 0.0, -across, across), np.abs(along))
        ray = np.clip(np.rint((angle / reach_rad + 1.0) / 2.0 * (FAN_RAYS - 1)), 0, FAN_RAYS - 1).astype(int)
        return inside[np.hypot(along, across) <= ranges_m[behind, ray] + self._clearance.cell_m / 2]

    def _fill(self, values: np.ndarray, island: np.ndarray) -> None:
        """Gives the few cells of the island that no line reaches the distance of a neighbour and the step from it."""
        values[~island] = np.inf
        missing = np.argwhere(island & np.isinf(values))
        while len(missing):
            steps = [
                values[missing[:, 0] + down, missing[:, 1] + right] + self._clearance.cell_m * np.hypot(down, right)
                for down, right in _AROUND
            ]
            least = np.min(steps, axis=0)
            values[missing[:, 0], missing[:, 1]] = least
            rest = missing[np.isinf(least)]
            if len(rest) == len(missing):
                return
            missing = rest
