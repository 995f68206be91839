"""The cells of a floor plan on which a round base is free, their connected parts, and paths from cell to cell."""

import itertools
from functools import cached_property
from typing import Any, cast

import numpy as np

from embodied.scenes.clearance import ClearanceField
from embodied.scenes.occupancy import Point, PointLike


class FreeCells:
    """The cells of `clearance` on whose centres a disc of `radius_m` touches nothing.

    A point between them is free where the disc touches nothing and one of the four cells around it is free. `free` is
    bool (rows, columns); `islands` int32 numbers the connected parts from 1, the largest first, 0 is not free.
    """

    def __init__(self, clearance: ClearanceField, radius_m: float) -> None:
        self.clearance = clearance
        self.radius_m = radius_m
        self.free = clearance.values >= radius_m

    def contains(self, point_m: PointLike) -> bool:
        """Returns whether the disc at (x, y) is free."""
        return bool(self.island(point_m))

    def snap(self, point_m: PointLike, *, island: int | None = None) -> Point | None:
        """Returns the free point nearest to (x, y), on `island` if given; None where there is none.

        That is the point itself where it is free, else the centre of the nearest free cell.
        """
        if self.contains(point_m) and island in (None, self.island(point_m)):
            return (float(point_m[0]), float(point_m[1]))
        inner = self.islands > 0 if island is None else self.islands == island
        cells = np.argwhere(inner)
        if not len(cells):
            return None
        centres = self.clearance.centres(cells)
        offsets = centres - [float(point_m[0]), float(point_m[1])]
        x, y = centres[int(np.argmin((offsets**2).sum(axis=1)))]
        return (float(x), float(y))

    def island(self, point_m: PointLike) -> int:
        """Returns the number of the connected part that (x, y) is on, 0 where it is not free."""
        return int(self.islands_at(np.array([[float(point_m[0]), float(point_m[1])]]))[0])

    def islands_at(self, points_m: np.ndarray) -> np.ndarray:
        """Returns the number (N,) of the connected part that each of `points_m` (N, 2) is on, 0 where it is not free.

        It is that of the nearest free one of the four cells around a point.
        """
        clearance = self.clearance
        free = np.all(np.isfinite(points_m), axis=1)
        points = np.where(free[:, None], points_m, 0.0)
        # The tolerance is of rounding: centres of free cells are free.
        free &= clearance.at(points) >= self.radius_m - 1e-9
        right, up = ((points - clearance.first_m) / clearance.cell_m).T
        limit = np.array(self.free.shape) - 1
        found, nearest = np.zeros(len(points), dtype=np.int32), np.full(len(points), np.inf)
        for row, column in itertools.product((np.floor(up), np.ceil(up)), (np.floor(right), np.ceil(right))):
            cell = np.clip(np.stack([row, column], axis=1), 0, limit).astype(int)
            island = self.islands[cell[:, 0], cell[:, 1]]
            gap = np.hypot(row - up, column - right)
            better = free & (island > 0) & (gap < nearest)
            found[better], nearest[better] = island[better], gap[better]
        return found

    @cached_property
    def islands(self) -> np.ndarray:
        """The number of the connected part of every cell."""
        from scipy.ndimage import label

        numbers, count = cast(tuple[np.ndarray, int], label(self.free))
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        rank = np.zeros(count + 1, dtype=np.int32)
        rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
        return rank[numbers]

    def path(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Returns corners (N, 2) of a path over neighbouring free cells between points (2,) of one island."""
        from scipy.sparse.csgraph import dijkstra

        begin, end = (int(self._index[self._free_cell(point)]) for point in (start, goal))
        _, before = dijkstra(self._graph, indices=begin, return_predecessors=True)
        chain = [end]
        while chain[-1] != begin:
            chain.append(int(before[chain[-1]]))
        centres = self.clearance.centres(np.argwhere(self.islands > 0)[chain[::-1]])
        return np.vstack([start, centres, goal])

    def _free_cell(self, at: np.ndarray) -> tuple[int, int]:
        """Returns the nearest free cell around a free point (2,)."""
        column, row = np.floor((at - self.clearance.first_m) / self.clearance.cell_m + 1e-9).astype(int)
        around = np.array([(row + up, column + right) for up in (0, 1) for right in (0, 1)])
        around = around[self.free[around[:, 0], around[:, 1]]]
        gaps = np.linalg.norm(self.clearance.centres(around) - at, axis=1)
        found = around[int(np.argmin(gaps))]
        return int(found[0]), int(found[1])

    @cached_property
    def _index(self) -> np.ndarray:
        index = np.full(self.free.shape, -1, dtype=np.int32)
        inner = self.islands > 0
        index[inner] = np.arange(int(inner.sum()), dtype=np.int32)
        return index

    @cached_property
    def _graph(self) -> Any:
        from scipy.sparse import coo_array

        pairs = [(self._index[:-1], self._index[1:]), (self._index[:, :-1], self._index[:, 1:])]
        joined = [(here[(here >= 0) & (there >= 0)], there[(here >= 0) & (there >= 0)]) for here, there in pairs]
        begin, end = (np.concatenate(part) for part in zip(*joined, strict=True))
        count, lengths = int(self._index.max()) + 1, np.full(2 * len(begin), self.clearance.cell_m)
        edges = (np.concatenate([begin, end]), np.concatenate([end, begin]))
        return coo_array((lengths, edges), shape=(count, count)).tocsr()
