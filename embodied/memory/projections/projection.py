"""The base of projections: tables derived from the log alone."""

from collections.abc import Sequence
from typing import ClassVar

from embodied.memory.schema.event import Event
from embodied.memory.storage.tables import Tables

PROJECTIONS_VERSION = 9  # Increased whenever a schema or the meaning of an event changes: old tables are then rebuilt.


class Projection:
    """Tables derived from the log: `schema` is SQL that creates missing ones, `tables` are their names.

    `check` raises `MemoryBankError` for an event that the state of the tables forbids; `apply` writes the effect of an
    event, and depends on the tables and the event alone, so that a rebuild from the log gives the same rows. `release`
    drops the effect of events that were removed from the log, so that the rows are those of a rebuild without them. All
    run inside the caller's transaction. A projection overrides the methods for which it has something to do.
    """

    schema: ClassVar[str] = ""
    tables: ClassVar[tuple[str, ...]] = ()
    with_claims: ClassVar[bool] = False  # Whether claims are checked and applied too; see `Event.claimed`.

    def claims(self, tables: Tables, event: Event) -> bool:
        """Returns whether the state of the bank allows an event only as a claim, which no belief counts."""
        del tables, event
        return False

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `MemoryBankError` or `ConflictError` where the event contradicts the state of the bank."""

    def apply(self, tables: Tables, event: Event) -> None:
        """Writes the effect of the event, whose `seq` is set."""

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops the effect of events of removable kinds that the log no longer has."""

    def prune(self, tables: Tables) -> None:
        """As `release`, for all events that the log no longer has, after the tables came from an older snapshot."""

    def settle(self, tables: Tables, head: int) -> None:
        """Writes what depends on many events at once, after all events up to number `head` were applied again."""


def counting(projections: Sequence[Projection], event: Event) -> list[Projection]:
    """Returns those of the `projections` for which the event counts: of a claim, the ones that find it in the log."""
    return [projection for projection in projections if projection.with_claims or not event.claimed]
