"""Builds a robot model from a model file and its URDF files; entries that do not fit are refused."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from embodied.errors import RobotModelError, SceneError, unknown_name
from embodied.geometry import Pose, quaternion_from_euler
from embodied.robots.gripper_file import gripper_of
from embodied.robots.model_entries import ArmEntry, DifferentialEntry, HolonomicEntry, Placement, RobotFile
from embodied.robots.robot import (
    Arm,
    DifferentialDrive,
    HolonomicDrive,
    RobotCamera,
    RobotModel,
    UrdfPart,
    UrdfSource,
)
from embodied.robots.urdf import UrdfJoint, chain_to, compose, joints_of, link_names
from embodied.scenes.mesh_files import read_mesh

_MESHES = (".obj", ".stl")
_SLACK_RAD = 1e-6


def build_model(entry: RobotFile, root: str) -> RobotModel:
    """Returns the robot that `entry` describes, whose files lie below the folder `root`.

    Raises `RobotModelError` and `UnknownNameError` for entries that do not fit the URDF files.
    """
    source = _source(entry, root)
    urdf = compose(source)
    joints, links = joints_of(urdf), link_names(urdf)
    _check_meshes(urdf)
    if not entry.arms and entry.drive is None:
        raise RobotModelError("A robot must have an arm or a drive.", value=entry.name)
    _check_arm_names(entry)
    model = RobotModel(
        entry.name,
        arms=tuple(_arm(arm, joints, links) for arm in entry.arms),
        drive=_drive(entry, joints),
        source=source,
        cameras=tuple(
            RobotCamera(camera.name, _pose(camera.at), camera.link, camera.fov_y_rad) for camera in entry.cameras
        ),
    )
    _check_cameras(model, links)
    _check_all_moving(model, joints)
    return model


def _source(entry: RobotFile, root: str) -> UrdfSource:
    parts = []
    for index, part in enumerate(entry.parts):
        if bool(index) != bool(part.parent):
            raise RobotModelError(
                "The first part must have no `parent`, and every other part one.",
                value=part.urdf,
                remedy="Name the link of an earlier part that carries it.",
            )
        numbers = (*part.at.position_m, *part.at.rpy_rad)
        _require_finite(f"The place of {part.urdf!r}", numbers)
        parts.append(UrdfPart(part.urdf, part.prefix, part.parent, part.at.position_m, part.at.rpy_rad))
    bounds = [
        (name, *limits)
        for arm in entry.arms
        if arm.lower_rad is not None and arm.upper_rad is not None
        for name, *limits in zip(arm.joints, arm.lower_rad, arm.upper_rad, strict=False)
    ]
    plain = UrdfSource(root, tuple(parts), entry.locked)
    joints = joints_of(compose(plain))
    for name in entry.locked:
        _joint(name, joints, "locked joint")
    continuous = tuple(
        (name, lower, upper) for name, lower, upper in bounds if name in joints and joints[name].kind == "continuous"
    )
    return UrdfSource(root, tuple(parts), entry.locked, continuous)


def _arm(entry: ArmEntry, joints: Mapping[str, UrdfJoint], links: Sequence[str]) -> Arm:
    what = f"arm {entry.name!r}"
    own = _chain(entry, joints, links)
    lower = _values(entry, "lower_rad", entry.lower_rad, [joint.lower for joint in own])
    upper = _values(entry, "upper_rad", entry.upper_rad, [joint.upper for joint in own])
    speeds = _values(entry, "velocity_limit_radps", entry.velocity_limit_radps, [joint.velocity for joint in own])
    efforts = _values(entry, "effort_limit_nm", entry.effort_limit_nm, [joint.effort for joint in own])
    for joint, low, high in zip(own, lower, upper, strict=True):
        _check_range(what, joint, low, high)
    _check_positive(entry, {"velocity_limit_radps": speeds, "effort_limit_nm": efforts})
    home = _values(entry, "home_rad", entry.home_rad, [])
    stow = None if entry.stow_rad is None else _values(entry, "stow_rad", entry.stow_rad, [])
    for key, posture in (("home_rad", home), ("stow_rad", stow or home)):
        _check_posture(entry, key, posture, list(zip(lower, upper, strict=True)))
    _require_finite(f"`reach_m` and `payload_kg` of {what}", (entry.reach_m, entry.payload_kg))
    return Arm(
        name=entry.name,
        joints=entry.joints,
        home_rad=home,
        lower_rad=lower,
        upper_rad=upper,
        velocity_limit_radps=speeds,
        effort_limit_nm=efforts,
        tool_link=entry.tool_link,
        tool_in_link=_pose(entry.tool_at),
        gripper=None if entry.gripper is None else gripper_of(entry, joints, links),
        reach_m=entry.reach_m,
        payload_kg=entry.payload_kg,
        stow_rad=stow,
    )


def _chain(entry: ArmEntry, joints: Mapping[str, UrdfJoint], links: Sequence[str]) -> list[UrdfJoint]:
    """Returns the joints of an arm; they must be exactly those between base and tool link."""
    what = f"arm {entry.name!r}"
    if not entry.joints:
        raise RobotModelError(f"The {what} must have joints.", value=list(entry.joints))
    own = [_joint(name, joints, f"joint of {what}") for name in entry.joints]
    for joint in own:
        _check_kind(joint, what)
    if entry.tool_link not in links:
        raise unknown_name(f"tool link of {what}", entry.tool_link, links)
    chain = [joint.name for joint in chain_to(joints.values(), entry.tool_link) if joint.kind != "fixed"]
    if tuple(chain[-len(own) :]) != entry.joints:
        raise RobotModelError(
            f"The joints of {what} must be those that carry its tool link, listed from base to tool.",
            value=list(entry.joints),
            remedy=f"{entry.tool_link!r} is carried by: {', '.join(chain) or 'no joint that moves'}.",
        )
    return own


def _joint(name: str, joints: Mapping[str, UrdfJoint], kind: str) -> UrdfJoint:
    if name not in joints:
        raise unknown_name(kind, name, joints)
    return joints[name]


def _check_kind(joint: UrdfJoint, what: str) -> None:
    if joint.kind != "revolute" or joint.mimic is not None:
        remedies = {
            "continuous": "Give the arm `lower_rad` and `upper_rad`, such as -3.14 and 3.14.",
            "revolute": "List the joint that it mimics, or remove <mimic>.",
        }
        raise RobotModelError(
            f"Joints of {what} must be revolute, with limits, and mimic no other.",
            value=(joint.name, joint.kind if joint.mimic is None else f"mimics {joint.mimic.joint}"),
            remedy=remedies.get(joint.kind, "Arms with such joints are not supported."),
        )


def _values(
    arm: ArmEntry, key: str, given: Sequence[float] | None, default: Sequence[float | None]
) -> tuple[float, ...]:
    """Returns one number per joint, from the model file, or from the URDF if the model file has none."""
    if given is None:
        missing = [name for name, value in zip(arm.joints, default, strict=True) if value is None]
        if missing:
            raise RobotModelError(f"The URDF must have the limits of each joint of arm {arm.name!r}.",
                                  value=missing, remedy=f"Give the arm `{key}`.")  # fmt: skip
        given = [value for value in default if value is not None]
    if len(given) != len(arm.joints):
        raise RobotModelError(
            f"`{key}` of arm {arm.name!r} must have one number for each of its {len(arm.joints)} joints.",
            value=list(given),
        )
    _require_finite(f"`{key}` of arm {arm.name!r}", given)
    return tuple(float(value) for value in given)


def _check_range(what: str, joint: UrdfJoint, low: float, high: float) -> None:
    lowest, highest = joint.lower, joint.upper
    if not low < high:
        raise RobotModelError(
            f"The lower limit of joint {joint.name!r} of {what} must be below its upper one.", value=(low, high)
        )
    if lowest is None or highest is None or low < lowest - _SLACK_RAD or high > highest + _SLACK_RAD:
        raise RobotModelError(
            f"The limits of joint {joint.name!r} of {what} must lie within its URDF's, {lowest} to {highest} rad.",
            value=(low, high),
        )


def _check_positive(arm: ArmEntry, limits: Mapping[str, Sequence[float]]) -> None:
    for key, values in limits.items():
        for joint, value in zip(arm.joints, values, strict=True):
            if value <= 0.0:
                raise RobotModelError(
                    f"`{key}` of joint {joint!r} of arm {arm.name!r} must be positive.",
                    value=value,
                    remedy=f"Give the arm `{key}`.",
                )


def _check_posture(arm: ArmEntry, key: str, posture: Sequence[float], ranges: Sequence[tuple[float, float]]) -> None:
    for joint, value, (low, high) in zip(arm.joints, posture, ranges, strict=True):
        if not low <= value <= high:
            raise RobotModelError(
                f"`{key}` of arm {arm.name!r} must lie within the limits of {joint!r}, {low} to {high} rad.",
                value=value,
            )


def _drive(entry: RobotFile, joints: Mapping[str, UrdfJoint]) -> DifferentialDrive | HolonomicDrive | None:
    drive = entry.drive
    if isinstance(drive, DifferentialEntry):
        for name in (*drive.left_joints, *drive.right_joints):
            if _joint(name, joints, "wheel joint").kind != "continuous":
                raise RobotModelError("A driven wheel must turn on a continuous joint.",
                                      value=(name, joints[name].kind), remedy="Correct the URDF.")  # fmt: skip
        if not (drive.left_joints and drive.right_joints):
            raise RobotModelError("A differential drive must have wheels on both sides.", value=entry.name)
        return DifferentialDrive(**msgspec.structs.asdict(drive))
    return HolonomicDrive(**msgspec.structs.asdict(drive)) if isinstance(drive, HolonomicEntry) else None


def _check_arm_names(entry: RobotFile) -> None:
    used: set[str] = set()
    for arm in entry.arms:
        shared = used & set(arm.joints)
        if shared:
            raise RobotModelError("A joint must belong to one arm.", value=sorted(shared))
        used |= set(arm.joints)


def _check_cameras(model: RobotModel, links: Sequence[str]) -> None:
    names = [camera.name for camera in model.cameras]
    if len(set(names)) < len(names):
        raise RobotModelError("The cameras of a robot must have different names.", value=names)
    for camera in model.cameras:
        if camera.link and camera.link not in links:
            raise unknown_name(f"link of camera {camera.name!r}", camera.link, links)


def _check_all_moving(model: RobotModel, joints: Mapping[str, UrdfJoint]) -> None:
    """Raises `RobotModelError` for a movable joint that belongs to no arm, gripper or drive."""
    known = {*model.joints, *(joint for arm in model.arms if arm.gripper for joint in arm.gripper.joints)}
    if isinstance(model.drive, DifferentialDrive):
        known |= {*model.drive.left_joints, *model.drive.right_joints}
    stray = [joint.name for joint in joints.values() if joint.kind != "fixed" and joint.name not in known]
    if stray:
        raise RobotModelError(
            "Every joint that moves must belong to an arm, a gripper or a drive.",
            value=stray,
            remedy="List it there, or under `locked`, which fixes it at zero.",
        )


def _check_meshes(urdf: ElementTree.Element) -> None:
    """Raises `RobotModelError` for a mesh of another format, and for a collision mesh that is malformed."""
    for mesh in urdf.iter("mesh"):
        if Path(mesh.get("filename", "")).suffix.lower() not in _MESHES:
            raise RobotModelError("A mesh of a robot must be an .obj or a binary .stl file.",
                                  value=Path(mesh.get("filename", "")).name, remedy="Convert it.")  # fmt: skip
    for file in dict.fromkeys(mesh.get("filename", "") for mesh in urdf.iterfind("link/collision/geometry/mesh")):
        try:
            read_mesh(Path(file))
        except SceneError as error:
            raise RobotModelError(error.rule, value=error.value, remedy="Correct the mesh.") from error


def _require_finite(what: str, values: Iterable[float]) -> None:
    if not all(math.isfinite(value) for value in values):
        raise RobotModelError(f"{what} must be finite.", value=list(values))


def _pose(at: Placement) -> Pose:
    _require_finite("A place", (*at.position_m, *at.rpy_rad))
    return Pose(at.position_m, quaternion_from_euler(*at.rpy_rad))
