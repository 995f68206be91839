"""Descriptions of robots: the URDF, the arms with their end effectors, and the drive."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from embodied.errors import SpecError, unknown_name
from embodied.geometry import Pose, Vector3


@dataclass(frozen=True)
class Gripper:
    """Fingers that open by `stroke_m` each: opening 0 is closed, 1 fully open.

    `joints` are all joints that move with the fingers, mimic joints included. Their positions are `closed_at` and
    `open_at` (m or rad) at the ends, and linear in between. `links` are the fingers; an object is grasped when all of
    them touch it. `force_n` is the force of each finger; `tip_m` is how far closed fingers reach beyond the tool frame.
    """

    joints: tuple[str, ...]
    links: tuple[str, ...]
    stroke_m: float
    force_n: float
    closed_at: tuple[float, ...]
    open_at: tuple[float, ...]
    tip_m: float = 0.0

    def positions(self, opening: float) -> tuple[float, ...]:
        """Returns the positions of the joints at `opening` in [0, 1], in m or rad."""
        return tuple(
            closed + opening * (opened - closed) for closed, opened in zip(self.closed_at, self.open_at, strict=True)
        )

    def opening(self, positions: Sequence[float]) -> float:
        """Returns the opening in [0, 1] of fingers whose joints are at `positions` (m or rad)."""
        travelled = [
            position - closed if opened > closed else closed - position
            for position, closed, opened in zip(positions, self.closed_at, self.open_at, strict=True)
        ]
        return min(1.0, max(0.0, sum(travelled) / sum(self.travel)))

    @cached_property
    def travel(self) -> tuple[float, ...]:
        """How far each joint moves between closed and open, in m or rad."""
        return tuple(abs(opened - closed) for closed, opened in zip(self.closed_at, self.open_at, strict=True))

    @cached_property
    def per_metre(self) -> tuple[float, ...]:
        """How far each joint moves while a finger moves by a metre: m or rad per m."""
        return tuple(travel / self.stroke_m for travel in self.travel)


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

    @property
    def velocity_limits(self) -> tuple[float, ...]:
        """The limits of a base velocity: forward in m/s, turning in rad/s."""
        return (self.linear_limit_mps, self.angular_limit_radps)


@dataclass(frozen=True)
class HolonomicDrive:
    """A base that moves in any direction at any heading, such as one on Mecanum wheels; x points forward, y left.

    It is moved by a force of up to `force_n` and a torque of up to `torque_nm`, so that a wall can stop it.
    """

    linear_limit_mps: float
    lateral_limit_mps: float
    angular_limit_radps: float
    force_n: float
    torque_nm: float

    @property
    def velocity_limits(self) -> tuple[float, ...]:
        """The limits of a base velocity: forward and to the left in m/s, turning in rad/s."""
        return (self.linear_limit_mps, self.lateral_limit_mps, self.angular_limit_radps)


@dataclass(frozen=True)
class Arm:
    """A serial chain with one end effector, whose name is `name`.

    `tool_link` carries the tool frame at `tool_in_link`: z approach, y across the fingers. `gripper` is None for an end
    effector that cannot grasp. `urdf` is the public file of an arm of the catalogue; its links and joints, which the
    names here already include, are prefixed by `prefix`, and its root link stands upright at `mount_m` in the frame of
    the robot's base. An arm of a model file leaves these three empty: its files are in the robot's `source`. `reach_m`
    and `payload_kg` are the manufacturer's figures, 0 if unknown. `stow_rad` is a compact posture for driving, None if
    there is none.
    """

    name: str
    joints: tuple[str, ...]
    home_rad: tuple[float, ...]
    lower_rad: tuple[float, ...]
    upper_rad: tuple[float, ...]
    velocity_limit_radps: tuple[float, ...]
    effort_limit_nm: tuple[float, ...]
    tool_link: str
    tool_in_link: Pose
    gripper: Gripper | None = None
    urdf: str = ""
    prefix: str = ""
    mount_m: Vector3 = (0.0, 0.0, 0.0)
    reach_m: float = 0.0
    payload_kg: float = 0.0
    stow_rad: tuple[float, ...] | None = None


@dataclass(frozen=True)
class UrdfPart:
    """A URDF file below its robot's root; its own root link stands on the link `parent`, "" for the first part.

    It is mounted at `position_m` with the fixed-axis roll, pitch and yaw `rpy_rad`; `prefix` is put before the names of
    its links and joints.
    """

    file: str
    prefix: str = ""
    parent: str = ""
    position_m: Vector3 = (0.0, 0.0, 0.0)
    rpy_rad: Vector3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class UrdfSource:
    """The URDF files of a robot, joined in this order; all files and meshes lie below the folder `root`.

    `locked` joints are fixed at zero; `bounds` are limits (rad) of joints by name, also of continuous ones.
    """

    root: str
    parts: tuple[UrdfPart, ...]
    locked: tuple[str, ...] = ()
    bounds: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class RobotCamera:
    """A camera mounted on a robot, at `pose` in the frame of `link`, "" for its first tool frame: x right, z ahead."""

    name: str
    pose: Pose
    link: str = ""
    fov_y_rad: float = 1.0


@dataclass(frozen=True)
class RoundChassis:
    """An upright cylinder on wheels and casters, with a thin mast that reaches `mast_m` above the floor."""

    radius_m: float
    height_m: float
    mast_m: float


@dataclass(frozen=True)
class RobotModel:
    """One embodiment; `assets.urdf_path` makes its URDF, `catalogue.robot_model` finds it by name.

    Joint vectors (J,) of a robot hold the joints of all `arms` in this order. `pedestal_size_m` is the box that carries
    the arms of a robot without wheels, its bottom at the base frame; None where the arm stands on the base. `source`
    has the URDF files of a robot from a model file, None for a robot of the catalogue, and `files_sha256` identifies
    these files and their meshes. `cameras` are mounted on the robot. `chassis` is that of a catalogue robot on wheels,
    None for the usual box.
    """

    name: str
    arms: tuple[Arm, ...] = ()
    drive: DifferentialDrive | HolonomicDrive | None = None
    pedestal_size_m: Vector3 | None = None
    source: UrdfSource | None = None
    cameras: tuple[RobotCamera, ...] = ()
    files_sha256: str = ""
    chassis: RoundChassis | None = None

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or "" in names:
            raise SpecError(f"The end effectors of {self.name!r} must have different names.", value=names)

    @property
    def fixed(self) -> bool:
        """Whether the base is bolted to the world."""
        return self.drive is None

    @property
    def arm(self) -> Arm | None:
        """The only arm, None for a robot without one. Raises `SpecError` where there are several."""
        return self.end_effector() if self.arms else None

    @cached_property
    def end_effectors(self) -> tuple[str, ...]:
        """The names of the end effectors, one per arm."""
        return tuple(arm.name for arm in self.arms)

    @cached_property
    def joints(self) -> tuple[str, ...]:
        """The joints of all arms, in the order of joint vectors."""
        return tuple(joint for arm in self.arms for joint in arm.joints)

    @cached_property
    def home_rad(self) -> tuple[float, ...]:
        """The home configuration (J,) of all arms."""
        return tuple(angle for arm in self.arms for angle in arm.home_rad)

    def end_effector(self, name: str = "") -> Arm:
        """Returns the arm whose end effector is called `name`, "" for the only one.

        Raises `UnknownNameError` with the known names, and `SpecError` where a name is needed.
        """
        if not name:
            if len(self.arms) == 1:
                return self.arms[0]
            raise SpecError(
                f"The end effector of {self.name!r} must be named where it has other than one.",
                value=name,
                remedy=f"It has: {', '.join(self.end_effectors) or 'none'}.",
            )
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise unknown_name(f"end effector of {self.name!r}", name, self.end_effectors)

    def columns(self, end_effector: str = "") -> slice:
        """Returns which entries of a joint vector (J,) belong to an arm. Raises as `end_effector` does."""
        wanted, start = self.end_effector(end_effector), 0
        for arm in self.arms:
            if arm is wanted:
                break
            start += len(arm.joints)
        return slice(start, start + len(wanted.joints))
