"""Sets a PyBullet world to a stored state, without physics."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from embodied.errors import SimulationError
from embodied.geometry import angle_between
from embodied.simulators.bullet.bodies import BodyHandle
from embodied.types import WorldState

TOLERANCE = 1e-5  # Metres and radians between what was asked for and what PyBullet then reports.


def place_bodies(bullet: Any, state: WorldState, handles: Mapping[str, BodyHandle], present: WorldState) -> None:
    """Places the free-standing bodies of `handles` in the client `bullet` as in `state`, at rest.

    `present` is the state before; joints place the other bodies.
    """
    for name, handle in handles.items():
        if handle.link >= 0:
            continue
        pose = state.pose[name]
        if pose != present.pose[name]:
            bullet.resetBasePositionAndOrientation(handle.uid, pose.position_m, pose.orientation)
        bullet.resetBaseVelocity(handle.uid, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def check_placed(wanted: WorldState, placed: WorldState) -> None:
    """Raises `SimulationError` where the `placed` state differs from the `wanted` one."""
    for name, pose in wanted.pose.items():
        off_m = float(np.linalg.norm(np.subtract(pose.position_m, placed.pose[name].position_m)))
        # An arc cosine near 1 is coarse: 1e-7 of the dot product is half a milliradian.
        turned = angle_between(pose.orientation, placed.pose[name].orientation) > 1e-3
        if off_m > TOLERANCE or turned:
            raise SimulationError(f"{name!r} must be able to stand where the state has it.", value=pose)
    for name, robot in wanted.robots.items():
        if np.abs(robot.joint_position_rad - placed.robots[name].joint_position_rad).max(initial=0.0) > TOLERANCE:
            raise SimulationError(f"The joints of {name!r} must be able to stand where the state has them.")
