"""What may be set about training; checked before anything starts."""

from dataclasses import dataclass, field
from enum import Enum

from embodied.errors import ConfigError


class Precision(Enum):
    """Of the forward pass; weights and optimiser are float32 either way."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(kw_only=True)
class DataConfig:
    """Which demonstrations are learnt from, and how they are cut into sequences.

    `tasks` read `<task>/<tier>` or `<task>`; none means all. A share `held_out` of each task's episodes is kept for
    validation. `sequence_length` 0 means whole episodes; otherwise windows of so many keyframes begin every
    `sequence_stride` keyframes, also before the first and so near the end that each keyframe lies in equally many.
    `memory_mb` bounds the decoded episodes kept in memory.
    """

    split: str = "train"
    tasks: list[str] = field(default_factory=list)
    held_out: float = 0.05
    sequence_length: int = 0
    sequence_stride: int = 1
    memory_mb: int = 4096

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if not 0.0 <= self.held_out <= 0.5:
            raise ConfigError("data.held_out must lie in [0, 0.5].", value=self.held_out)
        if self.sequence_length < 0 or self.memory_mb < 0:
            raise ConfigError(
                "data.sequence_length and data.memory_mb must not be negative.",
                value=(self.sequence_length, self.memory_mb),
            )
        if self.sequence_stride < 1 or self.sequence_length % self.sequence_stride:
            raise ConfigError(
                "data.sequence_stride must divide data.sequence_length, or some keyframes would be trained less often.",
                value=(self.sequence_stride, self.sequence_length),
                remedy="A stride of 1 always does.",
            )


@dataclass(kw_only=True)
class AugmentationConfig:
    """How far the world is moved, once per sequence: turned by up to `yaw_rad`, shifted by up to `shift_m` (x, y, z).

    `copies` 0 draws anew each time; otherwise each episode has so many fixed draws, so that features can be cached.
    After `tries` draws that would take an intent out of the workspace, a sequence is left as it is.
    """

    yaw_rad: float = 0.7854
    shift_m: list[float] = field(default_factory=lambda: [0.125, 0.125, 0.125])
    copies: int = 0
    tries: int = 20

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if not 0.0 <= self.yaw_rad <= 3.15:
            raise ConfigError("augmentation.yaw_rad must lie in [0, pi].", value=self.yaw_rad)
        if len(self.shift_m) != 3 or not all(0.0 <= shift <= 10.0 for shift in self.shift_m):
            raise ConfigError("augmentation.shift_m must be three distances in [0, 10] m.", value=self.shift_m)
        if self.copies < 0 or self.tries < 1:
            raise ConfigError(
                "augmentation.copies must not be negative, and tries at least 1.", value=(self.copies, self.tries)
            )
