"""Batches of sequences from recorded episodes: cut, augmented, padded; a pure function of seed, step and data."""

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import torch

from embodied.errors import DataError
from embodied.seeding import stream
from policies.training.augmentation import Augmentation, move_world
from policies.training.config import SamplingConfig
from policies.training.episodes import Arrays, EpisodeStore
from policies.training.learner import Batch
from policies.training.sampler import Item, Sample, Sampler, cut


class SequenceDataset:
    """The sequences of the recordings of `store`, as batches of tensors, for any number of threads.

    `tokenise` is the learner's; `augmentation` is None for validation.
    """

    def __init__(
        self,
        store: EpisodeStore,
        config: SamplingConfig,
        *,
        tokenise: Callable[[str], np.ndarray],
        augmentation: Augmentation | None,
        seed: int,
    ) -> None:
        self.recordings = store.recordings
        self._store = store
        self._augmentation = augmentation
        self._seed = seed
        self._lock = Lock()
        self._words = {name: tokenise(name) for name in {recording.instruction for recording in self.recordings}}
        items = cut([recording.keyframes for recording in self.recordings], config)
        self.items = [item for own in items for item in own]
        self.sampler = Sampler(items, [recording.task for recording in self.recordings], seed=seed)

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Returns the sequences of `samples`, padded to the longest by repeating their last keyframe.

        Raises `DataError`, naming the file, for a file that is damaged or holds values that are not finite.
        """
        longest = max(sample.item.keyframes for sample in samples)
        with self._lock:
            rows = [self._row(sample, longest) for sample in samples]
        batch = {name: torch.from_numpy(_narrowed(np.stack([row[name] for row in rows]))) for name in rows[0]}
        words = [self._words[self.recordings[sample.item.episode].instruction] for sample in samples]
        batch["words"] = torch.from_numpy(_padded(words))
        batch["episode"] = torch.tensor([sample.item.episode for sample in samples], dtype=torch.int64)
        return batch

    def whole(self, episode: int, copy: int) -> Sample:
        """Returns the sample that is all of `episode` in augmentation copy `copy`."""
        return Sample(0, Item(episode, 0, self.recordings[episode].keyframes), copy)

    def copy_of(self, sample: Sample) -> int:
        """Returns the number of the fixed augmentation copy that a sample shows; 0 where there are none."""
        if sample.copy is not None:
            return sample.copy
        copies = self._augmentation.copies if self._augmentation else 0
        return int(stream(self._seed, "copy", sample.number).integers(copies)) if copies else 0

    def describe(self, samples: Sequence[Sample]) -> list[str]:
        """Returns the files that `samples` come from."""
        return sorted({str(self.recordings[sample.item.episode].path) for sample in samples})

    def _row(self, sample: Sample, longest: int) -> Arrays:
        item = sample.item
        steps = np.arange(item.start, item.start + longest)
        kept = np.minimum(steps, item.stop - 1)
        row = {name: array[kept] for name, array in self._store[item.episode].items()}
        rejected = 0
        if self._augmentation:
            intents_m = self.recordings[item.episode].intents_m
            moved, rejected = self._augmentation.draw(self._stream_of(sample), intents_m)
            row = move_world(row, moved)
        row |= {"valid": steps < item.stop, "first": steps == item.start, "redrawn": np.array(rejected)}
        self._require_finite(row, item)
        return row

    def _require_finite(self, row: Arrays, item: Item) -> None:
        for name, array in row.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(
                    "Every number of a batch must be finite.",
                    value=f"{name} of {self.recordings[item.episode].path}",
                    remedy="Collect that demonstration again; no weight was touched.",
                )

    def _stream_of(self, sample: Sample) -> np.random.Generator:
        if self._augmentation and self._augmentation.copies:
            sha256 = self.recordings[sample.item.episode].sha256
            return stream(self._seed, "augmentation", sha256, self.copy_of(sample))
        return stream(self._seed, "augmentation", sample.number)


def _narrowed(array: np.ndarray) -> np.ndarray:
    # Geometry is moved in float64, so that an augmented pose is as exact as a recorded one.
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _padded(words: Sequence[np.ndarray]) -> np.ndarray:
    padded = np.zeros((len(words), max(map(len, words))), dtype=np.int64)
    for row, own in zip(padded, words, strict=True):
        row[: len(own)] = own
    return padded
