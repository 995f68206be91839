"""The tiny world of `fakes`, with the proprioception of a Panda, and records of what happened in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from embodied.protocols import Simulator
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.rollout.job import EpisodeResult
from embodied.types import Episode, EpisodeRecord, Observation
from tests.fakes import FakeSimulator, FakeSimulatorConfig

PROPRIO = len(proprio_layout(robot_model("panda")))


class PandaWorld(FakeSimulator):
    """Its hands are where they are, and their other joints are zero."""

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        observation = super().observe(robot, cameras)
        return replace(
            observation,
            proprio=np.resize(np.append(observation.proprio[:3], np.zeros(PROPRIO)), PROPRIO).astype(np.float32),
        )


@dataclass(kw_only=True)
class PandaWorldConfig(FakeSimulatorConfig):
    """Builds a `PandaWorld`."""

    def build(self) -> Simulator:
        return PandaWorld()


def record_of(episode: Episode, ending: EpisodeResult) -> EpisodeRecord:
    """The row of one played episode."""
    progress = ending.progress
    chosen = progress.choice
    return EpisodeRecord(
        run="run",
        episode=episode.id,
        attempt=1,
        task=episode.task,
        tier=episode.tier,
        policy="policy",
        variant=episode.variant,
        seed=episode.seed,
        outcome=progress.outcome,
        reason=progress.reason,
        phases=progress.reached,
        choice=None if chosen is None else {"chosen": chosen, "target": episode.choice_goal.target, "correct": True},
        steps=ending.steps,
        sim_time_s=ending.sim_time_s,
        wall_s=0.0,
    )
