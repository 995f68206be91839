"""What probes learn from: kinds of probes, labelled samples and their checks; loads without PyTorch."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from embodied.errors import ConfigError


class ProbeKind(StrEnum):
    """What a probe can see.

    `linear`: a weighted sum of all inputs per candidate. `convolution`: a small network over whole images.
    `pointing`: the same network over one crop per candidate, with shared weights: it finds the crop that stands out.
    """

    LINEAR = "linear"
    CONVOLUTION = "convolution"
    POINTING = "pointing"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples and the index of the right candidate of each.

    `inputs` is float32 or float16: (sample, feature) for linear probes, (sample, channel, height, width) for
    convolution, (sample, candidate, channel, height, width) for pointing. `labels` are integers (sample,).
    """

    inputs: np.ndarray
    labels: np.ndarray


@dataclass(kw_only=True)
class ProbeSettings:
    """How a probe is trained: one set of values for every task, chosen on leaks that were planted on purpose.

    `epochs`, `batch` (samples), `learning_rate` and `channels` (of the first convolution) are those of the networks;
    `weight_decay` is the L2 penalty of the linear probe and AdamW's decay for the networks. `threads` are PyTorch's.
    """

    kind: ProbeKind = ProbeKind.LINEAR
    epochs: int = 30
    batch: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    channels: int = 24
    threads: int = 1

    def check(self) -> None:
        """Raises `ConfigError` for counts and rates out of range."""
        counts = (self.epochs, self.batch, self.channels, self.threads)
        if min(counts) < 1 or self.learning_rate <= 0.0 or self.weight_decay < 0.0:
            raise ConfigError("Probe counts and rates must be positive.", value=self)


def check_samples(kind: ProbeKind, samples: Labelled, candidates: int) -> None:
    """Raises `ConfigError` unless `samples` are finite, and of shapes and labels that the `kind` of probe takes.

    Labels are below `candidates`.
    """
    axes = {ProbeKind.LINEAR: 2, ProbeKind.CONVOLUTION: 4, ProbeKind.POINTING: 5}[kind]
    if samples.inputs.ndim != axes or samples.labels.shape != samples.inputs.shape[:1] or not samples.labels.size:
        raise ConfigError(
            f"A {kind} probe takes {axes} axes of inputs and one label per sample.",
            value=(samples.inputs.shape, samples.labels.shape),
        )
    if kind is ProbeKind.POINTING and samples.inputs.shape[1] != candidates:
        raise ConfigError("A pointing probe takes one crop per candidate.", value=samples.inputs.shape[:2])
    if samples.labels.min() < 0 or samples.labels.max() >= candidates:
        raise ConfigError(f"Labels must lie in [0, {candidates}).", value=np.unique(samples.labels).tolist())
    if not np.isfinite(samples.inputs).all():
        raise ConfigError("Inputs of a probe must be finite.", value="NaN or infinity")
