"""When a robot is where on its path: minimum jerk, within speed limits."""

import itertools

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.controllers.settings import SpeedLimits
from embodied.robots.kinematics import Kinematics

PEAK_OVER_MEAN = 1.875  # Largest speed of a minimum-jerk profile over its mean speed.


def timed_path(moving: Kinematics, waypoints_rad: np.ndarray, limits: SpeedLimits, period_s: float) -> np.ndarray:
    """Returns joint targets (T, J), one per control period, that run along `waypoints_rad` (N, J) to its last row.

    `moving` computes the tool's motion, `limits` bounds the speeds, `period_s` is the control period. All joints follow
    one minimum-jerk profile over the whole path, in which every segment takes as long as its slowest joint or the tool
    needs. Source of the profile: T. Flash and N. Hogan, J. Neuroscience 5(7), 1985.
    """
    tools = [moving.tool_transform(joints) for joints in waypoints_rad]
    shift = np.array([np.linalg.norm(b.translation - a.translation) for a, b in itertools.pairwise(tools)])
    turn = np.array([np.linalg.norm(pin.log3(a.rotation.T @ b.rotation)) for a, b in itertools.pairwise(tools)])
    joints = (np.abs(np.diff(waypoints_rad, axis=0)) / limits.joint_radps).max(axis=1)
    needed = np.maximum.reduce([joints, shift / limits.tool_mps, turn / limits.tool_radps])
    reached_s = np.concatenate([[0.0], np.cumsum(needed)])
    duration_s = PEAK_OVER_MEAN * reached_s[-1]
    count = max(1, int(np.ceil(duration_s / period_s - 1e-9)))
    progress = minimum_jerk(np.arange(1, count + 1) / count) * reached_s[-1]
    return np.stack([np.interp(progress, reached_s, column) for column in waypoints_rad.T], axis=1)


def minimum_jerk(time: np.ndarray) -> np.ndarray:
    """Returns the share of the way covered at `time` in [0, 1]: at rest, without acceleration, at both ends."""
    return time**3 * (10.0 - 15.0 * time + 6.0 * time**2)
