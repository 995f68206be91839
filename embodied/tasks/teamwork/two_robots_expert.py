"""How two robots move and fetch the block: a script for each, from the episode and from what is true now."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from embodied.geometry import Quaternion, quaternion_from_euler
from embodied.scenes.hall import BLOCK, MOBILE, STANDING, TABLE_TOP_M
from embodied.tasks.expert import REST
from embodied.types import Drive, Episode, Intent, MoveTo, Progress, Wait, WorldState

ABOVE_M, GRASP_M, RELEASE_M = 0.16, 0.025, 0.027  # Heights of the tool over the table.
RETREAT_M = (-0.14, -0.15, TABLE_TOP_M + 0.45)
LEAVE = Drive(-0.5, 0.0, 1.4)
RETURN = Drive(0.5, 0.0, 2.16)
LOOK_AGAIN = Wait(0.25)
SETTLE = Wait(0.5)
DOWN = {STANDING: quaternion_from_euler(np.pi, 0.0, 0.0), MOBILE: quaternion_from_euler(np.pi, 0.0, np.pi)}


class TwoRobotsState(TypedDict):
    """What the expert carries for one robot: the index of its next intent, and where (x, y) it will fetch the block."""

    aim_m: tuple[float, float]
    step: int


class TwoRobotsExpert:
    """Solves `two_robots`; implements `tasks.expert.RobotExpert`.

    The standing robot always moves the block to the target; `choice` says from which spot the mobile one fetches it.
    """

    def begin(self, episode: Episode, state: WorldState, choice: str) -> TwoRobotsState:
        """Returns the state of either robot in an episode that begins in `state`."""
        del state
        return TwoRobotsState(aim_m=spot_m(episode, choice), step=0)

    def next_intent(
        self, robot: str, episode: Episode, progress: Progress, state: WorldState, expert_state: TwoRobotsState
    ) -> tuple[Intent, TwoRobotsState]:
        """Returns the next intent of `robot`, and its state before the one after that; in the end it rests."""
        step = expert_state["step"]
        following: TwoRobotsState = {**expert_state, "step": step + 1}
        if robot == STANDING:
            if "away" not in progress.reached:
                return LOOK_AGAIN, expert_state
            x, y, _ = state.pose[BLOCK].position_m
            course = [
                *_pick(robot, (x, y)),
                *_place(robot, spot_m(episode, episode.choice_goal.target)),
                MoveTo(RETREAT_M, DOWN[STANDING], gripper_open=True),
            ]
        else:
            if step == 1 and "moved" not in progress.reached:
                return LOOK_AGAIN, expert_state
            course = [LEAVE, RETURN, SETTLE, *_pick(robot, expert_state["aim_m"])]
        return (course[step] if step < len(course) else REST), following


def spot_m(episode: Episode, spot: str) -> tuple[float, float]:
    """Returns the middle (x, y) of a spot. Raises `UnknownNameError`."""
    x, y, _ = episode.scene.body(spot).pose.position_m
    return x, y


def _pick(robot: str, place_m: Sequence[float]) -> list[MoveTo]:
    turned = DOWN[robot]
    return [
        _move(turned, place_m, ABOVE_M, gripper_open=True),
        _move(turned, place_m, GRASP_M, gripper_open=True, careful=False),
        _move(turned, place_m, GRASP_M, gripper_open=False, careful=False),
        _move(turned, place_m, ABOVE_M, gripper_open=False, careful=False),
    ]


def _place(robot: str, place_m: Sequence[float]) -> list[MoveTo]:
    turned = DOWN[robot]
    return [
        _move(turned, place_m, ABOVE_M, gripper_open=False),
        _move(turned, place_m, RELEASE_M, gripper_open=False, careful=False),
        _move(turned, place_m, RELEASE_M, gripper_open=True, careful=False),
        _move(turned, place_m, ABOVE_M, gripper_open=True, careful=False),
    ]


def _move(
    turned: Quaternion, place_m: Sequence[float], height_m: float, *, gripper_open: bool, careful: bool = True
) -> MoveTo:
    return MoveTo((place_m[0], place_m[1], TABLE_TOP_M + height_m), turned, gripper_open, careful)
