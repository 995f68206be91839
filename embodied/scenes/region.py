"""Named parts of space: the volumes of sensors, places, rooms and floors."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from embodied.errors import SceneError
from embodied.geometry import Pose, Vector3, rotation_matrix
from embodied.scenes import polygons
from embodied.scenes.checks import require_finite, require_name, require_positive
from embodied.scenes.polygons import Corner

RegionKind = Literal["place", "room", "floor"]


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named part of space, for sensors, places, rooms and floors; it has no body.

    It is a box of `size_m`, centred on `pose`; with an `outline_m` only the part of that box which stands on the
    simple polygon (x, y) of the outline, in the region's frame. `Region.on_ground` makes one from world coordinates.
    """

    name: str
    pose: Pose
    size_m: Vector3
    kind: RegionKind = "place"
    outline_m: tuple[Corner, ...] = ()

    def __post_init__(self) -> None:
        require_name("region", self.name)
        require_positive(f"The size of region {self.name!r}", *self.size_m)
        if not self.outline_m:
            return
        require_finite(
            f"The outline of region {self.name!r}", *(value for corner in self.outline_m for value in corner)
        )
        if not polygons.is_simple(self.outline_m):
            raise SceneError(
                f"The outline of region {self.name!r} must be a simple polygon.",
                value=self.outline_m,
                remedy="Give three or more corners in order, whose edges do not cross.",
            )
        if any(abs(x) > self.size_m[0] / 2 + 1e-9 or abs(y) > self.size_m[1] / 2 + 1e-9 for x, y in self.outline_m):
            raise SceneError(f"The outline of region {self.name!r} must lie within its size.", value=self.size_m)

    @staticmethod
    def on_ground(
        name: str,
        outline_m: Sequence[Corner],
        *,
        kind: RegionKind,
        heights_m: tuple[float, float],
    ) -> "Region":
        """Returns the upright region `name` over the polygon `outline_m` of world corners (x, y).

        It lies between `heights_m` (world z); `kind` is its kind.
        """
        if not polygons.is_simple(outline_m) or not heights_m[0] < heights_m[1]:
            raise SceneError(
                f"Region {name!r} must stand on a simple polygon, between two rising heights.",
                value=(outline_m, heights_m),
            )
        low, high = np.min(outline_m, axis=0), np.max(outline_m, axis=0)
        (x, y), (length, width) = ((low + high) / 2).tolist(), (high - low).tolist()
        local = tuple((float(corner[0]) - x, float(corner[1]) - y) for corner in outline_m)
        middle, height = (heights_m[0] + heights_m[1]) / 2, heights_m[1] - heights_m[0]
        return Region(name, Pose((x, y, middle)), (length, width, height), kind, local)

    def holds(self, point_m: Sequence[float]) -> bool:
        """Returns whether the world point (x, y, z) lies in the region."""
        x, y, z = (rotation_matrix(self.pose.orientation).T @ np.subtract(point_m, self.pose.position_m)).tolist()
        inside = abs(x) <= self.size_m[0] / 2 and abs(y) <= self.size_m[1] / 2 and abs(z) <= self.size_m[2] / 2
        return inside and (not self.outline_m or polygons.holds(self.outline_m, x, y))
