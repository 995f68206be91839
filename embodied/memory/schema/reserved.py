"""Writers and kinds of events that the site reserves for itself: leases, removals, and what closes the past."""

from embodied.errors import NotPermittedError
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS

SITE = "site"
RETENTION = "retention"  # The writer of removals.


def is_reserved_writer(writer: str) -> bool:
    """Returns whether only the site may write under a name: `retention`, and the names under it and under `site`."""
    return writer == RETENTION or writer.startswith((f"{SITE}/", f"{RETENTION}/"))


def check_unreserved(event: Event) -> None:
    """Raises `NotPermittedError` for an event that only the site may write."""
    if is_reserved_writer(event.writer):
        raise NotPermittedError(
            "Only the site may write under a name that is reserved for it.",
            value=event.writer,
            remedy=f"Write under the robot's own name. Reserved: {RETENTION}, {RETENTION}/... and {SITE}/...",
        )
    if KINDS[event.kind].reserved:
        raise NotPermittedError(
            "Only the site itself may write events of this kind.",
            value=f"{event.kind} of {event.writer!r}",
            remedy="Ask the owner of the bank for leases and removals; it closes and reopens the past.",
        )
