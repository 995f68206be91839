"""The choices among memories, image encoders and language encoders: plain settings, since a schema has no unions."""

from dataclasses import dataclass, field
from enum import Enum

from policies.encoders.config import ClipTextConfig, ConvolutionalConfig, HashedWordsConfig, HieraConfig
from policies.encoders.sizes import HieraSize
from policies.memory.config import (
    KeepFirstMemoryConfig,
    MergingMemoryConfig,
    NeuralMemoryConfig,
    NoMemoryConfig,
    RecurrentMemoryConfig,
    WindowMemoryConfig,
)


class MemoryKind(Enum):
    """Which memory: `off` is SAM2Act, without the parts around a memory; `none` has them and keeps nothing."""

    off = "off"
    none = "none"
    window = "window"
    keep_first = "keep_first"
    merging = "merging"
    recurrent = "recurrent"


@dataclass(kw_only=True)
class MemoryChoice:
    """The settings of all memories; each kind reads its own. See `policies.memory.config`."""

    kind: MemoryKind = MemoryKind.off
    capacity: int = 16
    layers: int = 1
    heads: int = 4
    hidden: int = 192
    first: int = 4
    horizon: int = 25

    def config(self) -> NeuralMemoryConfig | None:
        """Returns the settings of the memory that was chosen, None for `off`."""
        attended = {"capacity": self.capacity, "layers": self.layers, "heads": self.heads, "hidden": self.hidden}
        match self.kind:
            case MemoryKind.off:
                return None
            case MemoryKind.none:
                return NoMemoryConfig()
            case MemoryKind.window:
                return WindowMemoryConfig(**attended)
            case MemoryKind.keep_first:
                return KeepFirstMemoryConfig(**attended, first=self.first)
            case MemoryKind.merging:
                return MergingMemoryConfig(**attended)
            case MemoryKind.recurrent:
                return RecurrentMemoryConfig(hidden=self.hidden, horizon=self.horizon)


class EncoderKind(Enum):
    """Which image encoder."""

    convolutional = "convolutional"
    hiera = "hiera"


@dataclass(kw_only=True)
class EncoderChoice:
    """The settings of all image encoders; each kind reads its own. See `policies.encoders.config`."""

    kind: EncoderKind = EncoderKind.convolutional
    widths: list[int] = field(default_factory=lambda: [32, 64, 96])
    blocks: int = 1
    size: HieraSize = HieraSize.base_plus
    weights: str = ""
    rank: int = 16

    def config(self, *, channels: int) -> ConvolutionalConfig | HieraConfig:
        """Returns the settings of the encoder that was chosen, for visualisations of so many channels."""
        if self.kind is EncoderKind.hiera:
            return HieraConfig(size=self.size, weights=self.weights, rank=self.rank)
        return ConvolutionalConfig(inputs=channels, widths=tuple(self.widths), blocks=self.blocks)


class LanguageKind(Enum):
    """Which encoder of instructions."""

    hashed = "hashed"
    clip = "clip"


@dataclass(kw_only=True)
class LanguageChoice:
    """The settings of all language encoders; each kind reads its own. See `policies.encoders.config`."""

    kind: LanguageKind = LanguageKind.hashed
    dim: int = 64
    words: int = 32
    buckets: int = 512
    folder: str = ""

    def config(self) -> HashedWordsConfig | ClipTextConfig:
        """Returns the settings of the encoder that was chosen."""
        if self.kind is LanguageKind.clip:
            return ClipTextConfig(folder=self.folder)
        return HashedWordsConfig(dim=self.dim, words=self.words, buckets=self.buckets)
