"""The output of frozen parts for each keyframe, computed once per episode and augmentation copy, and kept on disk."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from embodied.paths import write_atomically
from policies.training.dataset import SequenceDataset
from policies.training.learner import FROZEN, Batch, Learner
from policies.training.sampler import Sample
from policies.weights import read_tensors, tensor_bytes

IDENTITY_LENGTH = 16


class FeatureCache:
    """The frozen features of the sequences of `dataset`, in a folder of `root` that is named for the frozen weights.

    They are always computed for whole episodes, one at a time, so that they do not depend on the order of requests.
    """

    def __init__(self, learner: Learner, dataset: SequenceDataset, frozen: Iterable[str], root: Path) -> None:
        self._learner = learner
        self._dataset = dataset
        self._folder = root / _digest(learner, frozen)

    def features(self, samples: Sequence[Sample], longest: int) -> dict[str, Tensor]:
        """Returns `frozen.<name>` (B, T, ...) for `samples`, padded to `longest` as their batch is."""
        rows = [self._row(sample, longest) for sample in samples]
        return {FROZEN + name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _row(self, sample: Sample, longest: int) -> dict[str, Tensor]:
        item = sample.item
        kept = torch.arange(item.start, item.start + longest).clamp(max=item.stop - 1)
        return {name: tensor[kept] for name, tensor in self._episode(sample).items()}

    def _episode(self, sample: Sample) -> dict[str, Tensor]:
        episode, copy = sample.item.episode, self._dataset.copy_of(sample)
        path = self._folder / f"{self._dataset.recordings[episode].sha256}.{copy}.safetensors"
        if not path.exists():
            batch = self._dataset.batch([self._dataset.whole(episode, copy)])
            features = {name: tensor[0] for name, tensor in self._compute(batch).items()}
            write_atomically(path, tensor_bytes(features))
        return read_tensors(path)

    @torch.no_grad()
    def _compute(self, batch: Batch) -> dict[str, Tensor]:
        device = next(self._learner.parameters()).device
        training = {module: module.training for module in self._learner.modules()}
        self._learner.eval()
        try:
            return self._learner.frozen_features({name: tensor.to(device) for name, tensor in batch.items()})
        finally:
            for module, mode in training.items():
                module.training = mode


def _digest(learner: Learner, frozen: Iterable[str]) -> str:
    """Returns the digest of the weights that the features depend on, so that other weights do not find them."""
    groups, digest = learner.parameter_groups(), hashlib.sha256()
    for name in sorted(frozen):
        for parameter in groups[name]:
            digest.update(tensor_bytes({name: parameter}))
    return digest.hexdigest()[:IDENTITY_LENGTH]
