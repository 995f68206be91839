"""How far the next phase of a task is, in metres: for the shaped rewards of learners, never for judgement."""

import numpy as np

from embodied.geometry import Pose, compose
from embodied.scenes.tabletop import BLOCK_M, BUTTON_TOP_M, HANDLE_IN_DRAWER_M, TABLE_TOP_M, slide
from embodied.tasks.memorybench.keyframes import finger_tip_m, tool_pose
from embodied.tasks.memorybench.predicates import LIFTED_M, block_height
from embodied.types import Episode, WorldState


def to_handle_m(state: WorldState, drawer: str) -> float:
    """Returns the distance from the tool to the handle of a drawer."""
    handle = compose(state.pose[drawer], Pose(HANDLE_IN_DRAWER_M))
    return _distance_m(tool_pose(state), handle)


def to_button_m(episode: Episode, state: WorldState) -> float:
    """Returns the distance from the finger tips to the top of the button."""
    tip = compose(tool_pose(state), Pose((0.0, 0.0, finger_tip_m(episode))))
    top = compose(state.pose["button_base"], Pose((0.0, 0.0, BUTTON_TOP_M)))
    return _distance_m(tip, top)


def opening_m(state: WorldState, drawer: str) -> float:
    """Returns how far a drawer is open."""
    return max(0.0, state.joint[slide(drawer)])


def to_block_m(state: WorldState, block: str) -> float:
    """Returns the distance from the tool to a block, 0 for one that is held."""
    return 0.0 if block in state.held.values() else _distance_m(tool_pose(state), state.pose[block])


def to_lift_m(state: WorldState, block: str) -> float:
    """Returns the distance from the tool to a block, and the height that it lacks to count as lifted."""
    return to_block_m(state, block) + max(0.0, LIFTED_M - block_height(state, block))


def to_carry_m(state: WorldState, block: str, place: Pose) -> float:
    """Returns the distance from the tool to a `block` of `state`, and from there to where it lies at `place`."""
    x, y, _ = place.position_m
    return to_block_m(state, block) + _distance_m(state.pose[block], Pose((x, y, TABLE_TOP_M + BLOCK_M / 2)))


def _distance_m(one: Pose, other: Pose) -> float:
    return float(np.linalg.norm(np.subtract(one.position_m, other.position_m)))
