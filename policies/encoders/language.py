"""Encoders of instructions: words into tokens."""

import re
import zlib
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from embodied.errors import ConfigError

EMBEDDING_SPREAD = 0.02


class LanguageEncoder(nn.Module, ABC):
    """Turns instructions into tokens of width `dim`, at most `words` of them."""

    dim: int
    words: int

    @abstractmethod
    def tokenise(self, text: str) -> np.ndarray:
        """Returns the ids (words,), int64, the same in any process. Raises `ConfigError`: too few, too many."""

    @abstractmethod
    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the tokens (batch, words, dim) of ids (batch, words), and a mask (batch, words) of the instruction.

        Tokens beyond the end of an instruction are zero.
        """


class HashedWords(LanguageEncoder):
    """Learns a vector per word and one per position in the sentence; a checksum identifies a word.

    Id 0 ends an instruction; case and punctuation do not count. No vocabulary: two words share a vector where their
    CRC-32 falls into the same of `buckets`, which a few dozen words hardly ever do.
    """

    def __init__(self, *, dim: int, words: int, buckets: int) -> None:
        super().__init__()
        self.dim = dim
        self.words = words
        self._buckets = buckets
        self._vectors = nn.Embedding(buckets, dim)
        self._places = nn.Parameter(torch.empty(words, dim))
        nn.init.normal_(self._vectors.weight, std=EMBEDDING_SPREAD)
        nn.init.normal_(self._places, std=EMBEDDING_SPREAD)

    def tokenise(self, text: str) -> np.ndarray:
        """Returns one id in [1, buckets) per word, then zeros."""
        found = re.findall(r"\w+", text.casefold())
        check_length(len(found), self.words, text)
        ids = np.zeros(self.words, dtype=np.int64)
        ids[: len(found)] = [1 + zlib.crc32(word.encode()) % (self._buckets - 1) for word in found]
        return ids

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Returns tokens and mask; see `LanguageEncoder`."""
        used = words != 0
        return (self._vectors(words) + self._places) * used[..., None], used


def check_length(found: int, most: int, text: str) -> None:
    """Raises `ConfigError` for an instruction `text` of no words or more than `most`; it has `found`."""
    if not 0 < found <= most:
        raise ConfigError(
            f"An instruction must have 1 to {most} words or tokens.",
            value=text[:80],
            remedy=f"It has {found}: rephrase it, or configure another language encoder.",
        )
