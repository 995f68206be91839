"""Reads the true state from PyBullet; fixed bodies cost nothing, and bodies at rest one call a period."""

from collections.abc import Mapping
from typing import Any

from embodied.errors import SceneError, SimulationError
from embodied.geometry import Pose
from embodied.scenes.changes import BodyAttributes
from embodied.scenes.joints import movable_bodies
from embodied.scenes.scene import Scene
from embodied.simulators.bullet.bodies import BodyHandle, links_by_body
from embodied.simulators.bullet.mechanisms import Mechanisms
from embodied.simulators.bullet.robot import BulletRobot
from embodied.types import RobotState, WorldState, held_bodies

FARTHEST_M = 100.0  # A body beyond this has left the world by a numerical instability.
RawPose = tuple[tuple[float, float, float], tuple[float, float, float, float]]


class StateReader:
    """Reads the states of one scene as it was built.

    A body that is fixed to the world is read until two readings agree: the first physics step can round it once more.
    """

    def __init__(
        self,
        bullet: Any,
        scene: Scene,
        handles: Mapping[str, BodyHandle],
        robots: Mapping[str, BulletRobot],
        mechanisms: Mechanisms,
    ) -> None:
        self._bullet = bullet
        self._robots = robots
        self._mechanisms = mechanisms
        movable = movable_bodies(scene)
        moving = {name: handle for name, handle in handles.items() if name in movable}
        self._moving = list(moving)
        self._free = [(name, handle.uid) for name, handle in moving.items() if handle.link < 0]
        self._linked = links_by_body(moving)
        self._all_fixed = {name: handle for name, handle in handles.items() if name not in movable}
        self._fixed = dict(self._all_fixed)
        self._names = {(handle.uid, handle.link): name for name, handle in handles.items()}
        self._names |= {(robot.uid, link): name for name, robot in robots.items() for link in robot.links.values()}
        self._pairs: dict[tuple[int, int, int, int], tuple[str, str]] = {}
        self._raw: dict[str, RawPose] = {}
        self._poses = {name: Pose(*self._raw_pose(handle)) for name, handle in handles.items()}

    def recheck(self) -> None:
        """Reads fixed bodies again from the next time on: they were put elsewhere."""
        self._fixed = dict(self._all_fixed)

    def read(self, time_s: float, holding: Mapping[tuple[str, str], str], attributes: BodyAttributes) -> WorldState:
        """Returns the state at `time_s`; `holding` names the held bodies by robot and end effector, where one is held.

        `attributes` are the present colours and properties. Raises `SimulationError` where a pose is not finite, or
        farther out than 100 m.
        """
        try:
            poses = self._read_poses()
            robots = {name: robot.state(holding) for name, robot in self._robots.items()}
        except SceneError as error:  # A pose that is not finite.
            raise SimulationError("All poses must stay finite.", remedy="Reset the simulator.") from error
        self._require_near(poses, robots)
        return WorldState(
            time_s=time_s,
            pose=poses,
            joint=self._mechanisms.positions(),
            contact=self._contacts(holding),
            held=held_bodies(robots),
            robots=robots,
            properties=attributes.properties,
            colours=attributes.colours,
        )

    def _read_poses(self) -> dict[str, Pose]:
        """Returns the poses in scene order; a body that has not moved since the last period keeps its `Pose`."""
        poses, raw, where = self._poses.copy(), self._raw, self._bullet.getBasePositionAndOrientation
        for name, handle in list(self._fixed.items()):
            now = self._raw_pose(handle)
            if raw.get(name) == now:
                del self._fixed[name]
            raw[name], poses[name] = now, Pose(*now)
        for name, uid in self._free:
            now = where(uid)
            if raw.get(name) != now:
                raw[name], poses[name] = now, Pose(*now)
        for uid, (names, links) in self._linked.items():
            for name, state in zip(names, self._bullet.getLinkStates(uid, links, 0, 1), strict=True):
                now = (state[4], state[5])
                if raw.get(name) != now:
                    raw[name], poses[name] = now, Pose(*now)
        self._poses = poses
        return poses

    def _raw_pose(self, handle: BodyHandle) -> RawPose:
        if handle.link < 0:
            return self._bullet.getBasePositionAndOrientation(handle.uid)
        return self._bullet.getLinkState(handle.uid, handle.link, computeForwardKinematics=1)[4:6]

    def _require_near(self, poses: Mapping[str, Pose], robots: Mapping[str, RobotState]) -> None:
        moving = [(name, poses[name]) for name in self._moving]
        for name, pose in (*moving, *((name, robot.base) for name, robot in robots.items())):
            x, y, z = pose.position_m
            if not (
                -FARTHEST_M <= x <= FARTHEST_M and -FARTHEST_M <= y <= FARTHEST_M and -FARTHEST_M <= z <= FARTHEST_M
            ):
                raise SimulationError(
                    f"{name!r} must stay within {FARTHEST_M:.0f} m.",
                    value=pose.position_m,
                    remedy="Reset the simulator.",
                )

    def _contacts(self, holding: Mapping[tuple[str, str], str]) -> frozenset[tuple[str, str]]:
        pairs = {_sorted_pair(robot, body) for (robot, _), body in holding.items()}
        for point in self._bullet.getContactPoints():
            if point[8] <= 0.0:  # 8: distance, m; positive where bodies are only near
                pairs.add(self._pair(point[1:5]))
        return frozenset(pairs)

    def _pair(self, key: tuple[int, int, int, int]) -> tuple[str, str]:
        """Returns the names of (first body, second body, first link, second link), sorted."""
        if key not in self._pairs:
            first, second, first_link, second_link = key
            self._pairs[key] = _sorted_pair(self._names[first, first_link], self._names[second, second_link])
        return self._pairs[key]


def _sorted_pair(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first <= second else (second, first)
