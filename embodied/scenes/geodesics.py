"""Exact shortest paths of a round base between any points of a floor plan, and fields of distances over it.

Obstacles are convex outlines, so shortest paths consist of straight lines that touch discs around their corners. The
graph of all such lines (the tangent visibility graph: Y. Liu and S. Arimoto, "Path planning using a tangent graph for
mobile robots among polygonal and curved obstacles", 1992) is searched by Dijkstra's algorithm of SciPy.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from embodied.scenes.bends import Bends, bends_around, without_covered
from embodied.scenes.clearance import ClearanceField
from embodied.scenes.distance_field import DistanceField, SightFans
from embodied.scenes.free_cells import FreeCells
from embodied.scenes.occupancy import Point, PointLike

TOLERANCE_M = 0.003  # By how much a path may come nearer to an obstacle: more than clearances err.
BEYOND_M = 0.25


class Geodesics:
    """The shortest paths of a disc of `radius_m` among convex `outlines`, corners (N, 2), from `low_m` to `high_m`.

    Lengths are exact to 0.5 % of the bends in them and 1 cm; a passage must be a cell wider than the disc.
    """

    def __init__(
        self, outlines: Sequence[np.ndarray], low_m: PointLike, high_m: PointLike, *, radius_m: float, cell_m: float
    ) -> None:
        self.radius_m = radius_m
        kept = without_covered(outlines)
        self.clearance = ClearanceField(kept, low_m, high_m, cell_m=cell_m, reach_m=radius_m + BEYOND_M)
        self.cells = FreeCells(self.clearance, radius_m)
        self._outlines = kept

    def contains(self, point_m: PointLike) -> bool:
        """Returns whether the disc at (x, y) is free."""
        return self.cells.contains(point_m)

    def snap(self, point_m: PointLike, *, island: int | None = None) -> Point | None:
        """Returns the free point nearest to (x, y), on `island` if given; None where there is none."""
        return self.cells.snap(point_m, island=island)

    def island(self, point_m: PointLike) -> int:
        """Returns the number of the connected part of the free space that (x, y) is on, from 1 for the largest.

        It is 0 where (x, y) is not free. There is a path between two points exactly if they have the same number.
        """
        return self.cells.island(point_m)

    def islands_at(self, points_m: np.ndarray) -> np.ndarray:
        """Returns `island` (N,) of each of `points_m` (N, 2)."""
        return self.cells.islands_at(points_m)

    def distances_m(self, start_m: PointLike, goals_m: Sequence[PointLike]) -> tuple[float, ...]:
        """Returns the length in metres of the shortest path from start to each goal, infinite where there is none."""
        return tuple(np.inf if path is None else path_length_m(path) for path in self.paths(start_m, goals_m))

    def path(self, start_m: PointLike, goal_m: PointLike) -> np.ndarray | None:
        """Returns the corners (N, 2) of the shortest path, start and goal included, or None where there is none."""
        return self.paths(start_m, [goal_m])[0]

    def nearest(self, start_m: PointLike, goals_m: Sequence[PointLike]) -> tuple[int, np.ndarray] | None:
        """Returns the index of the goal with the shortest path, and the path; None where no path leads to any."""
        paths = self.paths(start_m, goals_m)
        found = [(path_length_m(path), index) for index, path in enumerate(paths) if path is not None]
        if not found:
            return None
        _, index = min(found)
        path = paths[index]
        assert path is not None
        return index, path

    def paths(self, start_m: PointLike, goals_m: Sequence[PointLike]) -> list[np.ndarray | None]:
        """Returns `path` from start to each goal; one search serves all goals."""
        island = self.island(start_m)
        reachable = [island > 0 and self.island(goal) == island for goal in goals_m]
        if not any(reachable):
            return [None] * len(goals_m)
        start, goals = _point(start_m), np.array([_point(goal) for goal in goals_m])
        open_ = self.open_lines(start, goals)
        distances, before = self._search(start)
        found: list[np.ndarray | None] = []
        for goal, is_reachable, is_open in zip(goals, reachable, open_, strict=True):
            if not is_reachable:
                found.append(None)
            elif is_open:
                found.append(np.stack([start, goal]))
            else:
                found.append(self._path_back(start, goal, distances, before))
        return found

    def field(self, start_m: PointLike) -> DistanceField:
        """Returns the distances in metres from `start_m` (x, y) to all free cells, infinite where there is no path."""
        distances = self._search(_point(start_m))[0] if self.contains(start_m) else None
        return self._fans.field(_point(start_m), self.island(start_m), distances)

    def open_lines(self, start_m: PointLike, goals_m: np.ndarray) -> np.ndarray:
        """Returns bool (N,): whether the disc may move straight from start to each of `goals_m` (N, 2)."""
        return self.clearance.open_lines(np.broadcast_to(_point(start_m), goals_m.shape), goals_m, self._least_m)

    @property
    def _least_m(self) -> float:
        return self.radius_m - TOLERANCE_M

    @cached_property
    def _bends(self) -> Bends:
        found = bends_around(self._outlines, self.radius_m)
        return found.of(self.clearance.at(found.points_m) >= self._least_m)

    @cached_property
    def _fans(self) -> SightFans:
        return SightFans(self.clearance, self.cells, self._bends, self._least_m)

    @cached_property
    def _graph(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the lines between bend points, both ways: where each begins, where it ends, its length in metres."""
        bends, begin, end = self._bends, [], []
        everywhere = np.arange(len(bends))
        for bend in range(len(bends)):
            others = everywhere[bend + 1 :]
            others = others[bends.tangent(bend, bends.points_m[others])]
            others = others[bends.tangent(others, np.broadcast_to(bends.points_m[bend], (len(others), 2)))]
            begin.append(np.full(len(others), bend))
            end.append(others)
        if not begin:
            return np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0)
        source, target = np.concatenate(begin), np.concatenate(end)
        open_ = self.clearance.open_lines(bends.points_m[source], bends.points_m[target], self._least_m)
        source, target = source[open_], target[open_]
        lengths = np.linalg.norm(bends.points_m[source] - bends.points_m[target], axis=1)
        return np.concatenate([source, target]), np.concatenate([target, source]), np.concatenate([lengths, lengths])

    def _lines_to_bends(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the bend points that a straight line from `point` (2,) touches, and its lengths in metres."""
        bends = self._bends
        others = np.flatnonzero(bends.tangent(np.arange(len(bends)), np.broadcast_to(point, (len(bends), 2))))
        ends = bends.points_m[others]
        open_ = self.open_lines(point, ends)
        return others[open_], np.linalg.norm(ends[open_] - point, axis=1)

    def _search(self, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distance of every bend point from `start` (2,), and the bend point before it, V for the start."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        count = len(self._bends)
        seen, lengths = self._lines_to_bends(start)
        begin, end, between = self._graph
        rows = np.concatenate([begin, np.full(len(seen), count)])
        weights = np.maximum(np.concatenate([between, lengths]), 1e-9)  # A weight of zero would be no edge.
        edges: Any = csr_array((weights, (rows, np.concatenate([end, seen]))), shape=(count + 1, count + 1))
        distances, before = dijkstra(edges, indices=count, return_predecessors=True)
        return distances[:count], before[:count]

    def _path_back(self, start: np.ndarray, goal: np.ndarray, distances: np.ndarray, before: np.ndarray) -> np.ndarray:
        seen, lengths = self._lines_to_bends(goal)
        totals = distances[seen] + lengths
        if not len(totals) or not np.isfinite(totals.min()):
            return self._straightened(self.cells.path(start, goal))
        chain = [int(seen[np.argmin(totals)])]
        while before[chain[-1]] != len(self._bends):
            chain.append(int(before[chain[-1]]))
        return np.vstack([start, self._bends.points_m[chain[::-1]], goal])

    def _straightened(self, path: np.ndarray) -> np.ndarray:
        """Returns a path over cells with fewer corners: as seldom as possible from its start on."""
        corners, at = [path[0]], 0
        while at < len(path) - 1:
            ends = path[at + 1 :]
            open_ = self.open_lines(path[at], ends)
            at += 1 + (int(np.flatnonzero(open_).max()) if open_.any() else 0)
            corners.append(path[at])
        return np.array(corners)


def path_length_m(path_m: np.ndarray) -> float:
    """Returns the length in metres of the path with the corners `path_m` (N, 2)."""
    return float(np.linalg.norm(np.diff(path_m, axis=0), axis=1).sum())


def _point(point_m: PointLike) -> np.ndarray:
    return np.array([float(point_m[0]), float(point_m[1])])
