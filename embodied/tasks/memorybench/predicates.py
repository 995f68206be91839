"""Facts that tasks judge by, read from a `WorldState`."""

from embodied.geometry import Pose, boxes_overlap
from embodied.scenes.scene import Region
from embodied.scenes.tabletop import BLOCK_M, BUTTON, TABLE_TOP_M
from embodied.types import WorldState

PRESS_TRAVEL_M = 0.003
RELEASE_TRAVEL_M = 0.001
RESTING_SLACK_M = 0.01
LOWERED_M = 0.03
LIFTED_M = 0.025


def button_pressed(state: WorldState) -> bool:
    """Returns whether the button is down by more than 3 mm."""
    return state.joint[BUTTON] > PRESS_TRAVEL_M


def button_released(state: WorldState) -> bool:
    """Returns whether the button is up again, to within 1 mm."""
    return state.joint[BUTTON] < RELEASE_TRAVEL_M


def nothing_held(state: WorldState) -> bool:
    """Returns whether no robot holds anything."""
    return all(body is None for body in state.held.values())


def over(state: WorldState, body: str, place: Pose, width_m: float) -> bool:
    """Returns whether the centre of `body` in `state` is over the square of `width_m` at `place`, at any height."""
    (bx, by, bz), (px, py, pz), (x, y, z, w) = state.pose[body].position_m, place.position_m, place.orientation
    dx, dy, dz = bx - px, by - py, bz - pz
    # The first two rows of the inverse rotation; plain floats, since this is asked several times a period.
    along_x = (1 - 2 * (y * y + z * z)) * dx + 2 * (x * y + z * w) * dy + 2 * (x * z - y * w) * dz
    along_y = 2 * (x * y - z * w) * dx + (1 - 2 * (x * x + z * z)) * dy + 2 * (y * z + x * w) * dz
    return abs(along_x) <= width_m / 2 and abs(along_y) <= width_m / 2


def block_height(state: WorldState, block: str) -> float:
    """Returns how far the centre of a block is above where it is when it lies on the table, in metres."""
    return state.pose[block].position_m[2] - TABLE_TOP_M - BLOCK_M / 2


def lifted(state: WorldState, block: str) -> bool:
    """Returns whether a block is more than 2.5 cm up: more than tipping it over an edge can lift it (1.2 cm)."""
    return block_height(state, block) > LIFTED_M


def lowered_onto(state: WorldState, block: str, place: Pose, width_m: float) -> bool:
    """Returns whether `block` in `state` is over the square of `width_m` at `place`, less than 3 cm above it."""
    return block_height(state, block) < LOWERED_M and over(state, block, place, width_m)


def left_on(state: WorldState, block: str, region: Region) -> bool:
    """Returns whether `block` in `state` lies in the footprint of `region` (by its centre) and is not held."""
    resting = abs(block_height(state, block)) < RESTING_SLACK_M
    return resting and over(state, block, region.pose, region.size_m[0]) and block not in state.held.values()


def block_in(state: WorldState, block: str, region: Region) -> bool:
    """Returns whether `block` in `state` touches or overlaps the box of `region`, as the published sensors judge."""
    return boxes_overlap(state.pose[block], (BLOCK_M,) * 3, region.pose, region.size_m)
