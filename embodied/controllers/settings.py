"""The settings of control, as plain values for handlers and planners."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embodied.errors import ConfigError
from embodied.robots.robot import Arm


@dataclass(kw_only=True)
class PlannerConfig:
    """Settings of path planning; lengths in metres, angles in radians.

    `clearance_m` is kept on the way (half of it between the points that a search looks at), except where the start or
    the goal is nearer. Contacts of the start may last,
    but deepen by at most `contact_slack_m`; the goal may overlap by `goal_overlap_m`, so that things can be set down.
    """

    line_step_m: float = 0.02
    line_step_rad: float = 0.05
    joint_step_rad: float = 0.05
    longest_jump_rad: float = 0.35
    clearance_m: float = 0.005
    contact_slack_m: float = 0.003
    goal_overlap_m: float = 0.002
    search_iterations: int = 1000
    search_attempts: int = 3
    search_range_rad: float = 0.6


@dataclass(kw_only=True)
class ArrivalConfig:
    """When a move counts as ended: radians, metres, seconds, opening of the gripper in [0, 1].

    The move has arrived once every joint is within `joint_tolerance_rad` of its goal. If contact holds the arm back
    until it stands still, it is done within `tool_tolerance_m` and `tool_tolerance_rad`, and has failed otherwise.
    On wheels, which give way, a move that ends more than `correction_m` off is planned anew up to `corrections` times.
    """

    joint_tolerance_rad: float = 0.005
    still_radps: float = 0.02
    still_periods: int = 3
    settle_limit_s: float = 1.0
    tool_tolerance_m: float = 0.02
    tool_tolerance_rad: float = 0.2
    correction_m: float = 0.003
    corrections: int = 3
    gripper_still: float = 0.004
    gripper_limit_s: float = 0.6


@dataclass(kw_only=True)
class ControllerSettings:
    """How one robot moves: joint speed as a share of its limit, tool speed in m/s and rad/s.

    A `DeltaPose` may shift the tool by `longest_step_m` and turn it by `largest_step_rad` at most.

    Attributes:
        velocity_scale: joint speed as a share of its limit, at most 1
        tool_speed_mps: the most that the tool moves, in m/s
        tool_turn_radps: the most that the tool turns, in rad/s
        longest_step_m: the most that one DeltaPose may shift the tool
        largest_step_rad: the most that one DeltaPose may turn the tool
    """

    velocity_scale: float = 0.8
    tool_speed_mps: float = 0.7
    tool_turn_radps: float = 2.5
    longest_step_m: float = 0.05
    largest_step_rad: float = 0.2
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    arrival: ArrivalConfig = field(default_factory=ArrivalConfig)

    def check(self) -> None:
        """Raises `ConfigError` for settings that are not finite and positive, and for a `velocity_scale` above 1."""
        for part in (self, self.planner, self.arrival):
            _check_positive(part)
        if self.velocity_scale > 1.0:
            raise ConfigError("`velocity_scale` must lie in (0, 1].", value=self.velocity_scale)

    def speed_limits(self, arm: Arm) -> SpeedLimits:
        """Returns the speeds that no instant of a move of `arm` may exceed."""
        return SpeedLimits(
            np.array(arm.velocity_limit_radps) * self.velocity_scale, self.tool_speed_mps, self.tool_turn_radps
        )


@dataclass(frozen=True)
class SpeedLimits:
    """The speed limits of a move at every instant: each joint in rad/s (J,), the tool in m/s and rad/s."""

    joint_radps: np.ndarray
    tool_mps: float
    tool_radps: float


def _check_positive(config: object) -> None:
    for name, value in vars(config).items():
        if isinstance(value, int | float) and not (np.isfinite(value) and value > 0):
            raise ConfigError(f"`{name}` of {type(config).__name__} must be finite and positive.", value=value)
