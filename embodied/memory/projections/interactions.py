"""Interactions: who did what with which entity, in the order of valid time, so that the n-th one is found."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from embodied.memory.projections.projection import Projection, TakenBack
from embodied.memory.projections.withdrawals import counted, withdrawn_after
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Interaction
from embodied.memory.storage.tables import Tables


class Interactions(Projection):
    """The table `interaction`: valid time, seq, entity, robot, action; if withdrawn, the last three are negative."""

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS interaction (
        valid_time_s REAL NOT NULL, seq INTEGER NOT NULL, entity INTEGER NOT NULL, robot INTEGER NOT NULL,
        action INTEGER NOT NULL, PRIMARY KEY (valid_time_s, seq)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS interaction_entity ON interaction (entity, valid_time_s, seq);
    CREATE INDEX IF NOT EXISTS interaction_robot ON interaction (robot, valid_time_s, seq);
    CREATE INDEX IF NOT EXISTS interaction_action ON interaction (action, valid_time_s, seq);
    """
    tables: ClassVar[tuple[str, ...]] = ("interaction",)

    def apply(self, tables: Tables, event: Event) -> None:
        """Adds a row for an interaction."""
        if isinstance(event.payload, Interaction):
            intern = tables.names.intern
            entity, action = intern(event.payload.entity), intern(event.payload.action)
            row = event.valid_time_s, event.seq, entity, intern(event.robot), action
            tables.write("INSERT INTO interaction VALUES (?, ?, ?, ?, ?)", *row)

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Moves the rows of withdrawn interactions to where only earlier views look."""
        tables.write_many(
            "UPDATE interaction SET entity = -entity, robot = -robot, action = -action "
            "WHERE valid_time_s = ? AND seq = ?",
            [(one.valid_time_s, one.seq) for one in back.events if isinstance(one.payload, Interaction)],
        )

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops the rows of interactions that were removed."""
        gone = [(event.valid_time_s, event.seq) for event in events if isinstance(event.payload, Interaction)]
        tables.write_many("DELETE FROM interaction WHERE valid_time_s = ? AND seq = ?", gone)

    def prune(self, tables: Tables) -> None:
        """Drops the rows of all interactions that the log no longer has."""
        tables.write("DELETE FROM interaction WHERE seq NOT IN (SELECT seq FROM event)")


def nth_interaction(
    tables: Tables,
    number: int,
    wanted: Mapping[str, Sequence[int]],
    *,
    between_s: tuple[float, float],
    up_to_seq: int,
) -> int | None:
    """Returns the sequence number of interaction `number` that matches, from 1, or from -1 backwards; None for none.

    `tables` are those of the bank; `wanted` has ids of names, any of, for some of the columns `action`, `robot` and
    `entity`. Valid times are `between_s`, seconds, ends included, and only events up to `up_to_seq` count.
    """
    late = withdrawn_after(tables, up_to_seq)
    where, values = ["valid_time_s BETWEEN ? AND ?", "seq <= ?"], [*between_s, up_to_seq]
    where.append(counted(up_to_seq, "interaction.seq") if late else "robot > 0")
    for column, ids in wanted.items():
        known = [*ids, *(-number for number in ids)] if late else ids
        where.append(f"{column} IN ({', '.join('?' * len(known))})")
        values += known
    index = next(
        (f"INDEXED BY interaction_{column}" for column in ("entity", "robot", "action") if column in wanted), ""
    )
    direction = "ASC" if number > 0 else "DESC"
    found = tables.select_one(
        f"SELECT seq FROM interaction {index} WHERE {' AND '.join(where)} "  # noqa: S608
        f"ORDER BY valid_time_s {direction}, seq {direction} LIMIT 1 OFFSET ?",
        *values, abs(number) - 1,
    )  # fmt: skip
    return found[0] if found else None
