"""Which memory a policy has, as plain values: every choice loads where no PyTorch is installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embodied.errors import ConfigError

if TYPE_CHECKING:
    from policies.memory.contract import Memory
    from policies.memory.encoder import MomentEncoder


@dataclass(frozen=True, kw_only=True)
class TokenGrid:
    """How the tokens of a policy lie: `views` images of `rows` x `cols` tokens, view by view and row by row.

    Queries are `dim` wide, what is written `slot_dim`. The policy knows them; its memory is built to fit. The published
    SAM2Act+ has three views of 16 x 16, 128 and 64 wide.
    """

    views: int
    rows: int
    cols: int
    dim: int
    slot_dim: int

    def __post_init__(self) -> None:
        _check_counts(self)
        if self.dim % 4 or self.slot_dim % 4:
            raise ConfigError(
                "Widths of tokens must be multiples of 4, for sines and cosines by row and column.",
                value=(self.dim, self.slot_dim),
            )

    @property
    def cells(self) -> int:
        """Tokens of one view."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """Tokens of one moment."""
        return self.views * self.cells


@dataclass(kw_only=True)
class NeuralMemoryConfig(ABC):
    """What all choices of a memory share: they are built to fit a policy's tokens."""

    @abstractmethod
    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory, freshly initialised. Raises `ConfigError` for values out of range."""


@dataclass(kw_only=True)
class NoMemoryConfig(NeuralMemoryConfig):
    """The policy has the contract of a memory and remembers nothing."""

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory that is none."""
        from policies.memory.none import NoMemory

        return NoMemory(grid)


@dataclass(kw_only=True)
class AttendedMemoryConfig(NeuralMemoryConfig):
    """Memories of at most `capacity` slots that are read by attention; the defaults are as published for SAM2Act+.

    `hidden` is the width of the feed-forward part of each of the `layers`.
    """

    capacity: int = 16
    layers: int = 4
    heads: int = 1
    hidden: int = 2048

    def check(self, grid: TokenGrid) -> None:
        """Raises `ConfigError` for values out of range."""
        _check_counts(self)
        if grid.dim % (4 * self.heads):
            raise ConfigError(
                "`heads` must divide the width of queries into multiples of 4.", value=(self.heads, grid.dim)
            )


@dataclass(kw_only=True)
class WindowMemoryConfig(AttendedMemoryConfig):
    """The last `capacity` moments."""

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory. Raises `ConfigError` for values out of range."""
        from policies.memory.window import WindowMemory

        self.check(grid)
        return WindowMemory(grid, self)


@dataclass(kw_only=True)
class KeepFirstMemoryConfig(AttendedMemoryConfig):
    """The `first` moments for ever, and the newest in the rest of `capacity`."""

    first: int = 1

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory. Raises `ConfigError` for values out of range."""
        from policies.memory.keep_first import KeepFirstMemory

        self.check(grid)
        if self.first >= self.capacity:
            raise ConfigError(
                "`first` must be less than `capacity`, so that the newest moment has a slot.",
                value=(self.first, self.capacity),
            )
        return KeepFirstMemory(grid, self)


@dataclass(kw_only=True)
class MergingMemoryConfig(AttendedMemoryConfig):
    """All moments in `capacity` slots, by merging the most alike; fewer than an episode has, so that it is trained."""

    capacity: int = 8

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory. Raises `ConfigError` for values out of range."""
        from policies.memory.merging import MergingMemory

        self.check(grid)
        return MergingMemory(grid, self)


@dataclass(kw_only=True)
class RecurrentMemoryConfig(NeuralMemoryConfig):
    """An LSTM of `hidden` units that can keep what it is told for up to `horizon` keyframes before it has learned."""

    hidden: int = 256
    horizon: int = 25

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory. Raises `ConfigError` for values out of range."""
        from policies.memory.recurrent import RecurrentMemory

        _check_counts(self)
        if self.horizon < 3:
            raise ConfigError("`horizon` must be at least 3 keyframes.", value=self.horizon)
        return RecurrentMemory(grid, self)


@dataclass(kw_only=True)
class MomentEncoderConfig:
    """How a moment becomes tokens to be written: the heat map is halved `halvings` times, then `blocks` mix both."""

    halvings: int = 4
    blocks: int = 2

    def build(self, grid: TokenGrid) -> MomentEncoder:
        """Returns the encoder, freshly initialised. Raises `ConfigError` for values out of range."""
        from policies.memory.encoder import MomentEncoder

        _check_counts(self)
        return MomentEncoder(grid, self)


def _check_counts(config: object) -> None:
    for name, value in vars(config).items():
        if value < 1:
            raise ConfigError(f"`{name}` of {type(config).__name__} must be at least 1.", value=value)
