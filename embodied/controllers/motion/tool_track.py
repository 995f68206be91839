"""Joint targets that carry a tool through given poses, one solution of the inverse kinematics per control period."""

from collections.abc import Sequence

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.geometry import Pose
from embodied.robots.kinematics import Kinematics, transform_from_pose
from embodied.robots.robot import Arm

SPEED_SLACK = 1e-6


class InfeasibleRowError(Exception):
    """A row of a chunk cannot be carried out; the message says which and why."""


class ToolTrack:
    """Follows tool poses in the world frame from where the arm was commanded, `start_rad` (J,), on a base at `base`.

    Every row takes `periods` control periods: positions on straight lines, orientations about a fixed axis. Each
    solution starts from the one before. `poses` are the tool poses in the world at the end of each period.
    """

    def __init__(self, moving: Kinematics, base: Pose, start_rad: np.ndarray, periods: int) -> None:
        self._moving = moving
        self._world_from_base = transform_from_pose(base)
        self._joints = start_rad
        self._tool = self._world_from_base * moving.tool_transform(start_rad)
        self._periods = periods
        self.poses: list[pin.SE3] = []

    def follow(self, positions_m: np.ndarray, rotations: Sequence[np.ndarray]) -> np.ndarray:
        """Returns joint targets (N * periods, J) through N `positions_m` (N, 3) and `rotations` (3, 3).

        Raises `InfeasibleRowError` naming the first row without a solution.
        """
        path: list[np.ndarray] = []
        for row, (position, rotation) in enumerate(zip(positions_m, rotations, strict=True)):
            path += self._row(row, pin.SE3(rotation, position))
        return np.array(path)

    def follow_steps(self, shifts_m: np.ndarray, turns_rad: np.ndarray) -> np.ndarray:
        """Returns joint targets (N * periods, J) for N steps in the world frame, each from where the last one ended.

        `shifts_m` and axis-angle `turns_rad` are (N, 3). Raises `InfeasibleRowError`.
        """
        path: list[np.ndarray] = []
        for row, (shift, turn) in enumerate(zip(shifts_m, turns_rad, strict=True)):
            path += self._row(row, pin.SE3(pin.exp3(turn) @ self._tool.rotation, self._tool.translation + shift))
        return np.array(path)

    def _row(self, row: int, target: pin.SE3) -> list[np.ndarray]:
        begin, joints = self._tool, []
        shift = target.translation - begin.translation
        turn = pin.log3(begin.rotation.T @ target.rotation)
        for period in range(1, self._periods + 1):
            share = period / self._periods
            pose = pin.SE3(begin.rotation @ pin.exp3(share * turn), begin.translation + share * shift)
            found, remaining = self._moving.solve_near(self._world_from_base.actInv(pose), self._joints)
            if remaining > 0.0:
                raise InfeasibleRowError(f"unreachable: row {row} ends {remaining * 1000:.0f} mm (or mrad) short")
            self._joints = found
            joints.append(found)
            self.poses.append(pose)
        self._tool = target
        return joints


class MovingBaseTrack:
    """Keeps a tool on its `poses` in the world while its base rolls or gives way, one solution per control period.

    The tool is off by what the base moves within one period, and exact again once the base rests. (To expect the base
    to go on as it last moved would do worse: the arm's own reaction shakes the base.)
    """

    def __init__(self, moving: Kinematics, poses: Sequence[pin.SE3], start_rad: np.ndarray, *, period_s: float) -> None:
        self._moving = moving
        self._poses = poses
        self._joints = start_rad
        self._longest_rad = np.array(moving.arm.velocity_limit_radps) * period_s

    def joints(self, period: int, base: Pose) -> np.ndarray:
        """Returns the joint targets (J,) of `period`, which begins with the base at `base`; no joint exceeds its speed.

        Called for one period after another. Raises `InfeasibleRowError` where the base has left the pose out of reach.
        """
        target = transform_from_pose(base).actInv(self._poses[period])
        found, remaining = self._moving.solve_near(target, self._joints)
        if remaining > 0.0:
            raise InfeasibleRowError(
                f"unreachable since the base has moved: the tool ends {remaining * 1000:.0f} mm (or mrad) short"
            )
        self._joints = self._joints + np.clip(found - self._joints, -self._longest_rad, self._longest_rad)
        return self._joints


def require_speed(arm: Arm, path_rad: np.ndarray, period_s: float, periods: int) -> None:
    """Raises `InfeasibleRowError` where a joint of `path_rad` (N + 1, J), one row a period, exceeds its full speed.

    `arm` has the limits; a row takes `period_s`. Every `periods` of them belong to one row of a chunk, which the error
    names.
    """
    speed = np.abs(np.diff(path_rad, axis=0)) / period_s
    over = speed > np.array(arm.velocity_limit_radps) * (1 + SPEED_SLACK)
    if over.any():
        period, joint = (int(index) for index in np.argwhere(over)[0])
        raise InfeasibleRowError(
            f"too fast: row {period // periods} asks {arm.joints[joint]!r} for {speed[period, joint]:.2f} rad/s; "
            f"its limit is {arm.velocity_limit_radps[joint]:.2f}"
        )
