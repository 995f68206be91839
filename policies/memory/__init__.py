"""Neural memories: modules with explicit state behind one contract, and a config per memory with `build(grid)`."""

from policies.memory.config import (
    KeepFirstMemoryConfig,
    MergingMemoryConfig,
    MomentEncoderConfig,
    NeuralMemoryConfig,
    NoMemoryConfig,
    RecurrentMemoryConfig,
    WindowMemoryConfig,
)
from policies.memory.sizes import TokenGrid

__all__ = [
    "KeepFirstMemoryConfig",
    "MergingMemoryConfig",
    "MomentEncoderConfig",
    "NeuralMemoryConfig",
    "NoMemoryConfig",
    "RecurrentMemoryConfig",
    "TokenGrid",
    "WindowMemoryConfig",
]
