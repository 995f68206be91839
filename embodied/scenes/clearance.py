"""Exact distances from obstacles on the floor plan, and straight lines that keep their distance."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from embodied.scenes.occupancy import Point, PointLike, half_planes

SIGHT_STEP_CELLS = 0.4  # Between two samples of a line of sight.
FAR_M = 1e9
RANGE_SAMPLES = 32  # Of every line that is still open at a time.


class ClearanceField:
    """The distance in metres to the nearest of `outlines`, sampled every `cell_m` over `low_m` to `high_m` (x, y).

    Outlines are corners (N, 2) of convex obstacles in any order; inside them distances are negative. Distances above
    `reach_m` are given as `reach_m`. `values` float64 (rows along y, columns along x) lie at the centres of cells, the
    first one at `first_m`. The rim of the sampled area and all that is outside are blocked.
    """

    def __init__(
        self, outlines: Sequence[np.ndarray], low_m: PointLike, high_m: PointLike, *, cell_m: float, reach_m: float
    ) -> None:
        low, high = np.asarray(low_m, dtype=float)[:2], np.asarray(high_m, dtype=float)[:2]
        columns, rows = np.maximum(np.ceil((high - low) / cell_m - 1e-9).astype(int), 1)
        self.cell_m, self.reach_m = cell_m, reach_m
        self.first_m: Point = (float(low[0]) + cell_m / 2, float(low[1]) + cell_m / 2)
        self.values = np.full((rows, columns), reach_m)
        self._nearest = np.zeros((rows, columns), dtype=np.int32)  # The edge nearest to every cell within reach.
        self._edges = [np.full((2, 2), FAR_M)]
        for outline in outlines:
            self._add(outline)
        self.values[[0, -1]] = self.values[:, [0, -1]] = -reach_m
        self._begin, self._end = np.stack(self._edges, axis=1)

    def at(self, points_m: np.ndarray) -> np.ndarray:
        """Returns the distance (N,) at each of `points_m` (N, 2), minus infinity outside of the area.

        It is exact outside of obstacles, as that to the edges nearest to the four cells around a point; within a cell
        of an obstacle's inside it is interpolated.
        """
        rows, columns = self.values.shape
        x, y = ((points_m - self.first_m) / self.cell_m).T
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        inside = (column >= 0) & (row >= 0) & (column < columns - 1) & (row < rows - 1)
        column, row = np.clip(column, 0, columns - 2), np.clip(row, 0, rows - 2)
        around = (row * columns + column)[:, None] + [0, 1, columns, columns + 1]
        values = self.values.ravel()[around]
        right, up = x - column, y - row
        share = np.stack([(1 - right) * (1 - up), right * (1 - up), (1 - right) * up, right * up], axis=1)
        exact = np.min(self._to_edges(points_m, self._nearest.ravel()[around]), axis=1)
        found = np.where(values.min(axis=1) > 0.0, np.minimum(exact, self.reach_m), (values * share).sum(axis=1))
        return np.where(inside, found, -np.inf)

    def open_lines(self, starts_m: np.ndarray, ends_m: np.ndarray, clearance_m: float) -> np.ndarray:
        """Returns bool (N,): whether the straight line between the points of each pair keeps `clearance_m` everywhere.

        `starts_m` and `ends_m` are (N, 2). Lines are sampled every 0.4 cells.
        """
        lengths = np.linalg.norm(ends_m - starts_m, axis=1)
        counts = np.ceil(lengths / (SIGHT_STEP_CELLS * self.cell_m)).astype(int) + 1
        is_open = np.ones(len(lengths), dtype=bool)
        for part in _parts(counts):
            line = np.repeat(np.arange(part.start, part.stop), counts[part])
            ends = np.cumsum(counts[part])
            sample = np.arange(len(line)) - np.repeat(ends - counts[part], counts[part])
            share = sample / np.maximum(counts[line] - 1, 1)
            points = starts_m[line] + share[:, None] * (ends_m[line] - starts_m[line])
            is_open[line[self._blocked(points, clearance_m)]] = False
        return is_open

    def ranges_m(self, starts_m: np.ndarray, angles_rad: np.ndarray, clearance_m: float) -> np.ndarray:
        """Returns how far (N,) a straight line may run from each of `starts_m` (N, 2) at `angles_rad` (N,), in metres.

        It ends before the first sample that is nearer than `clearance_m` to an obstacle; there is one every 0.4 cells.
        """
        step_m = SIGHT_STEP_CELLS * self.cell_m
        direction = np.stack([np.cos(angles_rad), np.sin(angles_rad)], axis=1)
        reached, running = np.zeros(len(starts_m)), np.arange(len(starts_m))
        sample = np.arange(1, 1 + RANGE_SAMPLES)
        while len(running):
            along = reached[running, None] + sample * step_m
            points = starts_m[running, None] + along[..., None] * direction[running, None]
            stops = np.zeros(along.size, dtype=bool)
            stops[self._blocked(points.reshape(-1, 2), clearance_m)] = True
            stops = stops.reshape(along.shape)
            ends = stops.any(axis=1)
            reached[running] += step_m * np.where(ends, stops.argmax(axis=1), RANGE_SAMPLES)
            running = running[~ends]
        return reached

    def centres(self, cells: np.ndarray) -> np.ndarray:
        """Returns the (x, y) (N, 2) of `cells`, their (row, column) (N, 2)."""
        return np.asarray(self.first_m) + cells[:, ::-1] * self.cell_m

    def cell(self, point_m: PointLike) -> tuple[int, int]:
        """Returns the (row, column) of the cell whose centre is nearest to (x, y); it may lie outside the area."""
        column, row = np.rint((np.asarray(point_m, dtype=float)[:2] - self.first_m) / self.cell_m).astype(int)
        return int(row), int(column)

    def _blocked(self, points_m: np.ndarray, clearance_m: float) -> np.ndarray:
        """Returns the indices of points nearer to an obstacle than `clearance_m`; only close calls are interpolated."""
        rows, columns = self.values.shape
        column, row = np.rint((points_m - self.first_m) / self.cell_m).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
        near = np.full(len(points_m), -np.inf)
        near[inside] = self.values.ravel()[row[inside] * columns + column[inside]]
        slack = self.cell_m * np.sqrt(0.5)  # Distances change by at most that within a cell.
        unsure = np.flatnonzero((near < clearance_m + slack) & (near >= clearance_m - slack))
        blocked = unsure[self.at(points_m[unsure]) < clearance_m]
        return np.concatenate([np.flatnonzero(near < clearance_m - slack), blocked])

    def _to_edges(self, points_m: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Returns the distance (N, K) of each of `points_m` (N, 2) from its `edges` (N, K); edge 0 stands for none."""
        begin = self._begin[edges]
        along, gap = self._end[edges] - begin, points_m[:, None] - begin
        share = (gap * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-18)
        gap -= np.clip(share, 0.0, 1.0)[..., None] * along
        return np.hypot(gap[..., 0], gap[..., 1])

    def _add(self, outline: np.ndarray) -> None:
        first, columns_rows = np.asarray(self.first_m), np.array(self.values.shape[::-1])
        low = np.floor((outline.min(axis=0) - self.reach_m - first) / self.cell_m).astype(int)
        high = np.ceil((outline.max(axis=0) + self.reach_m - first) / self.cell_m).astype(int) + 1
        (left, bottom), (right, top) = np.maximum(low, 0), np.minimum(high, columns_rows)
        if left >= right or bottom >= top:
            return
        x = first[0] + np.arange(left, right) * self.cell_m
        y = first[1] + np.arange(bottom, top) * self.cell_m
        points = np.stack(np.meshgrid(x, y), axis=-1)
        values, nearest = self.values[bottom:top, left:right], self._nearest[bottom:top, left:right]
        corners = ordered(outline)
        for begin, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            edge = end - begin
            share = np.clip(((points - begin) @ edge) / max(float(edge @ edge), 1e-18), 0.0, 1.0)
            gap = points - begin - share[..., None] * edge
            distance = np.hypot(gap[..., 0], gap[..., 1])
            nearer = distance < values
            values[nearer], nearest[nearer] = distance[nearer], len(self._edges)
            self._edges.append(np.stack([begin, end]))
        normals, offsets = half_planes(outline)
        depth = (points @ normals.T + offsets).max(axis=-1)
        values[depth <= 0.0] = np.minimum(values, depth)[depth <= 0.0]


def ordered(outline: np.ndarray) -> np.ndarray:
    """Returns the corners (K, 2) of the convex hull of `outline` (N, 2), counter-clockwise."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return outline[ConvexHull(outline).vertices]
    except QhullError:
        (left, bottom), (right, top) = outline.min(axis=0), outline.max(axis=0)
        return np.array([[left, bottom], [right, bottom], [right, top], [left, top]])


def _parts(counts: np.ndarray, *, samples: int = 400_000) -> list[slice]:
    """Returns slices of lines that have about `samples` samples together, so that arrays stay in the cache."""
    part = np.cumsum(counts) // samples
    edges = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(counts)]
    return [slice(begin, end) for begin, end in pairwise(edges) if begin < end]
