"""The oracle agent: it drives to viewpoints, looks at things, and picks and places them kinematically."""

from collections.abc import Iterator

import numpy as np

from embodied.geometry import Pose
from embodied.scenes.distance_field import DistanceField
from embodied.scenes.house import ROBOT
from embodied.tasks.findingdory.day import carried_pose
from embodied.tasks.findingdory.home_map import EYE_M, HomeMap
from embodied.tasks.findingdory.oracle.follower import Follower, heading_towards
from embodied.tasks.findingdory.predicates import LEAST_SHARE, Predicates
from embodied.tasks.findingdory.steps import MANIPULATE, NAVIGATE, START, TURN_RAD
from embodied.tasks.findingdory.viewing import HomeView

SURE_SHARE = 1.5 * LEAST_SHARE  # What a thing must cover where it is looked at, so that rounding does not matter.
ARRIVED_M = 0.12
LOOKS = 8  # Viewpoints that are tried by rendering from them, and then by driving to them:
DRIVES = 3
_STEEPEST_RAD, _FLATTEST_RAD, _BEST_RAD = np.radians([51.0, 7.0, 32.0])


class OracleAgent:
    """Lives in the home of `home_map`, in which a room may be closed, and sees it through `view`.

    `poses`, `modes`, `actions` and `held` grow by one row a step; `object_poses` are the present ones.
    """

    def __init__(self, home_map: HomeMap, view: HomeView, heading: int) -> None:
        self.home_map = home_map
        self.view = view
        house = home_map.house
        self._number = {one.name: index for index, one in enumerate(house.objects)}
        self._predicates = Predicates(home_map, {})
        self.object_poses: dict[str, Pose] = {
            body.name: body.pose for body in house.scene.bodies if body.name in self._number
        }
        self.poses: list[np.ndarray] = []
        self.modes: list[int] = []
        self.actions: list[int] = []
        self.held: list[int] = []
        self.carried = ""
        self._mode = NAVIGATE
        start = home_map.floor.snap(house.scene.robot(ROBOT).base.position_m, island=home_map.main)
        assert start is not None  # A home has a main part of the floor.
        self.follower = Follower(home_map.floor, start, heading, self._act)
        self._act(START)

    @property
    def steps(self) -> int:
        """The number of steps so far."""
        return len(self.poses)

    def stay(self, count: int, action: int, *, manipulates: bool) -> None:
        """Spends `count` steps of `action` at the same pose, in the mode of a robot that `manipulates` or drives."""
        self._mode = MANIPULATE if manipulates else NAVIGATE
        for _ in range(count):
            self._act(action)
        self._mode = NAVIGATE

    def drive(self, point_m: np.ndarray, *, within_m: float = ARRIVED_M) -> bool:
        """Drives to (x, y) or as near as steps of 0.25 m allow; returns whether it is `within_m` of it."""
        return self.follower.drive(self._field(point_m), within_m=within_m)

    def visit(self, receptacle: str, point_m: tuple[float, float, float], *, thing: str = "") -> bool:
        """Drives to a viewpoint of `receptacle` and turns to `point_m` on it; returns whether `thing` is then seen.

        `thing` is the receptacle itself unless given.
        """
        thing = thing or receptacle
        for point in self._viewpoints(receptacle, point_m, thing, self.object_poses):
            self.drive(point)
            self.follower.face(point_m)
            pose = self.follower.pose
            if self._predicates.near_receptacle(receptacle, pose) and self._sees(thing, pose, self.object_poses):
                return True
        return False

    def place_at(self, receptacle: str, pose: Pose) -> bool:
        """Drives to a viewpoint from which the carried object would be seen at `pose`; returns whether it is there."""
        wanted = {**self.object_poses, self.carried: pose}
        for point in self._viewpoints(receptacle, pose.position_m, self.carried, wanted):
            self.drive(point)
            self.follower.face(pose.position_m)
            here = self.follower.pose
            if self._predicates.near_receptacle(receptacle, here) and self._sees(self.carried, here, wanted):
                return True
        return False

    def take(self, name: str) -> None:
        """Holds the object `name` from the next step on."""
        self.carried = name

    def release(self, pose: Pose) -> None:
        """Leaves what is carried at `pose` from the next step on."""
        self.object_poses[self.carried] = pose
        self.carried = ""

    def _act(self, action: int) -> None:
        self.poses.append(self.follower.pose)
        self.modes.append(self._mode)
        self.actions.append(action)
        self.held.append(self._number[self.carried] if self.carried else -1)
        if self.carried:
            self.object_poses[self.carried] = carried_pose(self.follower.pose)

    def _field(self, point_m: np.ndarray) -> DistanceField:
        return self.home_map.floor.field(point_m)

    def _viewpoints(
        self, receptacle: str, point_m: tuple[float, float, float], thing: str, poses: dict[str, Pose]
    ) -> Iterator[np.ndarray]:
        """Yields up to three viewpoints from which `thing`, with objects at `poses`, is seen; the best ones first."""
        points = self.home_map.viewpoints[receptacle]
        gaps = np.linalg.norm(points - point_m[:2], axis=1)
        down = np.arctan2(EYE_M - point_m[2], gaps)
        likely = np.flatnonzero((down <= _STEEPEST_RAD) & (down >= _FLATTEST_RAD))
        # A radian off the best angle weighs as much as 5 m of way.
        cost = np.abs(down - _BEST_RAD) + 0.2 * np.linalg.norm(points - self.follower.at, axis=1)
        found: list[np.ndarray] = []
        for index in likely[np.argsort(cost[likely], kind="stable")].tolist()[: LOOKS * DRIVES]:
            if any(np.linalg.norm(points[index] - other) < 0.3 for other in found):
                continue
            heading = heading_towards(points[index], point_m)
            if self._sees(thing, np.array([*points[index], heading * TURN_RAD]), poses):
                found.append(points[index])
                yield points[index]
                if len(found) == DRIVES:
                    return

    def _sees(self, thing: str, pose: np.ndarray, poses: dict[str, Pose]) -> bool:
        return self.view.shares(pose, poses).get(thing, 0.0) >= SURE_SHARE
