"""The tiny world of `fakes`, with the proprioception of a Panda, and records of what happened in it."""

from dataclasses import dataclass, replace

from embodied.protocols import Simulator
from embodied.robots.catalogue import robot_model
from embodied.rollout.job import EpisodeResult
from embodied.types import Episode, EpisodeRecord
from tests.fakes import FLOATING, FakeSimulator, FakeSimulatorConfig

# A gripper that floats, as in `fakes`, and seven joints, so that a Panda has the same proprioception.
FLOATING_PANDA = replace(
    FLOATING,
    arms=(
        replace(
            FLOATING.arms[0],
            joints=robot_model("panda").joints,
            home_rad=(0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0),
            lower_rad=(-100.0,) * 7,
            upper_rad=(100.0,) * 7,
            velocity_limit_radps=(2.0,) * 7,
            effort_limit_nm=(1.0,) * 7,
        ),
    ),
)


class PandaWorld(FakeSimulator):
    """Its robots have the joints and the proprioception of a Panda."""

    model = FLOATING_PANDA


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
