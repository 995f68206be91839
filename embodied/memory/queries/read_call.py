"""One query to a bank as a value that can be sent to another process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ReadCall:
    """A query by name, its arguments, and the sequence number as of which it is answered (None: the newest)."""

    name: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    seq: int | None = None
