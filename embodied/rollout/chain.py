"""Chains of episodes: each starts in the final world of the one before."""

from collections.abc import Sequence

from embodied.errors import ConfigError
from embodied.protocols import ChainTask, Task
from embodied.types import Episode

LONGEST_CHAIN = 16


def chain_length(task: Task) -> int:
    """Returns how many episodes of `task` make a chain, 1 for independent episodes. Raises `ConfigError`."""
    length = task.chain_length if isinstance(task, ChainTask) else 1
    if not 1 <= length <= LONGEST_CHAIN:
        raise ConfigError(f"A chain must have 1 to {LONGEST_CHAIN} episodes.", value=length)
    return length


def require_whole_chains(name: str, seeds: Sequence[int], length: int) -> None:
    """Raises `ConfigError` unless `seeds` of the task called `name` are whole chains of `length` seeds in a row."""
    if len(seeds) % length:
        raise ConfigError(
            f"episodes must be whole chains of {name!r}.", value=len(seeds), remedy=f"Choose a multiple of {length}."
        )
    for first in range(0, len(seeds), length):
        chain = tuple(seeds[first : first + length])
        if chain != tuple(range(chain[0], chain[0] + length)):
            raise ConfigError(f"The seeds of a chain of {name!r} must follow one another.", value=chain)


def require_successor(episode: Episode, previous: Episode) -> None:
    """Raises `ConfigError` unless `episode` may start from the final world of `previous`."""
    if episode.after != previous.id:
        raise ConfigError(
            "An episode of a chain must start from the one that is played just before it.",
            value=(episode.id, episode.after, previous.id),
            remedy="Let the task set `Episode.after` to the id of the episode of the seed before.",
        )
    if episode.scene != previous.scene:
        raise ConfigError(
            "The episodes of a chain must have the same scene, since the world goes on.",
            value=(previous.id, episode.id),
        )


def require_right_world(episode: Episode, *, continued: bool) -> None:
    """Raises `ConfigError` unless `episode` is played in the world that it asks for: its own, or one that goes on."""
    if continued != (episode.after is not None):
        raise ConfigError(
            "An episode that starts from the world of another must be played in that world, right after it.",
            value=(episode.id, episode.after),
            remedy="Play its whole chain, as an evaluation does.",
        )
