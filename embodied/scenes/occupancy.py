"""The occupied cells of the floor plan: a grid made from the bodies of a scene and their present poses."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

import numpy as np

from embodied.errors import SceneError
from embodied.geometry import Pose, transform_points
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Part, Scene

FREE = -1
MAX_CELLS = 4_000_000
EDGE = "the edge of the floor"
FLOOR_TOLERANCE_M = 0.02
Point = tuple[float, float]
PointLike = Sequence[float] | np.ndarray  # x and y in the world, metres; what follows is ignored.


@dataclass(frozen=True, eq=False)
class OccupancyGrid:
    """The floor plan in square cells of `cell_m`; `origin_m` is the (x, y) of the corner of the first cell.

    `owner` int16 (rows along y, columns along x) indexes `names`, the bodies in the way; -1 is free.
    """

    owner: np.ndarray
    names: tuple[str, ...]
    origin_m: Point
    cell_m: float

    @cached_property
    def clearance_m(self) -> np.ndarray:
        """The distance of every cell's centre (rows, columns) from the nearest occupied one; infinite without any."""
        return self._nearest[0]

    def cell(self, point_m: PointLike) -> tuple[int, int]:
        """Returns the (row, column) in which the world point (x, y) lies; it may lie outside the grid."""
        column, row = np.floor((np.asarray(point_m[:2]) - self.origin_m) / self.cell_m).astype(int)
        return int(row), int(column)

    def holds(self, cell: tuple[int, int]) -> bool:
        """Returns whether (row, column) is a cell of the grid."""
        return 0 <= cell[0] < self.owner.shape[0] and 0 <= cell[1] < self.owner.shape[1]

    def centre(self, cell: tuple[int, int]) -> Point:
        """Returns the world (x, y) of the centre of a cell (row, column)."""
        return (
            self.origin_m[0] + (cell[1] + 0.5) * self.cell_m,
            self.origin_m[1] + (cell[0] + 0.5) * self.cell_m,
        )

    def clearance_at(self, point_m: PointLike) -> float:
        """Returns the distance in metres from (x, y) to the nearest occupied cell, 0 outside the grid."""
        cell = self.cell(point_m)
        return float(self.clearance_m[cell]) if self.holds(cell) else 0.0

    def nearest_body(self, point_m: PointLike) -> str:
        """Returns the name of the body nearest to (x, y), "" where there is none."""
        if not self.names or (self.owner == FREE).all():
            return ""
        row, column = np.clip(self.cell(point_m), 0, np.array(self.owner.shape) - 1)
        rows, columns = self._nearest[1]
        return self.names[self.owner[rows[row, column], columns[row, column]]]

    @cached_property
    def _nearest(self) -> tuple[np.ndarray, np.ndarray]:
        from scipy.ndimage import distance_transform_edt

        if (self.owner == FREE).all():
            return np.full(self.owner.shape, np.inf), np.zeros((2, *self.owner.shape), dtype=int)
        found = distance_transform_edt(self.owner == FREE, return_indices=True)
        distances, indices = cast(tuple[np.ndarray, np.ndarray], found)
        return distances * self.cell_m, indices


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Settings of a floor plan: bodies between the two `heights_m` (world z) are obstacles, except those in `without`.

    With `floor_m` (world z), the edge of the floor is an obstacle too: every cell without a part below it whose top
    lies within 2 cm of that height, unless the scene has no such part at all. Cells are `cell_m` wide; `margin_m` is
    kept around every obstacle. Mesh files are read from `asset_root`.
    """

    heights_m: tuple[float, float]
    floor_m: float | None = None
    without: Collection[str] = ()
    cell_m: float = 0.04
    margin_m: float = 1.5
    asset_root: Path | None = None


def occupancy_grid(
    scene: Scene,
    poses: Mapping[str, Pose],
    options: GridOptions,
    *,
    around_m: Sequence[Point] = (),
    discs: Mapping[str, tuple[float, float, float]] | None = None,
) -> OccupancyGrid:
    """Returns the obstacles on the floor plan of `scene`; parts that do not collide are left out.

    `options` give the cells and heights. `poses` are the present ones by body name. `discs` are further obstacles by
    name, such as other robots: x, y and radius in metres. The grid covers all obstacles and the points `around_m`. A
    part blocks the cells under its convex outline. Raises `SceneError` for a scene without extent or too large for its
    cells.
    """
    cell_m = options.cell_m
    outlines = obstacle_outlines(scene, poses, options)
    outlines += [(name, _circle(*disc)) for name, disc in (discs or {}).items()]
    corners = [*(corner for _, outline in outlines for corner in outline), *np.atleast_2d(around_m or np.zeros((0, 2)))]
    if not corners:
        raise SceneError("A floor plan must have an obstacle or a point.", remedy="Give `around_m`.")
    low, high = np.min(corners, axis=0) - options.margin_m, np.max(corners, axis=0) + options.margin_m
    columns, rows = (np.ceil((high - low) / cell_m)).astype(int)
    if rows * columns > MAX_CELLS:
        raise SceneError(f"A floor plan must have at most {MAX_CELLS} cells.", value=(rows, columns))
    names = (*dict.fromkeys(name for name, _ in outlines), EDGE)
    owner = np.full((rows, columns), FREE, dtype=np.int16)
    floors = [] if options.floor_m is None else list(_floors(scene, poses, options, options.floor_m))
    if floors:
        owner[:] = names.index(EDGE)
        for outline in floors:
            _paint(owner, outline, FREE, low, cell_m)
    for name, outline in outlines:
        _paint(owner, outline, names.index(name), low, cell_m)
    return OccupancyGrid(owner, names, (float(low[0]), float(low[1])), cell_m)


def obstacle_outlines(scene: Scene, poses: Mapping[str, Pose], options: GridOptions) -> list[tuple[str, np.ndarray]]:
    """Returns the body and the corners (N, 2) seen from above of every part of `scene` that is an obstacle.

    Bodies stand at `poses`; `options` say which are obstacles. An obstacle covers the convex hull of its corners.
    """
    return [
        (body.name, outline)
        for body in scene.bodies
        if body.name not in options.without
        for part in body.parts
        if part.collides
        for outline in _outlines(part, poses[body.name], options)
    ]


def _floors(scene: Scene, poses: Mapping[str, Pose], options: GridOptions, floor_m: float) -> Iterator[np.ndarray]:
    for body in scene.bodies:
        for part in body.parts:
            if part.collides:
                vertices = transform_points(poses[body.name].matrix, _vertices(part, options.asset_root))
                if abs(vertices[:, 2].max() - floor_m) <= FLOOR_TOLERANCE_M:
                    yield vertices[:, :2]


def _outlines(part: Part, body: Pose, options: GridOptions) -> list[np.ndarray]:
    """Returns the corners (N, 2) of a part seen from above, none for a part above or below the range of heights."""
    vertices = transform_points(body.matrix, _vertices(part, options.asset_root))
    if vertices[:, 2].max() <= options.heights_m[0] or vertices[:, 2].min() >= options.heights_m[1]:
        return []
    return [vertices[:, :2]]


@lru_cache(maxsize=1024)
def _vertices(part: Part, asset_root: Path | None) -> np.ndarray:
    vertices = triangulate(part.shape, asset_root=asset_root).vertices.astype(np.float64)
    return transform_points(part.pose.matrix, vertices)


def _circle(x_m: float, y_m: float, radius_m: float) -> np.ndarray:
    angle = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x_m + radius_m * np.cos(angle), y_m + radius_m * np.sin(angle)], axis=1)


def _paint(owner: np.ndarray, corners: np.ndarray, index: int, low: np.ndarray, cell_m: float) -> None:
    """Marks the cells whose centre lies under the convex hull of `corners` (N, 2), or within half a cell of it."""
    first = np.floor((corners.min(axis=0) - low) / cell_m).astype(int) - 1
    last = np.ceil((corners.max(axis=0) - low) / cell_m).astype(int) + 1
    (left, bottom), (right, top) = np.maximum(first, 0), np.minimum(last, owner.shape[::-1])
    x, y = np.meshgrid(
        low[0] + (np.arange(left, right) + 0.5) * cell_m, low[1] + (np.arange(bottom, top) + 0.5) * cell_m
    )
    normals, offsets = half_planes(corners)
    depth = x[..., None] * normals[:, 0] + y[..., None] * normals[:, 1] + offsets
    owner[bottom:top, left:right][(depth <= cell_m / 2).all(axis=-1)] = index


def half_planes(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns outward normals (K, 2) and offsets (K,) of half planes around `corners`: a box where they are in line.

    Points inside have normals @ point + offset <= 0 for all of them.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        equations = ConvexHull(corners).equations
    except QhullError:
        low, high = corners.min(axis=0), corners.max(axis=0)
        equations = np.array([[1, 0, -high[0]], [-1, 0, low[0]], [0, 1, -high[1]], [0, -1, low[1]]])
    return equations[:, :2], equations[:, 2]
