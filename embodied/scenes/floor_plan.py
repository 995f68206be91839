"""The floor plan of a scene at given poses, for a round base that drives over it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from embodied.errors import SceneError
from embodied.geometry import Pose
from embodied.scenes.geodesics import Geodesics
from embodied.scenes.occupancy import MAX_CELLS, GridOptions, Point, obstacle_outlines
from embodied.scenes.scene import Scene

CELL_M = 0.05
MARGIN_M = 1.5
IN_THE_WAY_M = (0.03, 1.5)  # Heights over the ground: doorsteps below are driven over, lamps above are driven under.


def driving_options(*, assets: Path | None = None, without: Collection[str] = ()) -> GridOptions:
    """Returns what is in the way of a base: all but the bodies `without`. Mesh files are read from `assets`."""
    return GridOptions(heights_m=IN_THE_WAY_M, cell_m=CELL_M, asset_root=assets, without=without)


def floor_plan(
    scene: Scene,
    poses: Mapping[str, Pose],
    options: GridOptions,
    *,
    radius_m: float,
    closed_m: Sequence[Sequence[Point]] = (),
) -> Geodesics:
    """Returns where a disc of `radius_m` is free in `scene` while its bodies stand at `poses`, and its shortest paths.

    `options` are those of `driving_options`: robots are no obstacles, and neither are parts that do not collide.
    `closed_m` are the corners (x, y) of further convex areas that are closed. Raises `SceneError` for a scene without
    extent, or larger than four million cells.
    """
    outlines = [outline for _, outline in obstacle_outlines(scene, poses, options)]
    outlines += [np.array(corners, dtype=float) for corners in closed_m]
    corners = [*(corner for outline in outlines for corner in outline), *plan_extent(scene)]
    if not corners:
        raise SceneError("A floor plan must have an obstacle, a region or a robot.", value=scene.name)
    low, high = np.min(corners, axis=0) - MARGIN_M, np.max(corners, axis=0) + MARGIN_M
    rows_columns = np.ceil((high - low) / options.cell_m)
    if np.prod(rows_columns) > MAX_CELLS:
        raise SceneError(f"A floor plan must have at most {MAX_CELLS} cells.", value=tuple(rows_columns.tolist()))
    return Geodesics(outlines, low, high, radius_m=radius_m, cell_m=options.cell_m)


def plan_extent(scene: Scene) -> list[Point]:
    """Returns points that the floor plan of `scene` must cover: the rooms and the robots' places."""
    points = [(robot.base.position_m[0], robot.base.position_m[1]) for robot in scene.robots]
    for region in scene.regions:
        x, y, _ = region.pose.position_m
        reach = float(np.hypot(*region.size_m[:2])) / 2
        points += [(x - reach, y - reach), (x + reach, y + reach)]
    return points
