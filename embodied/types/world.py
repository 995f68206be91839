"""What is true in the world. Privileged: only tasks, experts and judges read it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embodied.geometry import Pose


@dataclass(frozen=True, eq=False)
class RobotState:
    """One robot, privileged. `joint_position_rad` and `joint_velocity_radps` (J,) of the arm, J = 0 without one.

    `tool` is the pose of the tool frame in the world, None without an arm; `gripper` the opening in [0, 1].
    """

    joint_position_rad: np.ndarray
    joint_velocity_radps: np.ndarray
    tool: Pose | None
    gripper: float
    base: Pose


@dataclass(frozen=True, eq=False)
class WorldState:
    """Everything that is true now. Privileged: it never leaves the worker, and only tasks and experts read it.

    `pose` by body name; `joint` by scene joint name, m or rad; `contact` pairs of body or robot names, sorted within
    the pair; `held` by robot name: the grasped body or None.
    """

    time_s: float
    pose: Mapping[str, Pose]
    joint: Mapping[str, float]
    contact: frozenset[tuple[str, str]]
    held: Mapping[str, str | None]
    robots: Mapping[str, RobotState]
