"""Intents of robots, the commands that their motors receive, and how an intent ends.

While two grippers of one robot hold the same body, an intent that would move one arm alone fails before it moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from embodied.geometry import Quaternion, Vector3
from embodied.specs import ActionSpec


@dataclass(frozen=True)
class MoveTo:
    """Bring the tool to a pose in the world frame, then open or close the gripper: one keyframe.

    The tool frame lies between the finger tips: z along the approach, y along the direction in which they open.
    `end_effector` names the one that is moved, "" for the only one of the robot.
    """

    position_m: Vector3
    orientation: Quaternion
    gripper_open: bool
    avoid_collisions: bool = True
    end_effector: str = ""


@dataclass(frozen=True)
class DeltaPose:
    """Shift the tool by `translation_m` and turn it by `rotation` (axis-angle, radians), both in the world frame.

    `end_effector` names the one that is moved, "" for the only one of the robot.
    """

    translation_m: Vector3
    rotation: Vector3
    gripper_open: bool
    end_effector: str = ""


@dataclass(frozen=True)
class Drive:
    """Hold a base velocity for a while: forward in m/s, counter-clockwise in rad/s.

    `lateral_mps` is to the left, for holonomic bases alone.
    """

    linear_mps: float
    angular_radps: float
    duration_s: float
    lateral_mps: float = 0.0


@dataclass(frozen=True)
class GoTo:
    """Bring the base to (x, y) in the world frame, facing `yaw_rad` where one is given."""

    position_m: tuple[float, float]
    yaw_rad: float | None = None


@dataclass(frozen=True)
class Skill:
    """Run a named skill of the robot with JSON-like arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """Hold still."""

    duration_s: float


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """Consecutive actions of a rated space: `values` (rows, `space.size`), one row per period of `space.rate_hz`.

    The rate divides the control rate; controllers interpolate between rows, so the duration of a chunk is exact.
    """

    space: ActionSpec
    values: np.ndarray


Intent = MoveTo | DeltaPose | Drive | GoTo | Skill | Wait | ActionChunk


@dataclass(frozen=True, eq=False)
class Command:
    """The command of one robot's motors for one control period; None leaves that part unchanged.

    `joint_position_rad` holds the targets (J,) of all arms, or those of some arms by the names of their end effectors;
    `gripper` the opening in [0, 1] of the only gripper, or openings by end effector; `base_velocity` forward m/s and
    counter-clockwise rad/s (2,), of a holonomic base forward, to the left, and counter-clockwise (3,). `release_error`
    (world x in m, y in m, yaw in rad) by end effector displaces a free body that is released in this period; the loop
    adds it, controllers never do.
    """

    joint_position_rad: np.ndarray | Mapping[str, np.ndarray] | None = None
    gripper: float | Mapping[str, float] | None = None
    base_velocity: np.ndarray | None = None
    release_error: Mapping[str, tuple[float, float, float]] | None = None


class ControllerStatus(StrEnum):
    """How a controller ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class ControllerReport:
    """The end of an intent; `reason` says why it failed, in words."""

    status: ControllerStatus
    reason: str = ""


@dataclass(frozen=True)
class IntentFeedback:
    """How the last intent of a robot ended, as its policy and a dispatcher see it.

    `intent` is the intent's type name, such as `MoveTo`; `reason` says in words why it failed or was cancelled.
    """

    intent: str
    status: ControllerStatus
    reason: str = ""
