"""About how many rows an event writes, from the event alone: what a commit may contain is decided before it begins."""

from collections.abc import Iterable

import msgspec

from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import EntityMerged, Withdrawn

ROWS_PER_EVENT = 4  # Of an ordinary one.
ROWS_PER_MERGE = 100  # Of what is inside of the merged thing.
ROWS_PER_WITHDRAWAL = 500  # The runs of a skill after a withdrawn one are counted again.


def estimated_rows(events: Iterable[Event]) -> int:
    """Returns about how many rows the events write together; no commit knows before whether some are known already."""
    return sum(map(_rows_of_event, events))


def _rows_of_event(event: Event) -> int:
    payload = event.payload
    if isinstance(payload, Withdrawn):
        return ROWS_PER_EVENT + ROWS_PER_WITHDRAWAL * len(payload.seqs)
    if isinstance(payload, EntityMerged):
        return ROWS_PER_EVENT + ROWS_PER_MERGE
    return ROWS_PER_EVENT + _entries(payload)


def _entries(payload: msgspec.Struct) -> int:
    """Returns how many entries the fields of a payload have, such as names: each may be a row."""
    entries = 0
    for name in payload.__struct_fields__:
        value = getattr(payload, name)
        if type(value) is tuple and value and not isinstance(value[0], int | float):
            entries += len(value) + sum(_entries(one) for one in value if isinstance(one, msgspec.Struct))
    return entries
