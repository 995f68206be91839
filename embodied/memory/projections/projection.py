"""The base of projections: tables derived from the log alone."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Withdrawn
from embodied.memory.storage.tables import Tables

PROJECTIONS_VERSION = 11  # Increased whenever a schema or the meaning of an event changes: old tables are then rebuilt.

ReadEvent = Callable[[int], Event | None]  # The event of a number, None where the log no longer has it.


class TakenBack(NamedTuple):
    """The `events` that event `seq` withdraws, in the order of the log, and how others are read."""

    seq: int
    events: Sequence[Event]
    read: ReadEvent


class Projection:
    """Tables derived from the log: `schema` is SQL that creates missing ones, `tables` are their names.

    `check` raises `MemoryBankError` for an event that the state of the tables forbids; `apply` writes the effect of an
    event, and depends on the tables and the event alone, so that a rebuild from the log gives the same rows. `withdraw`
    takes back the effect of withdrawn events for all later views, and leaves earlier ones as they were: by convention
    rows of withdrawn events stay under the negative of their key, where only earlier views look for them. `release`
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

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Takes back the effect of withdrawn events. Raises `MemoryBankError` where the state would then be invalid."""

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops the effect of events of removable kinds that the log no longer has."""

    def prune(self, tables: Tables) -> None:
        """As `release`, for all events that the log no longer has, after the tables came from an older snapshot."""

    def settle(self, tables: Tables, head: int) -> None:
        """Writes what depends on many events at once, after all events up to number `head` were applied again."""


def counting(projections: Sequence[Projection], event: Event) -> list[Projection]:
    """Returns those of the `projections` for which the event counts: of a claim, the ones that find it in the log."""
    return [projection for projection in projections if projection.with_claims or not event.claimed]


def apply_event(projections: Sequence[Projection], tables: Tables, event: Event, read: ReadEvent) -> None:
    """Writes the effect of an `event` on all `projections`, in `tables`; `read` gives earlier events of the log."""
    for projection in counting(projections, event):
        projection.apply(tables, event)
    if isinstance(event.payload, Withdrawn):
        gone = [one for seq in sorted(event.payload.seqs) if (one := read(seq)) is not None]
        for projection in projections:
            counted = [one for one in gone if projection.with_claims or not one.claimed]
            projection.withdraw(tables, TakenBack(event.seq, counted, read))
