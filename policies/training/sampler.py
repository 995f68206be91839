"""The sequences of each batch: a pure function of seed, step and data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from embodied.seeding import stream
from policies.training.config import SamplingConfig


@dataclass(frozen=True)
class Item:
    """Keyframes [start, stop) of episode number `episode`."""

    episode: int
    start: int
    stop: int

    @property
    def keyframes(self) -> int:
        """The number of its keyframes."""
        return self.stop - self.start


@dataclass(frozen=True)
class Sample:
    """The `number`-th sequence that the seed gives; `copy` is its augmentation if that is selected by number."""

    number: int
    item: Item
    copy: int | None = None


def cut(lengths: Sequence[int], config: SamplingConfig) -> list[list[Item]]:
    """Returns the sequences into which episodes of `lengths` keyframes are cut, by episode.

    Windows overhang both ends of an episode and are clipped there, so that every keyframe lies in equally many of them,
    the last as well as the first.
    """
    return [_cut_one(episode, length, config) for episode, length in enumerate(lengths)]


def _cut_one(episode: int, length: int, config: SamplingConfig) -> list[Item]:
    window = config.sequence_length
    if not window:
        return [Item(episode, 0, length)]
    starts = range(config.sequence_stride - window, length, config.sequence_stride)
    return [Item(episode, max(start, 0), min(start + window, length)) for start in starts]


class Sampler:
    """Distributes sequences: tasks in turn, and within a task each sequence once before any is repeated.

    `tasks[e]` is the task of episode e. There is no state: sample i can be computed at any time.
    """

    def __init__(self, items: Sequence[Sequence[Item]], tasks: Sequence[str], *, seed: int) -> None:
        self._names = sorted(set(tasks))
        self._decks = {
            name: [item for own, task in zip(items, tasks, strict=True) if task == name for item in own]
            for name in self._names
        }
        self._seed = seed
        self._order = lru_cache(maxsize=4 * len(self._names))(self._shuffled)

    @property
    def epoch(self) -> int:
        """The number of samples that contain every sequence of the largest task once."""
        return len(self._names) * max(map(len, self._decks.values()))

    def batch(self, step: int, size: int) -> list[Sample]:
        """Returns the samples of `step`: numbers `step * size` and on."""
        return [self.sample(step * size + place) for place in range(size)]

    def sample(self, number: int) -> Sample:
        """Returns sample `number`."""
        turn, place = divmod(number, len(self._names))
        task = self._names[self._order("tasks", turn, len(self._names))[place]]
        deck = self._decks[task]
        epoch, dealt = divmod(turn, len(deck))
        return Sample(number, deck[self._order(task, epoch, len(deck))[dealt]])

    def _shuffled(self, name: str, epoch: int, length: int) -> np.ndarray:
        return stream(self._seed, "sampler", name, epoch).permutation(length)
