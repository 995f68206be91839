"""Two robots: one moves a block while the other is away; the other must then fetch it from where it is now.

What the mobile robot saw before it drove away is out of date when it comes back: only the other robot, or a memory
that both share, knows to which of the free spots the block was moved.
"""

from dataclasses import dataclass

import numpy as np

from embodied.errors import ConfigError, unknown_name
from embodied.geometry import Pose
from embodied.scenes.hall import BLOCK, BLOCK_M, MOBILE, SPOTS_M, STANDING, TABLE_TOP_M, hall
from embodied.seeding import stream
from embodied.tasks.goals import ChoosesOne
from embodied.tasks.judging import OnFailure, choose, complete, fail, judge_failure, succeed
from embodied.tasks.teamwork.two_robots_expert import TwoRobotsExpert, spot_m
from embodied.types import Choice, Episode, IntentFeedback, Limits, Progress, WorldState

SPLITS = ("train", "validation", "test")
AWAY_M = 1.5  # Beyond this x the mobile robot's base is away from the table.
ON_SPOT_M = 0.03
LIFTED_M = 0.08
CLOSED = 0.1  # A gripper that is less open than this holds nothing.
JITTER_M = 0.015
LIMITS = ("camera_px", "time_limit_s", "intent_limit")


@dataclass(kw_only=True)
class TwoRobots(ChoosesOne):
    """The mobile robot shall hold the block after the standing robot has moved it to the target spot.

    It is its own config: plain fields, checked on construction (`ConfigError`). The goal is a choice among the spots on
    which the block did not lie at the start; where the mobile gripper first closes is the choice.
    """

    camera_px: int = 128
    time_limit_s: float = 90.0
    intent_limit: int = 400
    on_failure: OnFailure = OnFailure.END

    name = "two_robots"
    tier = ""

    def __post_init__(self) -> None:
        try:
            self.on_failure = OnFailure(self.on_failure)
        except ValueError as error:
            raise unknown_name("reaction to a failed intent (`on_failure`)", self.on_failure, OnFailure) from error
        for field in LIMITS:
            if not getattr(self, field) > 0:
                raise ConfigError(f"`{field}` of a task must be positive.", value=getattr(self, field))

    @property
    def expert(self) -> TwoRobotsExpert:
        """How both robots solve it."""
        return TwoRobotsExpert()

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        """Returns the episode of `seed`: the same in any process and any order. Raises `UnknownNameError`.

        The layout comes from a stream of its own, which never sees the variant.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        layout = stream(seed, self.name, split, "layout")
        start = list(SPOTS_M)[int(layout.integers(len(SPOTS_M)))]
        spots_m = {
            name: (float(x + shift[0]), float(y + shift[1]))
            for (name, (x, y)), shift in zip(
                SPOTS_M.items(), layout.uniform(-JITTER_M, JITTER_M, (len(SPOTS_M), 2)), strict=True
            )
        }
        candidates = tuple(name for name in SPOTS_M if name != start)
        variant = int(stream(seed, self.name, split, "variant").integers(len(candidates)))
        identifier = f"{self.name}-{split}-{seed:06d}"
        return Episode(
            id=identifier,
            task=self.name,
            tier=self.tier,
            variant=variant,
            seed=seed,
            split=split,
            instruction="fetch the block",
            instructions={STANDING: f"move the block to {candidates[variant]} while the other robot is away"},
            scene=hall(identifier, spots_m, start, camera_px=self.camera_px),
            goal=Choice(candidates, candidates[variant]),
            limits=Limits(intents=self.intent_limit, sim_time_s=self.time_limit_s),
        )

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        """Returns that nothing has been done yet."""
        del episode, state
        return Progress()

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        """Returns FAILURE; `progress` itself where `on_failure` is to go on."""
        del episode, robot
        return judge_failure(self.on_failure, progress, feedback)

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns the progress after one more control period has led to `state`.

        The phases are `away`, `moved`, and `fetched`. A mobile gripper that closes on nothing after `moved` has failed.
        """
        if "moved" not in progress.reached:
            if state.robots[MOBILE].base.position_m[0] > AWAY_M:
                progress = complete(progress, "away")
            if "away" in progress.reached and _rests_on(episode, state, episode.choice_goal.target):
                progress = complete(progress, "moved")
            return progress
        gripper = state.robots[MOBILE].end_effector("")
        if state.held[MOBILE] == BLOCK:
            progress = choose(progress, nearest_spot(episode, state.pose[BLOCK]))
            lifted = state.pose[BLOCK].position_m[2] > TABLE_TOP_M + LIFTED_M
            return succeed(progress, "fetched") if lifted else progress
        if gripper.gripper < CLOSED:
            return fail(choose(progress, nearest_spot(episode, gripper.tool)), "the gripper closed on nothing")
        return progress


def nearest_spot(episode: Episode, pose: Pose) -> str:
    """Returns the spot whose middle is nearest to `pose`, seen from above."""
    return min(SPOTS_M, key=lambda spot: _distance_m(pose, spot_m(episode, spot)))


def _rests_on(episode: Episode, state: WorldState, spot: str) -> bool:
    """Returns whether the block lies on `spot`, and no robot holds it."""
    pose = state.pose[BLOCK]
    lies = pose.position_m[2] < TABLE_TOP_M + BLOCK_M / 2 + 0.002
    return lies and BLOCK not in state.held.values() and _distance_m(pose, spot_m(episode, spot)) < ON_SPOT_M


def _distance_m(pose: Pose, point_m: tuple[float, float]) -> float:
    return float(np.hypot(pose.position_m[0] - point_m[0], pose.position_m[1] - point_m[1]))
