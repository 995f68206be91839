"""The fields of a robot's model file, as they are written."""

from typing import Annotated, Literal

import msgspec

from embodied.geometry import Vector3

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e6)]


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pose of a frame in another one: metres, and the fixed-axis roll, pitch and yaw of URDF."""

    position_m: Vector3 = (0.0, 0.0, 0.0)
    rpy_rad: Vector3 = (0.0, 0.0, 0.0)


class PartEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A URDF file, by its path below the root.

    Each part but the first is mounted at `at` on the link `parent` of an earlier part. `prefix` is put before the names
    of its links and joints; the rest of the model file uses the prefixed names.
    """

    urdf: str
    prefix: str = ""
    parent: str = ""
    at: Placement = Placement()


class FingerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The positions of a driven gripper joint, in m or rad, when the gripper is closed and when it is fully open."""

    closed: float
    open: float


class MimicEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A joint that follows the driven joint `joint`: `multiplier` times its position, plus `offset`."""

    joint: str
    multiplier: float = 1.0
    offset: float = 0.0


class GripperEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fingers of an end effector.

    `joints` are the driven ones; `mimic` adds to the <mimic> joints of the URDF and takes precedence over them.
    `fingers` are the links that touch a grasped object, `stroke_m` is how far each of them moves, `force_n` the force
    that each applies, and `tip_m` how far closed fingers reach beyond the tool frame, along its z.
    """

    joints: dict[str, FingerEntry]
    fingers: tuple[str, ...]
    stroke_m: Positive
    force_n: Positive
    mimic: dict[str, MimicEntry] = {}
    tip_m: float = 0.0


class ArmEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chain of revolute joints, listed from base to tool, and its end effector, whose name is `name`.

    The tool frame is at `tool_at` on `tool_link`: z is the direction of approach, y goes across the fingers. Limits
    that are left out are taken from the URDF. Limits that are given must lie within those, and they bound continuous
    joints.
    """

    name: Name
    joints: tuple[str, ...]
    home_rad: tuple[float, ...]
    tool_link: str
    tool_at: Placement = Placement()
    gripper: GripperEntry | None = None
    lower_rad: tuple[float, ...] | None = None
    upper_rad: tuple[float, ...] | None = None
    velocity_limit_radps: tuple[float, ...] | None = None
    effort_limit_nm: tuple[float, ...] | None = None
    reach_m: float = 0.0
    payload_kg: float = 0.0
    stow_rad: tuple[float, ...] | None = None


class CameraEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A camera on the link `link`, "" for the first tool frame; x right, y down, z ahead."""

    name: Name
    link: str = ""
    at: Placement = Placement()
    fov_y_rad: Annotated[float, msgspec.Meta(ge=0.01, le=3.0)] = 1.0


class DifferentialEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="differential"):
    """Driven wheels on continuous joints left and right; the root link is on the floor between them, x forward.

    Links with `caster` in their names slide without friction.
    """

    left_joints: tuple[str, ...]
    right_joints: tuple[str, ...]
    wheel_radius_m: Positive
    track_m: Positive
    linear_limit_mps: Positive
    angular_limit_radps: Positive
    wheel_torque_nm: Positive


class HolonomicEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="holonomic"):
    """A base that moves in every direction, pushed by at most `force_n` and `torque_nm`; x forward, y left.

    The root link is on the floor. Links with `caster` in their names slide without friction.
    """

    linear_limit_mps: Positive
    lateral_limit_mps: Positive
    angular_limit_radps: Positive
    force_n: Positive
    torque_nm: Positive


class RobotFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model file as it is written; unknown keys are refused. `load_robot` checks it against its URDF files.

    `locked` joints are fixed at zero. A robot without `drive` is bolted to the world by its root link.
    """

    version: Literal[1]
    name: Name
    parts: Annotated[tuple[PartEntry, ...], msgspec.Meta(min_length=1, max_length=16)]
    arms: tuple[ArmEntry, ...] = ()
    drive: DifferentialEntry | HolonomicEntry | None = None
    cameras: tuple[CameraEntry, ...] = ()
    locked: tuple[str, ...] = ()
    package: str = ""
