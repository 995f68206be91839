"""A Panda holds a block 4 cm above its place and sets it down, by one of four methods.

The placement error acts while the fingers open, so even a method that corrects its true tool pose in every control
period cannot cancel it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embodied.controllers.action_spaces import action_space
from embodied.controllers.config import ControllerConfig
from embodied.errors import ConfigError
from embodied.geometry import quaternion_from_euler, rotation_matrix
from embodied.robots.catalogue import robot_model
from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import BLOCK_M, ROBOT, TABLE_TOP_M, block, tabletop_scene
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.types import (
    ActionChunk,
    ControllerReport,
    ControllerStatus,
    Decision,
    DeltaPose,
    Episode,
    Intent,
    IntentFeedback,
    Limits,
    Mission,
    MoveTo,
    Outcome,
    Progress,
    ReportColumn,
    Request,
    Wait,
    WorldState,
)

ROBOT_NAME, BLOCK = ROBOT, "block"
PLACE_M = (0.3, 0.1)
GRASP_Z_M = TABLE_TOP_M + BLOCK_M / 2
HELD_ABOVE_M = 0.04
NOISE_M, NOISE_RAD = 0.01, float(np.pi / 4)
LIMIT_S = 2.0
DOWN = quaternion_from_euler(np.pi, 0.0, 0.0)
SPACE = action_space("ee_pose", robot_model("panda"), ControllerConfig(), rate_hz=20.0)
METHODS = ("keyframe", "steps", "chunk", "corrected")
ROWS_DOWN, ROWS_STILL, ROWS_OPEN = 12, 4, 8


def tool_at(above_m: float, *, gripper_open: bool) -> MoveTo:
    """Returns the keyframe with the tool around the block's place, `above_m` metres above where it lies."""
    return MoveTo((*PLACE_M, GRASP_Z_M + above_m), DOWN, gripper_open=gripper_open)


@dataclass(kw_only=True)
class Placing:
    """Sets a block down; implements `protocols.Task`. Every episode ends by its time limit."""

    noise_m: float = NOISE_M
    noise_rad: float = NOISE_RAD
    name: str = "placing"
    tier: str = ""
    columns: tuple[ReportColumn, ...] = ()

    def chance(self, episode: Episode) -> float | None:
        """Returns None: there is no choice."""
        del episode

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        """Returns the episode of `seed`: all have the same scene, and different draws of the placement error."""
        return Episode(
            id=f"placing/{split}/{seed}",
            task=self.name,
            tier=self.tier,
            variant=0,
            seed=seed,
            split=split,
            instruction="set the block down",
            scene=placing_scene(),
            goal=Mission(("the block lies on the table",)),
            limits=Limits(sim_time_s=LIMIT_S),
            placement_noise_m=self.noise_m,
            placement_noise_rad=self.noise_rad,
        )

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        """Returns progress with no phase reached."""
        del episode, state
        return Progress()

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        """Returns FAILURE for `progress` and the `feedback` of `robot` in an `episode`.

        The measured motion must not fail.
        """
        del episode
        return Progress(Outcome.FAILURE, f"{robot}: {feedback.reason}", progress.reached)

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns `progress` for any `state`: the time limit ends the `episode`."""
        del episode, state
        return progress


def placing_scene() -> Scene:
    """Returns a table with one block under the robot's gripper."""
    return tabletop_scene("placing", bodies=(block(BLOCK, *PLACE_M, 0.0),), camera_px=32)


class Placer:
    """Sets the held block down by `method`; privileged, since `corrected` reads the true pose of the block."""

    observation_spec = ObservationSpec(cameras=())
    action_spec = KEYFRAME
    privileged = True

    def __init__(self, method: str) -> None:
        self._method = method

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns the next intents, and a report once the block is set down."""
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        turn = (request.carry or {}).get("turn", 0)
        intents = self._intents(request, turn)
        if intents:
            return Decision(intents, carry={"turn": turn + 1})
        return Decision((Wait(0.1),), report=ControllerReport(ControllerStatus.DONE))

    def _intents(self, request: Request, turn: int) -> tuple[Intent, ...]:
        rows = _actions()
        if self._method == "corrected":
            return (ActionChunk(SPACE, _corrected(rows[turn], request)[None]),) if turn < len(rows) else ()
        if turn > 0:
            return ()
        match self._method:
            case "keyframe":
                return (tool_at(0.0, gripper_open=True),)
            case "steps":
                down = DeltaPose((0.0, 0.0, -HELD_ABOVE_M / 4), (0.0, 0.0, 0.0), gripper_open=False)
                return (*(down,) * 4, Wait(0.2), DeltaPose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), gripper_open=True))
            case "chunk":
                return (ActionChunk(SPACE, rows),)
        raise ConfigError("A method must be one of those that are measured.", value=self._method)


def _actions() -> np.ndarray:
    """Returns the actions (rows, 10) that lower the block, hold it, and open the gripper."""
    count = ROWS_DOWN + ROWS_STILL + ROWS_OPEN
    rows = np.zeros((count, SPACE.size))
    heights = np.concatenate([np.linspace(HELD_ABOVE_M, 0.0, ROWS_DOWN + 1)[1:], np.zeros(ROWS_STILL + ROWS_OPEN)])
    rows[:, SPACE.columns("position")] = [(*PLACE_M, GRASP_Z_M + height) for height in heights]
    rows[:, SPACE.columns("rotation_6d")] = rotation_matrix(DOWN)[:, :2].T.ravel()
    rows[ROWS_DOWN + ROWS_STILL :, SPACE.columns("gripper")] = 1.0
    return rows


def _corrected(row: np.ndarray, request: Request) -> np.ndarray:
    """Returns the action that also corrects the present distance of the block from its place."""
    if request.truth is None:
        raise ConfigError("A corrected placement must be shown the truth.")
    corrected, place = row.copy(), SPACE.columns("position")
    corrected[place.start : place.start + 2] += np.subtract(PLACE_M, request.truth.state.pose[BLOCK].position_m[:2])
    return corrected
