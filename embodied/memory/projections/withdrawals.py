"""Which events were withdrawn, and by which: later views do not count them, earlier ones still do."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from embodied.errors import MemoryBankError
from embodied.memory.projections.projection import Projection, TakenBack
from embodied.memory.schema.event import Event
from embodied.memory.schema.kind_table import KINDS
from embodied.memory.schema.kinds import Withdrawn
from embodied.memory.storage.tables import Tables

KIND = "withdrawn"
SITE = "site"  # It may withdraw the events of all writers.
WITHDRAWABLE = tuple(tag for tag, kind in KINDS.items() if kind.withdrawable)


class Withdrawals(Projection):
    """The table `withdrawn`: number and valid time of each event that was withdrawn, and the number of what did it."""

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS withdrawn (
        seq INTEGER PRIMARY KEY, by_seq INTEGER NOT NULL, valid_time_s REAL NOT NULL
    );
    CREATE INDEX IF NOT EXISTS withdrawn_by ON withdrawn (by_seq);
    """
    with_claims: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ("withdrawn",)

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `MemoryBankError` for a withdrawal of events that its writer must not or cannot withdraw."""
        if isinstance(event.payload, Withdrawn):
            for seq in event.payload.seqs:
                _check(tables, event, seq)

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Notes which events were withdrawn."""
        tables.write_many(
            "INSERT INTO withdrawn VALUES (?, ?, ?)", [(one.seq, back.seq, one.valid_time_s) for one in back.events]
        )

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops the rows of withdrawn events that were removed."""
        if any_withdrawn(tables):
            tables.write_many("DELETE FROM withdrawn WHERE seq = ?", [(event.seq,) for event in events])

    def prune(self, tables: Tables) -> None:
        """Drops the rows of all events that the log no longer has."""
        tables.write("DELETE FROM withdrawn WHERE seq NOT IN (SELECT seq FROM event)")


def any_withdrawn(tables: Tables) -> bool:
    """Returns whether any event may have been withdrawn; no statement is run."""
    return tables.names.find(KIND) is not None


def withdrawn_by(tables: Tables, seq: int) -> int | None:
    """Returns the number of the event that withdrew event `seq`, None for none."""
    found = tables.select_one("SELECT by_seq FROM withdrawn WHERE seq = ?", seq) if any_withdrawn(tables) else None
    return found[0] if found else None


def withdrawn_after(tables: Tables, seq: int) -> bool:
    """Returns whether any event was withdrawn after event `seq`."""
    return any_withdrawn(tables) and bool(tables.select_one("SELECT 1 FROM withdrawn WHERE by_seq > ? LIMIT 1", seq))


def withdrawn_among(tables: Tables, numbers: Iterable[int]) -> set[int]:
    """Returns those of the events with these `numbers` that were withdrawn."""
    if not any_withdrawn(tables):
        return set()
    return {seq for seq in numbers if tables.select_one("SELECT 1 FROM withdrawn WHERE seq = ?", seq)}


def with_withdrawn(tables: Tables, kinds: Iterable[int]) -> list[int]:
    """Returns ids of kinds, and those under which the index of names has the withdrawn events of these kinds."""
    kinds = list(kinds)
    return [*kinds, *(-kind for kind in kinds)] if any_withdrawn(tables) else kinds


def withdrawals_about(tables: Tables, subjects: Sequence[int], after: int, to: int) -> list[int]:
    """Returns the numbers of the events, after `after` up to `to`, that withdrew events about any of `subjects`.

    Both the ids of names and the answer, which ascends, are of the bank of `tables`.
    """
    if not any_withdrawn(tables):
        return []
    marks = ", ".join("?" * len(subjects))
    found = tables.select(
        f"SELECT DISTINCT by_seq FROM mention JOIN withdrawn USING (seq) WHERE subject IN ({marks}) "  # noqa: S608
        "AND mention.kind < 0 AND by_seq > ? AND by_seq <= ? ORDER BY by_seq",
        *subjects, after, to,
    )  # fmt: skip
    return [seq for (seq,) in found]


def counted(seq: int, column: str) -> str:
    """Returns the SQL condition that the event `column`, as `table.column`, was not withdrawn up to event `seq`."""
    return f"NOT EXISTS (SELECT 1 FROM withdrawn AS gone WHERE gone.seq = {column} AND gone.by_seq <= {seq:d})"  # noqa: S608


def lived(tables: Tables, seq: int) -> str:
    """Returns SQL that adds to a condition on events: they are no withdrawals, nor withdrawn up to event `seq`.

    The time of a withdrawal is not one at which something was so: it may come from the clock that was wrong.
    """
    kind = tables.names.find(KIND)
    return f" AND kind <> {kind:d} AND {counted(seq, 'event.seq')}" if kind is not None else ""


def newest_withdrawn_s(tables: Tables, seq: int) -> float | None:
    """Returns the newest valid time, seconds, of the events up to `seq` that were withdrawn later, None for none."""
    if not any_withdrawn(tables):
        return None
    found = tables.select_one("SELECT MAX(valid_time_s) FROM withdrawn WHERE by_seq > ? AND seq <= ?", seq, seq)
    return found[0] if found else None


def _check(tables: Tables, event: Event, seq: int) -> None:
    if seq >= event.seq:
        raise MemoryBankError(
            "Only an earlier event can be withdrawn.", value=seq, remedy=f"The newest event is {event.seq - 1}."
        )
    found = tables.select_one("SELECT writer, kind FROM event WHERE seq = ?", seq)
    if found is None:
        raise MemoryBankError(
            "An event must still be in the log to be withdrawn.",
            value=seq,
            remedy="Retention has removed it, so no belief counts it any more: leave it out.",
        )
    writer, kind = map(tables.names.text, found)
    if kind not in WITHDRAWABLE:
        raise MemoryBankError(
            "Only a claim about the world can be withdrawn.",
            value=(seq, kind),
            remedy=f"Kinds that can be withdrawn: {', '.join(WITHDRAWABLE)}. Log a newer event that replaces this one.",
        )
    if _owner(event.writer) != _owner(writer) and not event.writer.startswith(f"{SITE}/"):
        raise MemoryBankError(
            "An event can be withdrawn only by its own writer or by the site.",
            value=(seq, writer, event.writer),
            remedy=f"Withdraw it as {_owner(writer)!r} or {_owner(writer) + '/...'!r}, or as '{SITE}/...'.",
        )
    by_seq = withdrawn_by(tables, seq)
    if by_seq is not None:
        raise MemoryBankError(
            "An event can be withdrawn only once.", value=seq, remedy=f"Event {by_seq} has withdrawn it: leave it out."
        )


def _owner(writer: str) -> str:
    """Returns the part of a writer's name before the slash: the robot or program that writes its streams."""
    return writer.partition("/")[0]
