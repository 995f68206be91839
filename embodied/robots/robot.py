"""What a robot is: its URDF, its joints by role, its gripper and its wheels."""

from dataclasses import dataclass, field

from embodied.geometry import Pose


@dataclass(frozen=True)
class Gripper:
    """Two fingers that open by `stroke_m` each, 0 closed; opening 1 is fully open."""

    joints: tuple[str, str]
    links: tuple[str, str]
    stroke_m: float
    force_n: float


@dataclass(frozen=True)
class DifferentialDrive:
    """Wheels of a base that turns by speed difference; the base frame's x points forward."""

    left_joints: tuple[str, ...]
    right_joints: tuple[str, ...]
    wheel_radius_m: float
    track_m: float
    linear_limit_mps: float
    angular_limit_radps: float
    wheel_torque_nm: float


@dataclass(frozen=True)
class Arm:
    """A serial chain. `tool_link` carries the tool frame at `tool_in_link`: z approach, y across the fingers.

    `reach_m` and `payload_kg` are those that its maker states, 0 where they are not known.
    """

    joints: tuple[str, ...]
    home_rad: tuple[float, ...]
    lower_rad: tuple[float, ...]
    upper_rad: tuple[float, ...]
    velocity_limit_radps: tuple[float, ...]
    effort_limit_nm: tuple[float, ...]
    tool_link: str
    tool_in_link: Pose
    reach_m: float = 0.0
    payload_kg: float = 0.0


@dataclass(frozen=True)
class RobotModel:
    """One embodiment; `assets.urdf_path` makes its URDF, `catalogue.robot_model` finds it by name."""

    name: str
    arm: Arm | None = None
    gripper: Gripper | None = None
    drive: DifferentialDrive | None = None
    capabilities: frozenset[str] = field(default_factory=frozenset)

    @property
    def fixed(self) -> bool:
        """Whether the base is bolted to the world."""
        return self.drive is None
