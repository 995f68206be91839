"""Instructions as vectors without a model: a hashed bag of words, until a learned embedding takes its place.

Each word adds +1 or -1 to one of 256 slots, both from a digest of its letters (feature hashing, Weinberger et al., ICML
2009); the sum is scaled to unit length. Two instructions are similar in so far as they share words: order and meaning
do not count, and two words may share a slot by chance. It needs no training and gives the same bytes on every machine.
A learned one has another `MODEL_ID`, and the bank compares within one model only.
"""

import hashlib
import re

import numpy as np

MODEL_ID = "hashed-words-256"
SLOTS = 256
DIGEST_BYTES = 8
_WORD = re.compile(r"\w+")


def embed(instruction: str) -> np.ndarray | None:
    """Returns an instruction as float32 (256,) of unit length, None where it has no words or they cancel out."""
    counts = np.zeros(SLOTS)
    for word in _WORD.findall(instruction.casefold()):
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=DIGEST_BYTES).digest(), "little")
        counts[number % SLOTS] += 1.0 if number // SLOTS % 2 else -1.0
    length = float(np.sqrt(counts @ counts))
    return (counts / length).astype("<f4") if length else None
