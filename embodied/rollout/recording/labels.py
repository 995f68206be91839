"""The label of a recording."""

from embodied.trajectories import Label, goal_to_json
from embodied.types import Episode, EpisodeRecord


def episode_label(episode: Episode, record: EpisodeRecord, robot: str) -> Label:
    """Returns the label of a recording of `robot` in `episode`, which has ended with `record`."""
    return Label(
        episode=record.episode,
        task=episode.task,
        tier=episode.tier,
        variant=episode.variant,
        seed=episode.seed,
        split=episode.split,
        instruction=episode.instruction_of(robot),
        goal=goal_to_json(episode.goal),
        outcome=record.outcome,
        reason=record.reason,
        reached=record.phases,
        choice=None if record.choice is None else record.choice["chosen"],
        robots=tuple(robot.name for robot in episode.scene.robots),
    )
