"""The choices among memories, image encoders and language encoders: plain settings, since a schema has no unions."""

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from embodied.errors import ConfigError, unknown_name
from policies.encoders.config import ClipTextConfig, ConvolutionalConfig, HashedWordsConfig, HieraConfig
from policies.encoders.sizes import HieraSize
from policies.memory.config import NeuralMemoryConfig
from policies.memory.registry import MEMORIES, memory_config

ATTENDED = ("capacity", "layers", "heads", "hidden")


class MemoryKind(StrEnum):
    """The memories of this project.

    `off` is SAM2Act, without the modules around a memory; `none` has these modules and a memory that stores nothing.
    """

    off = "off"
    none = "none"
    window = "window"
    keep_first = "keep_first"
    merging = "merging"
    recurrent = "recurrent"


@dataclass(kw_only=True)
class MemoryChoice:
    """The settings of all memories of this project, of which each kind reads its own; see `policies.memory.config`.

    `kind` is one of `MemoryKind`, or the name of a memory from outside, whose settings are `options`.
    """

    kind: str = MemoryKind.off
    capacity: int = 16
    layers: int = 1
    heads: int = 4
    hidden: int = 192
    first: int = 4
    horizon: int = 25
    options: dict[str, Any] = field(default_factory=dict)

    def config(self) -> NeuralMemoryConfig | None:
        """Returns the settings of the memory that was chosen, None for `off`.

        Raises `UnknownNameError` for a kind that does not exist, `ConfigError` for options that it lacks or that are
        not of its types, and `PluginError`.
        """
        own = {
            MemoryKind.off: (),
            MemoryKind.none: (),
            MemoryKind.window: ATTENDED,
            MemoryKind.keep_first: (*ATTENDED, "first"),
            MemoryKind.merging: ATTENDED,
            MemoryKind.recurrent: ("hidden", "horizon"),
        }
        if self.kind not in own:
            if self.kind not in MEMORIES:
                raise unknown_name("memory", self.kind, [MemoryKind.off, *MEMORIES])
            return memory_config(self.kind, self.options)
        kind = MemoryKind(self.kind)
        if self.options:
            raise ConfigError(
                f"The options of a memory from outside must be left out for memory {self.kind!r}.",
                value=dict(self.options),
                remedy=f"It reads: {', '.join(own[kind]) or 'no settings'}.",
            )
        if kind is MemoryKind.off:
            return None
        return memory_config(kind, {name: getattr(self, name) for name in own[kind]})


class EncoderKind(Enum):
    """The kinds of image encoders."""

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
        """Returns the settings of the encoder that was chosen, for visualisations of `channels` channels."""
        if self.kind is EncoderKind.hiera:
            return HieraConfig(size=self.size, weights=self.weights, rank=self.rank)
        return ConvolutionalConfig(inputs=channels, widths=tuple(self.widths), blocks=self.blocks)


class LanguageKind(Enum):
    """The kinds of encoders of instructions."""

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
