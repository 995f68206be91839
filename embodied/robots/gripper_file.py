"""Builds a gripper from its entry in a model file: driven joints and the joints that mimic them."""

import math
from collections.abc import Mapping, Sequence

from embodied.errors import RobotModelError, unknown_name
from embodied.robots.model_entries import ArmEntry, GripperEntry
from embodied.robots.robot import Gripper
from embodied.robots.urdf import UrdfJoint, UrdfMimic, chain_to

_KINDS = ("revolute", "prismatic")
_SLACK = 1e-3  # m or rad beyond a limit of the URDF, for rounded numbers.


def gripper_of(arm: ArmEntry, joints: Mapping[str, UrdfJoint], links: Sequence[str]) -> Gripper:
    """Returns the gripper of `arm`, which must have one, with the `joints` and `links` of the robot's URDF.

    Raises `RobotModelError` for joints that cannot move fingers, positions beyond the limits, chains of mimic joints,
    and fingers that do not move; `UnknownNameError` for missing joints and links.
    """
    entry, what = arm.gripper, f"gripper of arm {arm.name!r}"
    assert entry is not None  # The caller has checked this.
    ends = {name: (finger.closed, finger.open) for name, finger in entry.joints.items()}
    mimics = _mimics(entry, joints, what)
    for name, mimic in mimics.items():
        if name in ends:
            raise RobotModelError(f"A joint of the {what} must be driven or mimic another, not both.", value=name,
                                  remedy="Remove it from `joints`.")  # fmt: skip
        if mimic.joint in mimics:
            raise RobotModelError(f"A joint of the {what} must not mimic one that mimics another.",
                                  value=(name, mimic.joint), remedy="Name the driven joint.")  # fmt: skip
        if mimic.joint not in entry.joints:
            raise unknown_name(f"driven joint that {name!r} of the {what} mimics", mimic.joint, entry.joints)
        closed, opened = ends[mimic.joint]
        ends[name] = (mimic.multiplier * closed + mimic.offset, mimic.multiplier * opened + mimic.offset)
    for name, (closed, opened) in ends.items():
        _check_joint(name, joints, closed, opened, what)
        _check_place(name, joints, arm, what)
    _check_fingers(entry, joints, links, ends, what)
    return Gripper(
        joints=tuple(ends),
        links=entry.fingers,
        stroke_m=entry.stroke_m,
        force_n=entry.force_n,
        closed_at=tuple(float(closed) for closed, _ in ends.values()),
        open_at=tuple(float(opened) for _, opened in ends.values()),
        tip_m=entry.tip_m,
    )


def _mimics(entry: GripperEntry, joints: Mapping[str, UrdfJoint], what: str) -> dict[str, UrdfMimic]:
    """Returns the gripper's mimic joints: those of the URDF that follow its joints, and those of the model file."""
    given = {name: UrdfMimic(one.joint, one.multiplier, one.offset) for name, one in entry.mimic.items()}
    for name in (*entry.joints, *given):
        if name not in joints:
            raise unknown_name(f"joint of the {what}", name, joints)
    found = {name: joint.mimic for name, joint in joints.items() if joint.mimic is not None} | given
    own: set[str] = set(entry.joints) | set(given)
    for _ in found:
        own |= {name for name, mimic in found.items() if mimic.joint in own}
    return {name: mimic for name, mimic in found.items() if name in own}


def _check_joint(name: str, joints: Mapping[str, UrdfJoint], closed: float, opened: float, what: str) -> None:
    joint = joints[name]
    if joint.kind not in _KINDS:
        raise RobotModelError(f"A joint of the {what} must be revolute or prismatic.", value=(name, joint.kind))
    if not (math.isfinite(closed) and math.isfinite(opened) and closed != opened):
        raise RobotModelError(f"Joint {name!r} of the {what} must be elsewhere when closed than when open.",
                              value=(closed, opened))  # fmt: skip
    if joint.lower is None or joint.upper is None:
        raise RobotModelError(f"Joint {name!r} of the {what} must have limits.", remedy="Add <limit> to the URDF.")
    if not joint.lower - _SLACK <= min(closed, opened) <= max(closed, opened) <= joint.upper + _SLACK:
        raise RobotModelError(
            f"Joint {name!r} of the {what} must stay within the limits of its URDF, {joint.lower} to {joint.upper}.",
            value=(closed, opened),
        )


def _check_place(name: str, joints: Mapping[str, UrdfJoint], arm: ArmEntry, what: str) -> None:
    if name in arm.joints or arm.joints[-1] not in {
        joint.name for joint in chain_to(joints.values(), joints[name].child)
    }:
        raise RobotModelError(
            f"Joints of the {what} must hang on the last joint of the arm.",
            value=name,
            remedy=f"That is {arm.joints[-1]!r}.",
        )
    if name in {joint.name for joint in chain_to(joints.values(), arm.tool_link)}:
        raise RobotModelError(f"Joints of the {what} must not move the tool link.", value=name,
                              remedy="Choose the palm as tool link.")  # fmt: skip


def _check_fingers(
    entry: GripperEntry,
    joints: Mapping[str, UrdfJoint],
    links: Sequence[str],
    moved_by: Mapping[str, object],
    what: str,
) -> None:
    for link in entry.fingers:
        if link not in links:
            raise unknown_name(f"finger of the {what}", link, links)
        if not any(joint.name in moved_by for joint in chain_to(joints.values(), link)):
            raise RobotModelError(f"A finger of the {what} must be moved by one of its joints.", value=link)
    if len(set(entry.fingers)) < 2:
        raise RobotModelError(f"The {what} must have at least two fingers.", value=list(entry.fingers),
                              remedy="Something is grasped once all of them touch it.")  # fmt: skip
