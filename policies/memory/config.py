"""The settings of memories, each with `build(grid)`; they can be read without PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embodied.errors import ConfigError
from policies.memory.sizes import AttentionSize, TokenGrid, check_counts

if TYPE_CHECKING:
    from policies.memory.contract import Memory
    from policies.memory.encoder import MomentEncoder


@dataclass(kw_only=True)
class NeuralMemoryConfig(ABC):
    """The settings of a memory; `build` makes a memory for the tokens of a policy."""

    @abstractmethod
    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory, freshly initialised. Raises `ConfigError` for values out of range."""


@dataclass(kw_only=True)
class NoMemoryConfig(NeuralMemoryConfig):
    """A memory that stores nothing: the policy has the modules around a memory, but no information from the past."""

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory that stores nothing."""
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

    @property
    def attention(self) -> AttentionSize:
        """The size of the attention that reads the memory."""
        return AttentionSize(layers=self.layers, heads=self.heads, hidden=self.hidden)

    def check(self, grid: TokenGrid) -> None:
        """Raises `ConfigError` for values out of range."""
        check_counts(self)
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
        return WindowMemory(grid, self.attention, capacity=self.capacity)


@dataclass(kw_only=True)
class KeepFirstMemoryConfig(AttendedMemoryConfig):
    """Keeps the `first` moments of an episode permanently, and the newest in the rest of `capacity`."""

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
        return KeepFirstMemory(grid, self.attention, capacity=self.capacity, first=self.first)


@dataclass(kw_only=True)
class MergingMemoryConfig(AttendedMemoryConfig):
    """Keeps all moments in `capacity` slots by merging the most similar; set it below the length of an episode."""

    capacity: int = 8

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory. Raises `ConfigError` for values out of range."""
        from policies.memory.merging import MergingMemory

        self.check(grid)
        return MergingMemory(grid, self.attention, capacity=self.capacity)


@dataclass(kw_only=True)
class RecurrentMemoryConfig(NeuralMemoryConfig):
    """An LSTM of `hidden` units whose initial weights keep inputs for up to `horizon` keyframes."""

    hidden: int = 256
    horizon: int = 25

    def build(self, grid: TokenGrid) -> Memory:
        """Returns the memory. Raises `ConfigError` for values out of range."""
        from policies.memory.recurrent import RecurrentMemory

        check_counts(self)
        if self.horizon < 3:
            raise ConfigError("`horizon` must be at least 3 keyframes.", value=self.horizon)
        return RecurrentMemory(grid, hidden=self.hidden, horizon=self.horizon)


@dataclass(kw_only=True)
class MomentEncoderConfig:
    """How a moment is encoded: the heat map is halved `halvings` times, then `blocks` mix it with the embedding."""

    halvings: int = 4
    blocks: int = 2

    def build(self, grid: TokenGrid) -> MomentEncoder:
        """Returns the encoder, freshly initialised. Raises `ConfigError` for values out of range."""
        from policies.memory.encoder import MomentEncoder

        check_counts(self)
        return MomentEncoder(grid, halvings=self.halvings, blocks=self.blocks)
