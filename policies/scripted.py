"""Policies without learning: the expert, a memory-less guesser that moves as the expert does, and random keyframes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embodied.errors import ConfigError
from embodied.geometry import multiply_quaternions, quaternion_from_axis_angle, quaternion_from_euler, vector3
from embodied.scenes.tabletop import ROBOT_BASE_M, TABLE_TOP_M, WORKSPACE_M
from embodied.seeding import stream
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.expert import shown_expert
from embodied.types import Choice, Decision, Episode, MoveTo, Request

LOWEST_ABOVE_TABLE_M = 0.03
SHOULDER_M = (ROBOT_BASE_M[0], ROBOT_BASE_M[1], ROBOT_BASE_M[2] + 0.333)
WRIST_ABOVE_TOOL_M = 0.21
# Distances of the wrist from the shoulder at which nearly all poses that point down have joint angles.
NEAREST_M, FARTHEST_M = 0.3, 0.66


@dataclass(kw_only=True)
class ExpertConfig:
    """The expert has no options."""

    def build(self) -> "Expert":
        """Returns the expert."""
        return Expert()


@dataclass(kw_only=True)
class GuesserConfig:
    """The guesser has no options: its guess comes from the episode's seed."""

    def build(self) -> "Guesser":
        """Returns the guesser."""
        return Guesser()


@dataclass(kw_only=True)
class RandomPolicyConfig:
    """`tilt_limit_rad` bounds how far random keyframes lean from pointing straight down, in [0, pi]."""

    tilt_limit_rad: float = 0.3

    def build(self) -> "RandomPolicy":
        """Returns the policy. Raises `ConfigError`."""
        if not 0.0 <= self.tilt_limit_rad <= np.pi:
            raise ConfigError("`tilt_limit_rad` must lie in [0, pi].", value=self.tilt_limit_rad)
        return RandomPolicy(self)


class Expert:
    """Knows the target and solves the task: the ceiling, and the source of demonstrations."""

    observation_spec = ObservationSpec(cameras=())
    action_spec = KEYFRAME
    privileged = True

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one intent per request; the carry is its expert's. Raises `ConfigError` without truth or expert."""
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        truth = request.truth
        if truth is None:
            raise ConfigError(
                "An expert must be shown the truth.", remedy="Hand it requests of a loop that honours `privileged`."
            )
        episode, state, expert = truth.episode, truth.state, shown_expert(truth)
        expert_state = request.carry or expert.begin(episode, state, self._choose(episode))
        robot = request.observation.robot
        intent, expert_state = expert.next_intent(robot, episode, truth.progress, state, expert_state)
        return Decision((intent,), carry=expert_state)

    def _choose(self, episode: Episode) -> str:
        return episode.goal.target if isinstance(episode.goal, Choice) else ""


class Guesser(Expert):
    """Does all that the expert does, but with a candidate drawn uniformly, once per episode: perfect, memory-less.

    It never reads the target.
    """

    def _choose(self, episode: Episode) -> str:
        draw = stream(episode.seed, "guess", episode.task, episode.tier, episode.split)
        return episode.choice_goal.candidates[int(draw.integers(len(episode.choice_goal.candidates)))]


class RandomPolicy:
    """Goes anywhere above the table within the arm's reach, pointing roughly down, and opens or closes there."""

    observation_spec = ObservationSpec(cameras=())
    action_spec = KEYFRAME
    privileged = False

    def __init__(self, config: RandomPolicyConfig) -> None:
        self._tilt_limit_rad = config.tilt_limit_rad

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one random keyframe per request, from the request's seed alone."""
        return [Decision((self._keyframe(request.seed),)) for request in requests]

    def _keyframe(self, seed: int) -> MoveTo:
        draw = stream(seed, "random keyframe")
        low, high = np.transpose(WORKSPACE_M)
        low = np.maximum(low, (-np.inf, -np.inf, TABLE_TOP_M + LOWEST_ABOVE_TABLE_M))
        position = draw.uniform(low, high)
        while not _within_reach(position):
            position = draw.uniform(low, high)
        heading = draw.uniform(-np.pi, np.pi)
        lean = draw.uniform(0.0, self._tilt_limit_rad)
        axis = (lean * np.cos(heading), lean * np.sin(heading), 0.0)
        down = quaternion_from_euler(np.pi, 0.0, draw.uniform(-np.pi, np.pi))
        orientation = multiply_quaternions(quaternion_from_axis_angle(axis), down)
        return MoveTo(vector3(position), orientation, gripper_open=bool(draw.integers(2)))


def _within_reach(position_m: np.ndarray) -> bool:
    wrist_m = np.add(position_m, (0.0, 0.0, WRIST_ABOVE_TOOL_M))
    return NEAREST_M <= float(np.linalg.norm(wrist_m - SHOULDER_M)) <= FARTHEST_M
