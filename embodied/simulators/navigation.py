"""Free positions and path lengths of a round base, on the floor plan of a scene at its present state."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embodied.geometry import Pose
from embodied.scenes.free_space import FreeSpace
from embodied.scenes.occupancy import GridOptions, OccupancyGrid, Point, occupancy_grid
from embodied.scenes.scene import Scene

CELL_M = 0.05
IN_THE_WAY_M = (0.03, 1.5)  # Heights over the ground: doorsteps below are driven over, lamps above are driven under.


class SceneNavigation:
    """Answers `protocols.Navigable` for one scene; the floor plan is made again once a body has moved.

    Robots are no obstacles, and neither are parts that do not collide.
    """

    def __init__(self, scene: Scene, assets: Path) -> None:
        self._scene = scene
        self._options = GridOptions(heights_m=IN_THE_WAY_M, cell_m=CELL_M, asset_root=assets)
        self._poses: Mapping[str, Pose] = {}
        self._grid: OccupancyGrid | None = None
        self._spaces: dict[float, FreeSpace] = {}

    def space(self, poses: Mapping[str, Pose], radius_m: float) -> FreeSpace:
        """Returns where a disc of `radius_m` is free while the bodies stand at `poses`.

        Raises `SceneError` for a scene without bodies, or larger than four million cells.
        """
        if self._grid is None or poses != self._poses:
            self._poses, self._spaces = dict(poses), {}
            self._grid = occupancy_grid(self._scene, poses, self._options, around_m=self._extent())
        if radius_m not in self._spaces:
            self._spaces[radius_m] = FreeSpace(self._grid, radius_m)
        return self._spaces[radius_m]

    def regions(self, point_m: Sequence[float]) -> tuple[str, ...]:
        """Returns the names of the regions that hold the world point (x, y, z), smallest first."""
        holding = [region for region in self._scene.regions if region.holds(point_m)]
        return tuple(region.name for region in sorted(holding, key=lambda one: (float(np.prod(one.size_m)), one.name)))

    def _extent(self) -> list[Point]:
        """Returns points that the floor plan must cover: the rooms and the robots' places."""
        points = [(robot.base.position_m[0], robot.base.position_m[1]) for robot in self._scene.robots]
        for region in self._scene.regions:
            x, y, _ = region.pose.position_m
            reach = float(np.hypot(*region.size_m[:2])) / 2
            points += [(x - reach, y - reach), (x + reach, y + reach)]
        return points
