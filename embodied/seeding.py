"""One seed, independent named streams: the same seed gives the same draw in any process and any order."""

import hashlib

import numpy as np

SEED_BITS = 63


def derive_seed(seed: int, *names: str | int) -> int:
    """Returns a seed in [0, 2**63) for the stream `names` of `seed`.

    Streams are independent: adding a draw to one never shifts another. Python's `hash` is not used, since it
    differs from process to process.
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - SEED_BITS)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Returns the generator of the stream `names` of `seed`."""
    return np.random.Generator(np.random.Philox(key=derive_seed(seed, *names)))
