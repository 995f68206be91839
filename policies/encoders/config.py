"""What may be chosen of encoders; none of it needs PyTorch to be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from embodied.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from policies.encoders.clip import ClipText
    from policies.encoders.convolutional import ConvolutionalEncoder
    from policies.encoders.hiera import HieraEncoder
    from policies.encoders.language import HashedWords

GROUP = 8


@dataclass(kw_only=True)
class ConvolutionalConfig:
    """A small network that learns from nothing: one stage per width, each halving the image.

    `inputs` is the number of channels of an image, `blocks` that of residual blocks per stage.
    """

    inputs: int = 10
    widths: tuple[int, ...] = (32, 64, 96)
    blocks: int = 1

    def build(self) -> ConvolutionalEncoder:
        """Returns the encoder. Raises `ConfigError` for sizes out of range, `MissingDependencyError`."""
        if self.inputs < 1 or self.blocks < 0 or not self.widths:
            raise ConfigError("A convolutional encoder needs inputs >= 1, blocks >= 0 and a width.", value=self)
        if any(width < 1 or width % GROUP for width in self.widths):
            raise ConfigError(f"The widths of an encoder must be multiples of {GROUP}.", value=self.widths)
        with explained():
            from policies.encoders.convolutional import ConvolutionalEncoder
        return ConvolutionalEncoder(self)


class HieraSize(Enum):
    """The published sizes of SAM 2.1's image encoder: 27.2, 34.3 and 69.1 million parameters."""

    tiny = "tiny"
    small = "small"
    base_plus = "base_plus"


@dataclass(kw_only=True)
class HieraConfig:
    """SAM 2.1's image encoder, frozen but for low-rank corrections of its attention.

    `weights` is a safetensors file of that size, named as transformers names Sam2VisionModel, Sam2Model or
    Sam2VideoModel; empty: random weights. `rank` is that of the corrections.
    """

    size: HieraSize = HieraSize.base_plus
    weights: str = ""
    rank: int = 16

    def build(self) -> HieraEncoder:
        """Returns the encoder. Raises `ConfigError` and `PathError` for weights that do not fit."""
        if self.rank < 1:
            raise ConfigError("Low-rank corrections need rank >= 1.", value=self.rank)
        with explained():
            from policies.encoders.hiera import SHAPES, HieraEncoder
        return HieraEncoder(SHAPES[self.size], rank=self.rank, weights=self.weights)


@dataclass(kw_only=True)
class HashedWordsConfig:
    """A vector per word, learned: no vocabulary, no weights."""

    dim: int = 96
    words: int = 24
    buckets: int = 4096

    def build(self) -> HashedWords:
        """Returns the encoder. Raises `ConfigError` for sizes out of range, `MissingDependencyError`."""
        if self.dim < 1 or self.words < 1 or self.buckets < 2:
            raise ConfigError("Hashed words need dim >= 1, words >= 1 and buckets >= 2.", value=self)
        with explained():
            from policies.encoders.language import HashedWords
        return HashedWords(self)


@dataclass(kw_only=True)
class ClipTextConfig:
    """CLIP's text tower, frozen.

    `folder` holds config.json, model.safetensors, vocab.json and merges.txt, as transformers writes them; empty: the
    published size with random weights, which can read nothing.
    """

    folder: str = ""

    def build(self) -> ClipText:
        """Returns the encoder. Raises `ConfigError` and `PathError` for a folder that does not fit."""
        with explained():
            from policies.encoders.clip import ClipText
        return ClipText(self)


@contextmanager
def explained() -> Iterator[None]:
    """Turns an import that fails into `MissingDependencyError` with its remedy."""
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"Encoders need {error.name}.", remedy="Install it: pip install 'embodied-memory[train]'."
        ) from error
