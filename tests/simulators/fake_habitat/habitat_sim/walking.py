"""A floor in cells: what faces up is walked on, what faces down above it is in the way."""

import numpy as np

from habitat_sim import seeing  # noqa: F401 - puts the project on the path

from embodied.scenes.free_space import FreeSpace  # isort: skip
from embodied.scenes.occupancy import FREE, OccupancyGrid  # isort: skip


class Floor:
    def __init__(self, space, height_m):
        self._space, self.height_m = space, height_m
        self._lengths = {}

    @staticmethod
    def of(things, settings):
        corners = np.concatenate(
            [thing.model.corners @ thing.matrix[:3, :3].T + thing.matrix[:3, 3] for thing in things]
            or [np.zeros((0, 3, 3))]
        )
        up = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 1] > 0.0
        if not up.any():
            return None
        floor, cell_m = corners[up], settings.cell_size
        low, high = floor.min(axis=(0, 1))[[0, 2]], floor.max(axis=(0, 1))[[0, 2]]
        columns, rows = np.ceil((high - low) / cell_m).astype(int)
        owner = np.full((rows, columns), FREE, dtype=np.int16)
        x, y = np.meshgrid(low[0] + (np.arange(columns) + 0.5) * cell_m, low[1] + (np.arange(rows) + 0.5) * cell_m)
        for triangle in corners[~up][:, :, [0, 2]]:
            edges = np.roll(triangle, -1, axis=0) - triangle
            sides = [e[0] * (y - c[1]) - e[1] * (x - c[0]) for c, e in zip(triangle, edges, strict=True)]
            slack = [cell_m / 2 * np.abs(e).sum() for e in edges]
            inside = [np.all([side * sign >= -more for side, more in zip(sides, slack, strict=True)], axis=0)
                      for sign in (1, -1)]  # fmt: skip
            owner[inside[0] | inside[1]] = 0
        owner[[0, -1]] = owner[:, [0, -1]] = 0
        grid = OccupancyGrid(owner, ("obstacle",), (float(low[0]), float(low[1])), cell_m)
        return Floor(FreeSpace(grid, settings.agent_radius), float(floor[0, 0, 1]))

    def contains(self, point):
        return self._space.contains((point[0], point[2]))

    def snap(self, point):
        found = self._space.snap((point[0], point[2]))
        return np.array([np.nan] * 3) if found is None else np.array([found[0], self.height_m, found[1]])

    def distance_m(self, start, end):
        """Returns the length of the shorter of the paths there and back, which is looked for once."""
        pair = tuple(sorted([(float(start[0]), float(start[2])), (float(end[0]), float(end[2]))]))
        if pair not in self._lengths:
            self._lengths[pair] = self._space.distance_m(*pair)
        return self._lengths[pair]
