"""The free space of a round base on a floor plan, and the shortest paths through it."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from embodied.scenes.occupancy import OccupancyGrid, Point, PointLike

_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


class FreeSpace:
    """The cells of `grid` in which a disc of `radius_m` touches nothing; paths run through their centres."""

    def __init__(self, grid: OccupancyGrid, radius_m: float) -> None:
        self.grid = grid
        self.radius_m = radius_m
        self.free = grid.clearance_m >= radius_m + grid.cell_m / 2

    def contains(self, point_m: PointLike) -> bool:
        """Returns whether the disc at (x, y) is free."""
        cell = self.grid.cell(point_m)
        return self.grid.holds(cell) and bool(self.free[cell])

    def snap(self, point_m: PointLike) -> Point | None:
        """Returns the free point nearest to (x, y), which may be (x, y) itself, or None if no point is free."""
        if self.contains(point_m):
            return (float(point_m[0]), float(point_m[1]))
        cells = np.argwhere(self.free)
        if not len(cells):
            return None
        row, column = self.grid.cell(point_m)
        nearest = cells[np.argmin(((cells - (row, column)) ** 2).sum(axis=1))]
        return self.grid.centre((int(nearest[0]), int(nearest[1])))

    def path(self, start_m: PointLike, goal_m: PointLike) -> np.ndarray | None:
        """Returns corners (N, 2) of a short free path from start to goal, both included, or None where there is none.

        The shortest path over neighbouring cells (Dijkstra) is straightened wherever the line of sight is free, once
        from its start and once from its goal; the shorter result is returned.
        """
        return self.paths(start_m, [goal_m])[0]

    def paths(self, start_m: PointLike, goals_m: Sequence[PointLike]) -> list[np.ndarray | None]:
        """Returns `path` from start to each goal; one search serves all goals."""
        if not self.contains(start_m):
            return [None] * len(goals_m)
        from scipy.sparse.csgraph import dijkstra

        begin = int(self._index[self.grid.cell(start_m)])
        _, before = dijkstra(self._graph, indices=begin, return_predecessors=True)
        return [self._path_back(start_m, goal_m, begin, before) for goal_m in goals_m]

    def _path_back(self, start_m: PointLike, goal_m: PointLike, begin: int, before: np.ndarray) -> np.ndarray | None:
        if not self.contains(goal_m):
            return None
        end = int(self._index[self.grid.cell(goal_m)])
        if begin != end and before[end] < 0:
            return None
        chain = [end]
        while chain[-1] != begin:
            chain.append(int(before[chain[-1]]))
        cells = np.argwhere(self.free)[chain[::-1]]
        centres = np.asarray(self.grid.origin_m) + (cells[:, ::-1] + 0.5) * self.grid.cell_m
        path = np.vstack([np.asarray(start_m[:2]), centres[1:-1], np.asarray(goal_m[:2])])
        return min(self._straightened(path), self._straightened(path[::-1])[::-1], key=_length_m)

    def distance_m(self, start_m: PointLike, goal_m: PointLike) -> float:
        """Returns the length of `path` in metres, infinite where there is none."""
        return self.distances_m(start_m, [goal_m])[0]

    def distances_m(self, start_m: PointLike, goals_m: Sequence[PointLike]) -> tuple[float, ...]:
        """Returns the length of `path` from start to each goal in metres, infinite where there is none."""
        paths = self.paths(start_m, goals_m)
        return tuple(np.inf if path is None else _length_m(path) for path in paths)

    def sees(self, start_m: PointLike, goal_m: PointLike) -> bool:
        """Returns whether the straight line between two places is free."""
        return self.first_blocked(start_m, goal_m) is None

    def first_blocked(self, start_m: PointLike, goal_m: PointLike) -> Point | None:
        """Returns the first point that is not free on the straight line between two points, None if all are free."""
        start, goal = np.asarray(start_m[:2], dtype=float), np.asarray(goal_m[:2], dtype=float)
        count = int(np.ceil(np.linalg.norm(goal - start) / (self.grid.cell_m / 2))) + 1
        points = start + np.linspace(0.0, 1.0, count)[:, None] * (goal - start)
        columns, rows = np.floor((points - self.grid.origin_m) / self.grid.cell_m).astype(int).T
        inside = (rows >= 0) & (rows < self.free.shape[0]) & (columns >= 0) & (columns < self.free.shape[1])
        free = np.zeros(count, dtype=bool)
        free[inside] = self.free[rows[inside], columns[inside]]
        if free.all():
            return None
        x, y = points[int(np.argmin(free))]
        return (float(x), float(y))

    @cached_property
    def _index(self) -> np.ndarray:
        index = np.full(self.free.shape, -1, dtype=np.int32)
        index[self.free] = np.arange(int(self.free.sum()), dtype=np.int32)
        return index

    @cached_property
    def _graph(self) -> Any:
        from scipy.sparse import coo_array

        sources, targets, lengths = [], [], []
        rows, columns = self.free.shape
        for down, right in _NEIGHBOURS:
            here = self._index[: rows - down, max(0, -right) : columns - max(0, right)]
            there = self._index[down:, max(0, right) : columns + min(0, right)]
            both = (here >= 0) & (there >= 0)
            sources.append(here[both])
            targets.append(there[both])
            lengths.append(np.full(int(both.sum()), self.grid.cell_m * np.hypot(down, right)))
        source, target, length = map(np.concatenate, (sources, targets, lengths))
        count = int(self.free.sum())
        edges = (np.concatenate([source, target]), np.concatenate([target, source]))
        return coo_array((np.concatenate([length, length]), edges), shape=(count, count)).tocsr()

    def _straightened(self, path_m: np.ndarray) -> np.ndarray:
        corners, anchor = [path_m[0]], 0
        for index in range(2, len(path_m)):
            if not self.sees(path_m[anchor], path_m[index]):
                anchor = index - 1
                corners.append(path_m[anchor])
        return np.array([*corners, path_m[-1]])


def _length_m(path_m: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(path_m, axis=0), axis=1).sum())
