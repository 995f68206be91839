"""One seed, independent named streams: the same seed gives the same draw in any process and any order.

Seeds and ids that reach a policy are salted: without the salt of its run, which no policy gets, they give no
information about their episode.
"""

import hashlib
import secrets

import numpy as np

SEED_BITS = 63
SALT_BYTES = 16
OPAQUE_BYTES = 8


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


def drawn_salt() -> str:
    """Returns a new salt: 32 hexadecimal digits from the random source of the operating system."""
    return secrets.token_hex(SALT_BYTES)


def salted_seed(salt: str, *names: str | int) -> int:
    """Returns the seed in [0, 2**63) of the stream `names`, which only those who know `salt` can derive."""
    return int.from_bytes(_keyed(salt, names, 8), "little") >> (64 - SEED_BITS)


def opaque_id(salt: str, *names: str | int) -> str:
    """Returns an id of `names` in 16 hexadecimal digits, which only those who know `salt` can assign to them."""
    return _keyed(salt, ("opaque id", *names), OPAQUE_BYTES).hex()


def _keyed(salt: str, names: tuple[str | int, ...], size: int) -> bytes:
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    key = hashlib.blake2b(salt.encode()).digest()
    return hashlib.blake2b(text.encode(), digest_size=size, key=key).digest()
