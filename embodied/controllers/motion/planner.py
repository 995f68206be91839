"""Joint paths to a tool pose: a straight line of the tool, a straight line of the joints, or a search (OMPL)."""

import itertools
from dataclasses import dataclass

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.controllers.motion.collision_world import CollisionWorld
from embodied.controllers.motion.search import search_path
from embodied.controllers.settings import PlannerConfig
from embodied.robots.kinematics import Kinematics

PLANNER_SEED_LIMIT = 2**32 - 1


@dataclass(frozen=True, eq=False)
class Plan:
    """Waypoints (N, J) in rad from start to goal, how they were found (`line`, `joints`, `search`), or why not."""

    waypoints_rad: np.ndarray | None
    method: str = ""
    reason: str = ""


class Planner:
    """Plans one robot's moves. Where the target is free, the goal posture never depends on where the arm was before."""

    def __init__(self, moving: Kinematics, config: PlannerConfig) -> None:
        self._moving = moving
        self._config = config

    def plan(self, start_rad: np.ndarray, target: pin.SE3, world: CollisionWorld | None, *, seed: int) -> Plan:
        """Returns a path from `start_rad` (J,) to the tool pose `target` in the base frame.

        None for `world` ignores collisions. `seed` only matters where a search is needed.
        """
        start = np.clip(start_rad, self._moving.lower_rad, self._moving.upper_rad)
        start_gaps = None if world is None else world.distances(start)
        if world is not None and start_gaps is not None:
            world.set_margins(np.minimum(-self._config.goal_overlap_m, start_gaps - self._config.contact_slack_m))
        goal, reason = self._goal(target, world)
        if goal is None:
            return Plan(None, reason=reason)
        if world is None or start_gaps is None:
            line = self._tool_line(start, goal, target)
            return Plan(self._direct(start, goal), "joints") if line is None else Plan(line, "line")
        nearest = np.minimum(start_gaps, world.distances(goal)) - self._config.contact_slack_m
        return self._plan_clear((start, goal), target, world, nearest_m=nearest, seed=seed)

    def _plan_clear(
        self,
        ends: tuple[np.ndarray, np.ndarray],
        target: pin.SE3,
        world: CollisionWorld,
        *,
        nearest_m: np.ndarray,
        seed: int,
    ) -> Plan:
        world.set_margins(np.minimum(self._config.clearance_m, nearest_m))
        line, direct = self._tool_line(*ends, target), self._direct(*ends)
        for waypoints, method in ((line, "line"), (direct, "joints")):
            if waypoints is not None and _all_free(waypoints, world):
                return Plan(waypoints, method)
        blocker = next(filter(None, (world.deepest_collision(joints) for joints in direct)))
        bounds = (self._moving.lower_rad, self._moving.upper_rad)
        for attempt in range(self._config.search_attempts):
            world.set_margins(np.minimum(self._config.clearance_m, nearest_m))
            path = search_path(ends, bounds, world.free, self._config, (seed + attempt) % PLANNER_SEED_LIMIT + 1)
            if path is not None:
                # The search looks at discrete points; between them a path may come a little nearer.
                world.set_margins(np.minimum(self._config.clearance_m / 2, nearest_m))
                dense = resample(path, self._config.joint_step_rad)
                if _all_free(dense, world):
                    return Plan(dense, "search")
        tried = f"{self._config.search_attempts} searches of {self._config.search_iterations} iterations"
        return Plan(None, reason=f"no path: {tried} found no way around {blocker}")

    def _direct(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        return resample(np.stack([start, goal]), self._config.joint_step_rad)

    def _goal(self, target: pin.SE3, world: CollisionWorld | None) -> tuple[np.ndarray | None, str]:
        nearest, collision = np.inf, ""
        for joints, remaining in self._moving.solutions(target):
            nearest = min(nearest, remaining)
            if remaining == 0.0:
                hit = "" if world is None else world.deepest_collision(joints)
                if not hit:
                    return joints, ""
                collision = collision or hit
        if collision:
            return None, f"goal in collision: {collision}"
        place = np.round(target.translation, 3).tolist()
        return None, f"unreachable: no joint angles bring the tool to {place} m from the base in this orientation"

    def _tool_line(self, start: np.ndarray, goal: np.ndarray, target: pin.SE3) -> np.ndarray | None:
        """Returns joints along the tool's straight line from `start` to `goal`, or None where they leave it or jump."""
        begin = self._moving.tool_transform(start)
        turn = pin.log3(begin.rotation.T @ target.rotation)
        shift = target.translation - begin.translation
        steps = max(
            np.linalg.norm(shift) / self._config.line_step_m,
            np.linalg.norm(turn) / self._config.line_step_rad,
            np.abs(goal - start).max() / self._config.longest_jump_rad,
            1.0,
        )
        line = [start]
        for share in np.linspace(0.0, 1.0, int(np.ceil(steps)) + 1)[1:-1]:
            pose = pin.SE3(begin.rotation @ pin.exp3(share * turn), begin.translation + share * shift)
            joints, remaining = self._moving.solve_near(pose, start + share * (goal - start))
            if remaining > 0.0:
                return None
            line.append(joints)
        waypoints = np.array([*line, goal])
        if np.abs(np.diff(waypoints, axis=0)).max() > self._config.longest_jump_rad:
            return None
        return waypoints


def resample(waypoints_rad: np.ndarray, step_rad: float) -> np.ndarray:
    """Returns the same polyline (M, J) with no joint moving more than `step_rad` between neighbours."""
    pieces = [waypoints_rad[:1]]
    for a, b in itertools.pairwise(waypoints_rad):
        count = max(1, int(np.ceil(np.abs(b - a).max() / step_rad)))
        pieces.append(a + (b - a) * np.linspace(0.0, 1.0, count + 1)[1:, None])
    return np.concatenate(pieces)


def _all_free(waypoints_rad: np.ndarray, world: CollisionWorld) -> bool:
    return all(world.free(joints) for joints in waypoints_rad[1:])
