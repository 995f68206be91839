"""A bar for the terminal."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

_T = TypeVar("_T")


def with_progress_bar(results: Iterable[_T], jobs: object) -> Iterator[_T]:
    """Yields `results`, with a bar on stderr where that is a terminal; `jobs` tells how many come, if it is sized."""
    total = len(jobs) if isinstance(jobs, Sized) else None
    yield from tqdm(results, total=total, unit="episode", file=sys.stderr, disable=None)
