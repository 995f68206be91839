"""The floor plan of a scene as a navigation mesh of Habitat, which is made anew once something has moved."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embodied.geometry import Pose
from embodied.scenes.export import GlbNode, GlbSurface, glb_bytes
from embodied.scenes.floor_plan import CELL_M, IN_THE_WAY_M, MARGIN_M, driving_options, plan_extent
from embodied.scenes.occupancy import obstacle_outlines
from embodied.scenes.scene import Scene
from embodied.simulators.habitat.place import DrawnPlace
from embodied.simulators.navigation import SceneNavigation

GROUND_M = 0.0
LID_M = 0.3
MESH_CELL_M = 0.02  # Of the mesh: with cells of 5 cm narrow doors of homes are closed.
NEAR_THE_GROUND_M = 0.2
Point = tuple[float, float]


class HabitatFloor:
    """Where a disc is free, by Habitat's navigation mesh (Recast) of the outlines of the bodies of a scene.

    The rules are those of `SceneNavigation`: parts between 3 cm and 1.5 m over the ground are in the way as their
    convex outlines; robots are not. In a place of a dataset its own surfaces are walked on.
    """

    def __init__(self, place: DrawnPlace, scene: Scene, *, folder: Path, assets: Path) -> None:
        self._place = place
        self._scene = scene
        self._folder = folder
        self._options = driving_options(assets=assets)
        self._navigation = SceneNavigation(scene, assets)
        self._planned: tuple[object, ...] | None = None
        self._poses: Mapping[str, Pose] = {}

    def is_free(self, poses: Mapping[str, Pose], point_m: Sequence[float], radius_m: float) -> bool:
        """Returns whether a disc of `radius_m` at `point_m` (x, y) touches nothing while bodies stand at `poses`."""
        self._plan(poses, radius_m)
        return bool(self._free([point_m])[0])

    def snap(self, poses: Mapping[str, Pose], point_m: Sequence[float], radius_m: float) -> Point | None:
        """Returns the free point nearest to `point_m`, which may be itself; None without any.

        `poses` and `radius_m` as in `is_free`.
        """
        self._plan(poses, radius_m)
        if self._free([point_m])[0]:
            return (float(point_m[0]), float(point_m[1]))
        found = self._place.worker.call("snap", points=_on_ground([point_m]))[0]
        return (float(found[0]), -float(found[2])) if np.isfinite(found).all() else None

    def distances_m(
        self, poses: Mapping[str, Pose], start_m: Sequence[float], goals_m: Sequence[Sequence[float]], radius_m: float
    ) -> tuple[float, ...]:
        """Returns the length of the shortest path from `start_m` to each of `goals_m`, infinite where there is none.

        `poses` and `radius_m` as in `is_free`.
        """
        self._plan(poses, radius_m)
        free = self._free([start_m, *goals_m])
        if not free[0] or not free[1:].any():
            return (np.inf,) * len(goals_m)
        goals = [goal for goal, one in zip(goals_m, free[1:], strict=True) if one]
        found = iter(
            self._place.worker.call("distances", start=_on_ground([start_m])[0], goals=_on_ground(goals)).tolist()
        )
        # Habitat counts in single precision: no path is shorter than the straight line.
        return tuple(
            max(next(found), float(np.hypot(goal[0] - start_m[0], goal[1] - start_m[1]))) if one else np.inf
            for goal, one in zip(goals_m, free[1:], strict=True)
        )

    def regions(self, point_m: Sequence[float]) -> tuple[str, ...]:
        """Returns the names of the regions that hold the world point `point_m` (x, y, z), smallest first."""
        return self._navigation.regions(point_m)

    def _free(self, points_m: Sequence[Sequence[float]]) -> np.ndarray:
        return self._place.worker.call("free", points=_on_ground(points_m), height_m=NEAR_THE_GROUND_M)

    def _plan(self, poses: Mapping[str, Pose], radius_m: float) -> None:
        """Makes the navigation mesh where it is not of these poses, this radius and this session."""
        standing = (self._place.enter(), radius_m)
        if self._planned is not None and standing == self._planned[:2] and poses == self._poses:
            return
        outlines = obstacle_outlines(self._scene, poses, self._options)
        wanted = (*standing, tuple(outline.tobytes() for _, outline in outlines))
        self._poses = dict(poses)
        if wanted == self._planned:
            return
        self._planned = None
        if self._place.furnished and not outlines:
            self._place.worker.call("plan", obstacles="", settings=_settings(radius_m))
            self._planned = wanted
            return
        content = self._obstacles([outline for _, outline in outlines])
        # Habitat reads a file once and keeps it by its name, which is therefore that of its content.
        path = self._folder / f"floor-{hashlib.sha256(content).hexdigest()[:24]}.glb"
        path.write_bytes(content)
        try:
            self._place.worker.call("plan", obstacles=str(path), settings=_settings(radius_m))
        finally:
            path.unlink()
        self._planned = wanted

    def _obstacles(self, outlines: Sequence[np.ndarray]) -> bytes:
        """Returns the ground, and over each outline a lid that faces down: what is below one is no ground to walk on.

        Only surfaces that face up are walked on, so that neither lids nor table tops count.
        """
        pieces = [(_hull(outline)[::-1], LID_M) for outline in outlines]
        if not self._place.furnished:
            points = [*plan_extent(self._scene), *(corner for outline in outlines for corner in outline)]
            low, high = np.min(points, axis=0) - MARGIN_M, np.max(points, axis=0) + MARGIN_M
            ground = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
            pieces.append((ground, GROUND_M))
        vertices, faces, start = [], [], 0
        for corners, height_m in pieces:
            vertices.append(np.column_stack([corners, np.full(len(corners), height_m)]))
            following = np.arange(1, len(corners) - 1)
            faces.append(start + np.stack([np.zeros_like(following), following, following + 1], axis=1))
            start += len(corners)
        joined = np.concatenate(vertices).astype(np.float32)
        normals = np.tile(np.array([0.0, 0.0, 1.0], dtype=np.float32), (len(joined), 1))
        return glb_bytes([GlbNode("floor", [GlbSurface(joined, normals, np.concatenate(faces), (1.0, 1.0, 1.0, 1.0))])])


def _hull(corners: np.ndarray) -> np.ndarray:
    """Returns the corners (K, 2) of the convex hull, counter-clockwise from above; a box where they are in line."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return corners[ConvexHull(corners).vertices]
    except QhullError:
        low, high = corners.min(axis=0) - CELL_M / 2, corners.max(axis=0) + CELL_M / 2
        return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def _on_ground(points_m: Sequence[Sequence[float]]) -> np.ndarray:
    """Returns points (x, y) on the ground in Habitat's frame (N, 3)."""
    return np.array([[point[0], GROUND_M, -point[1]] for point in points_m], dtype=np.float64)


def _settings(radius_m: float) -> dict[str, float | bool]:
    return {
        "cell_size": MESH_CELL_M,
        "cell_height": CELL_M,
        "agent_height": IN_THE_WAY_M[1],
        # Every cell that a lid touches counts as covered: half a cell more than the outline on average.
        "agent_radius": max(radius_m - MESH_CELL_M / 2, MESH_CELL_M),
        "agent_max_climb": 0.0,
        "agent_max_slope": 30.0,
        "region_min_size": 2.0,
        "filter_low_hanging_obstacles": False,
        "filter_ledge_spans": False,
        "filter_walkable_low_height_spans": True,
    }
