"""The extents of things that were seen with a size, and whether a point is in or on them."""

from dataclasses import dataclass

from embodied.geometry import Pose, Vector3, inside_box

MARGIN_M = 0.1  # Contents of a box may lie this far outside it, since poses have errors and things protrude.


@dataclass(frozen=True)
class Extent:
    """Edges of `size_m` along the axes of a pose that is their centre; `guessed` where the pose is only a guess."""

    pose: Pose
    size_m: Vector3
    guessed: bool

    def holds(self, point_m: Vector3, *, above: bool, margin_m: float = MARGIN_M) -> bool:
        """Returns whether `point_m` of the site lies in the box, grown by `margin_m`, or with `above` over it."""
        x, y, z = point_m
        _, _, centre_z = self.pose.position_m
        point_m = (x, y, min(z, centre_z) if above else z)
        return inside_box(point_m, self.pose, [edge + 2 * margin_m for edge in self.size_m])
