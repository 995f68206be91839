"""The predicates of FindingDory: whether a base at a pose is at an object, at a receptacle, or in a room.

Thresholds are those of the benchmark's domain file: within 2 m of an object or 0.1 m of a viewpoint by the way that the
base takes, a heading error of at most 45 degrees to an object or 90 to a receptacle, and 0.1 % of the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embodied.errors import unknown_name
from embodied.geometry import Pose
from embodied.tasks.findingdory.home_map import HomeMap

OBJECT_REACH_M, VIEWPOINT_REACH_M = 2.0, 0.1
OBJECT_HEADING_RAD, RECEPTACLE_HEADING_RAD = float(np.radians(45.0)), float(np.radians(90.0))
LEAST_SHARE = 0.001
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Tests:
    """The tests of one predicate at one pose: near enough, turned to it, enough of it in the image."""

    distance: bool
    angle: bool
    coverage: bool

    @property
    def holds(self) -> bool:
        """Whether the predicate is true."""
        return self.distance and self.angle and self.coverage

    @property
    def holds_without_coverage(self) -> bool:
        """Whether it is true for DTG-SR, which drops the coverage test."""
        return self.distance and self.angle

    @property
    def holds_without_distance(self) -> bool:
        """Whether it is true for SC-SR, which drops the distance test."""
        return self.angle and self.coverage


class Predicates:
    """Tests poses of the base in the home of `home_map` while objects lie at `object_poses` (world), by name.

    A pose is (x, y, yaw), metres and radians. Shares are those of the image of the robot's camera at that pose that
    things cover, by name; what is missing is not seen. A pose that is not free is near nothing.
    """

    def __init__(self, home_map: HomeMap, object_poses: Mapping[str, Pose]) -> None:
        self._map = home_map
        self._object_poses = object_poses
        self._standing = {name: home_map.standing_point(pose) for name, pose in object_poses.items()}
        self._receptacles = {one.name: one for one in home_map.house.receptacles}
        self._rooms = {room.name: number for number, room in enumerate(home_map.house.rooms)}

    def at_object(self, name: str, pose: np.ndarray, shares: Mapping[str, float]) -> Tests:
        """Returns the tests of O(x), "robot_at_object", for the object `name` at `pose`, where the image has `shares`.

        Raises `UnknownNameError`.
        """
        if name not in self._object_poses:
            raise unknown_name("object", name, self._object_poses)
        at, point = self._object_poses[name].position_m, self._standing[name]
        near = point is not None and np.hypot(point[0] - pose[0], point[1] - pose[1]) <= OBJECT_REACH_M + _ROUNDING
        if near and point is not None:
            near = self._map.floor.distances_m(pose, [point])[0] <= OBJECT_REACH_M + _ROUNDING
        angle = heading_error_rad(pose, at) <= OBJECT_HEADING_RAD + _ROUNDING
        return Tests(bool(near), angle, shares.get(name, 0.0) >= LEAST_SHARE)

    def at_receptacle(self, name: str, pose: np.ndarray, shares: Mapping[str, float]) -> Tests:
        """Returns the tests of R(x), "robot_at_receptacle", for the receptacle `name`, as `at_object` at `pose`.

        Of several surfaces the one that the base is turned to most counts; `shares` are those of the image.
        """
        if name not in self._receptacles:
            raise unknown_name("receptacle", name, self._receptacles)
        surfaces = self._receptacles[name].surfaces
        error = min(heading_error_rad(pose, surface.pose.position_m) for surface in surfaces)
        angle = error <= RECEPTACLE_HEADING_RAD + _ROUNDING
        return Tests(self.near_receptacle(name, pose), angle, shares.get(name, 0.0) >= LEAST_SHARE)

    def near_receptacle(self, name: str, pose: np.ndarray) -> bool:
        """Returns the test of the distance of `at_receptacle`."""
        points = self._map.viewpoints[name]
        points = points[np.hypot(*(points - pose[:2]).T) <= VIEWPOINT_REACH_M + _ROUNDING]
        if not len(points) or not self._map.floor.contains(pose):
            return False
        return min(self._map.floor.distances_m(pose, list(points))) <= VIEWPOINT_REACH_M + _ROUNDING

    def in_room(self, name: str, pose: np.ndarray) -> bool:
        """Returns whether G(x), "robot_in_room", is true: the base is in the room `name`. Raises `UnknownNameError`."""
        if name not in self._rooms:
            raise unknown_name("room", name, self._rooms)
        return self._map.room_at(pose) == self._rooms[name]


def heading_error_rad(pose: np.ndarray, point_m: tuple[float, ...]) -> float:
    """Returns the angle in [0, pi] between the heading of `pose` (x, y, yaw) and the direction to a point (x, y)."""
    wanted = np.arctan2(point_m[1] - pose[1], point_m[0] - pose[0])
    return abs(float((wanted - pose[2] + np.pi) % (2 * np.pi) - np.pi))
