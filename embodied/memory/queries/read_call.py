"""One query to a bank as a value: it crosses processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ReadCall:
    """A query by name, its arguments, and as of which sequence number it is answered (None: the newest)."""

    name: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    seq: int | None = None
