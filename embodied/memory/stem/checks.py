"""What makes an event acceptable whatever the bank knows; every refusal states rule, value and remedy."""

import math

import msgspec
import numpy as np

from embodied.errors import MemoryBankError
from embodied.memory.stem.event import SCHEMA_VERSION, Event
from embodied.memory.stem.kinds import KINDS

def check_event(event: Event) -> None:
    """Raises `MemoryBankError` unless the event's own fields are sound."""
    if not event.writer or event.writer_seq < 1:
        raise MemoryBankError(
            "An event must name its writer and count from 1.",
            value=(event.writer, event.writer_seq),
            remedy="Number a writer's events 1, 2, 3, ...",
        )
    if not math.isfinite(event.valid_time_s):
        raise MemoryBankError("A valid time must be finite.", value=event.valid_time_s, remedy="Use the site clock.")
    if not 1 <= event.schema_version <= SCHEMA_VERSION:
        raise MemoryBankError(
            "The schema version of an event must be one that this code knows.",
            value=event.schema_version,
            remedy=f"Known: 1 to {SCHEMA_VERSION}. Update this installation, or write with an older one.",
        )
