"""Stops an expert just before it must choose, and keeps what the robot sees there."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from embodied.errors import EmbodiedError
from embodied.geometry import Pose, compose
from embodied.protocols import Simulator
from embodied.rollout.requests import masked
from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import FRONT_IN_DRAWER_M
from embodied.tasks.expert import ExpertState, keyframe_expert
from embodied.types import (
    Decision,
    Episode,
    EpisodeRecord,
    IntentFeedback,
    Observation,
    Progress,
    Request,
    Truth,
    WorldState,
)
from policies.probes.sightings import ChoiceSighting, depth_units


class ChoiceReachedError(EmbodiedError):
    """The episode came to its choice; there is nothing to learn from the rest of it."""


@dataclass(kw_only=True)
class ChoiceRecorderConfig:
    """A recorder that ends every episode at its decision keyframe."""

    def build(self) -> "ChoiceRecorder":
        """Returns a recorder of one episode."""
        return ChoiceRecorder()


class ChoiceRecorder:
    """Records the one observation on which memory decides, as an unprivileged policy with all cameras would get it.

    It then raises `ChoiceReachedError`, which ends the episode as invalid: such episodes are evidence, not results.
    """

    def __init__(self) -> None:
        self._simulator: Simulator | None = None
        self._sighting: ChoiceSighting | None = None

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:  # noqa: ARG002
        """Finds the robot to observe."""
        self._simulator = simulator

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Looks, at the expert's decision keyframe. Raises `ChoiceReachedError` there."""
        truth, simulator, expert_state = request.truth, self._simulator, decision.carry
        if truth is None or simulator is None or not expert_state:
            return
        expert = keyframe_expert(truth.expert, truth.episode.task)
        course = expert.course(truth.episode, truth.state, cast(ExpertState, expert_state))
        if expert_state["step"] != course.decision + 1:  # It already points at the next keyframe.
            return
        seen = simulator.observe(request.observation.robot)
        observation = masked(seen, truth.episode.clock, step=request.step, privileged=False)
        self._sighting = _sighting(observation, truth, step=request.step)
        raise ChoiceReachedError("The choice was reached.", value=request.step)

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Only decisions matter."""

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Only the choice is recorded."""

    def on_end(self, record: EpisodeRecord) -> None:
        """Nothing is left to record."""

    def recordings(self) -> tuple[ChoiceSighting, ...]:
        """Returns what was seen; nothing if the episode ended before its choice."""
        return () if self._sighting is None else (self._sighting,)


def _sighting(observation: Observation, truth: Truth, *, step: int) -> ChoiceSighting:
    episode, images = truth.episode, list(observation.images.values())
    places = [_place(episode.scene, truth.state, name) for name in episode.choice_goal.candidates]
    clock_s = 0.0 if observation.time_s is None else observation.time_s
    return ChoiceSighting(
        rgb=np.stack([image.rgb for image in images]),
        depth=np.stack([depth_units(image.depth_m) for image in images]),
        intrinsics=np.stack([image.intrinsics for image in images]),
        world_from_camera=np.stack([image.world_from_camera for image in images]),
        body=np.array([*observation.proprio, clock_s, step], dtype=np.float32),
        candidates_m=np.array(places, dtype=np.float32),
        target=np.array(episode.choice_goal.candidates.index(episode.choice_goal.target)),
        seed=np.array(episode.seed),
    )


def _place(scene: Scene, state: WorldState, name: str) -> tuple[float, float, float]:
    """Returns where a probe looks for a candidate: its middle now, or of a drawer the front when shut."""
    joint = next((joint for joint in scene.joints if joint.child == name), None)
    if joint is None:
        return state.pose[name].position_m
    shut = compose(state.pose[joint.parent], joint.pose)
    return compose(shut, Pose(FRONT_IN_DRAWER_M)).position_m
