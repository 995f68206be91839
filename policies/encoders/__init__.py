"""Encoders of virtual views and of instructions: a config per encoder, whose `build()` returns the network."""

from policies.encoders.config import ClipTextConfig, ConvolutionalConfig, HashedWordsConfig, HieraConfig
from policies.encoders.sizes import CHANNELS, COLOURS, HieraSize

__all__ = [
    "CHANNELS",
    "COLOURS",
    "ClipTextConfig",
    "ConvolutionalConfig",
    "HashedWordsConfig",
    "HieraConfig",
    "HieraSize",
]
