"""A body in several grippers of one robot: no arm may move it alone, since the others would pull against it."""

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.robots.kinematics import Kinematics
from embodied.types import ControllerReport, ControllerStatus, WorldState

STILL_M, STILL_RAD = 0.002, 0.02  # A tool that moves by less stands still.


def other_holder(state: WorldState, robot: str, end_effector: str) -> str | None:
    """Returns another end effector of `robot` that holds what `end_effector` holds in `state`, None for none."""
    end_effectors = state.robots[robot].end_effectors
    if len(end_effectors) < 2:
        return None
    held = end_effectors[end_effector].held
    others = [name for name, one in end_effectors.items() if name != end_effector and one.held == held]
    return others[0] if held is not None and others else None


def shared_grasp(robot: str, state: WorldState, moving: Kinematics, path_rad: np.ndarray) -> ControllerReport | None:
    """Returns a FAILED report where an arm of `robot` would move what another of its grippers holds too, else None.

    `moving` has the kinematics of that arm; grasps are those in `state`. `path_rad` (N, J) is what its joints are
    commanded while its own gripper stays closed. Its tool may stray by 2 mm and 0.02 rad from where it is.
    """
    name = moving.arm.name
    other = other_holder(state, robot, name)
    if other is None or not len(path_rad):
        return None
    here = moving.tool_transform(state.robots[robot].joint_position_rad[moving.columns])
    if all(_still(here, moving.tool_transform(joints)) for joints in path_rad):
        return None
    return refusal(state, robot, name, other)


def refusal(state: WorldState, robot: str, end_effector: str, other: str) -> ControllerReport:
    """Returns the FAILED report of the arm with `end_effector`, which must not move.

    In `state`, `other` of the same `robot` holds the same body.
    """
    held = state.robots[robot].end_effectors[end_effector].held
    return ControllerReport(
        ControllerStatus.FAILED,
        f"{other!r} also holds {held!r}: one of the two grippers must open before {end_effector!r} moves",
    )


def _still(begin: pin.SE3, tool: pin.SE3) -> bool:
    moved = begin.actInv(tool)
    return bool(np.linalg.norm(moved.translation) <= STILL_M and np.linalg.norm(pin.log3(moved.rotation)) <= STILL_RAD)
