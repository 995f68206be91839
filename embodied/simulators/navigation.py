"""Free positions and path lengths of a round base, on the floor plan of a scene at its present state."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embodied.geometry import Pose
from embodied.scenes.floor_plan import driving_options, floor_plan
from embodied.scenes.geodesics import Geodesics
from embodied.scenes.scene import Scene


class SceneNavigation:
    """Answers `protocols.Navigable` for one scene; the floor plan is made again once a body has moved.

    Robots are no obstacles, and neither are parts that do not collide.
    """

    def __init__(self, scene: Scene, assets: Path) -> None:
        self._scene = scene
        self._options = driving_options(assets=assets)
        self._poses: Mapping[str, Pose] = {}
        self._spaces: dict[float, Geodesics] = {}

    def space(self, poses: Mapping[str, Pose], radius_m: float) -> Geodesics:
        """Returns where a disc of `radius_m` is free while the bodies stand at `poses`.

        Raises `SceneError` for a scene without bodies, or larger than four million cells.
        """
        if poses != self._poses:
            self._poses, self._spaces = dict(poses), {}
        if radius_m not in self._spaces:
            self._spaces[radius_m] = floor_plan(self._scene, poses, self._options, radius_m=radius_m)
        return self._spaces[radius_m]

    def regions(self, point_m: Sequence[float]) -> tuple[str, ...]:
        """Returns the names of the regions that hold the world point (x, y, z), smallest first."""
        holding = [region for region in self._scene.regions if region.holds(point_m)]
        return tuple(region.name for region in sorted(holding, key=lambda one: (float(np.prod(one.size_m)), one.name)))
