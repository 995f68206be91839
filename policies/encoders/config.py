"""The settings of encoders, each with `build()`; none of them needs PyTorch to be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embodied.errors import ConfigError
from policies.encoders.dependencies import training_extra
from policies.encoders.sizes import GROUP, SHAPES, HieraSize

if TYPE_CHECKING:
    from policies.encoders.clip import ClipText
    from policies.encoders.convolutional import ConvolutionalEncoder
    from policies.encoders.hiera import HieraEncoder
    from policies.encoders.language import HashedWords


@dataclass(kw_only=True)
class ConvolutionalConfig:
    """A small network that is trained from random weights: one stage per width, each halving the image.

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
        with training_extra():
            from policies.encoders.convolutional import ConvolutionalEncoder
        return ConvolutionalEncoder(inputs=self.inputs, widths=self.widths, blocks=self.blocks)


@dataclass(kw_only=True)
class HieraConfig:
    """SAM 2.1's image encoder, frozen but for low-rank corrections of its attention.

    `weights` is a safetensors file of that size, named as transformers names Sam2VisionModel, Sam2Model or
    Sam2VideoModel; empty: random weights. `rank` is the rank of the corrections.
    """

    size: HieraSize = HieraSize.base_plus
    weights: str = ""
    rank: int = 16

    def build(self) -> HieraEncoder:
        """Returns the encoder. Raises `ConfigError` and `PathError` for weights that do not fit."""
        if self.rank < 1:
            raise ConfigError("Low-rank corrections need rank >= 1.", value=self.rank)
        with training_extra():
            from policies.encoders.hiera import HieraEncoder
        return HieraEncoder(SHAPES[self.size], rank=self.rank, weights=self.weights)


@dataclass(kw_only=True)
class HashedWordsConfig:
    """A learned vector per word, without a vocabulary and without published weights."""

    dim: int = 96
    words: int = 24
    buckets: int = 4096

    def build(self) -> HashedWords:
        """Returns the encoder. Raises `ConfigError` for sizes out of range, `MissingDependencyError`."""
        if self.dim < 1 or self.words < 1 or self.buckets < 2:
            raise ConfigError("Hashed words need dim >= 1, words >= 1 and buckets >= 2.", value=self)
        with training_extra():
            from policies.encoders.language import HashedWords
        return HashedWords(dim=self.dim, words=self.words, buckets=self.buckets)


@dataclass(kw_only=True)
class ClipTextConfig:
    """CLIP's text tower, frozen.

    `folder` holds config.json, model.safetensors, vocab.json and merges.txt, as transformers writes them; empty: the
    published size with random weights, which can read nothing.
    """

    folder: str = ""

    def build(self) -> ClipText:
        """Returns the encoder. Raises `ConfigError` and `PathError` for a folder that does not fit."""
        with training_extra():
            from policies.encoders.clip import ClipText
        return ClipText(Path(self.folder) if self.folder else None)
