"""Formats an event as one line of a timeline."""

from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KIND_OF_PAYLOAD
from embodied.memory.schema.payload_texts import Shown


def describe(event: Event, *, shown: Shown = str) -> str:
    """Returns the event as text, without time and robot; `shown` shortens the names of entities and places.

    A claim, which no belief counts, is marked.
    """
    text = KIND_OF_PAYLOAD[type(event.payload)].text(event.payload, shown)
    return f"claimed under lease {event.epoch} on {shown(event.subtask)}: {text}" if event.claimed else text
