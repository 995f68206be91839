"""The state at an instant: merged entities, parents and last sightings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from embodied.memory.projections import blocks
from embodied.memory.projections.parents import ORPHAN, Parent
from embodied.memory.projections.withdrawals import counted
from embodied.memory.schema.event import Event, LogPosition
from embodied.memory.storage.log import NOTHING_YET, EventLog

NEVER: LogPosition = (-math.inf, 0)
SEEN_KINDS = ("entity_seen", "robot_state")
# The id ? and its negative, under which rows of withdrawn events are kept.
BOTH_SIGNS = "(WITH one (id) AS (SELECT ?) SELECT id FROM one UNION ALL SELECT -id FROM one)"


@dataclass(frozen=True)
class Instant:
    """The knowledge of a query: events up to `seq`, of valid times up to `time_s` (infinite for the latest).

    With `late` some of them were withdrawn by events after `seq`, so they still count. Where it is `live` the clock of
    the bank goes on, else it stands at the last event.
    """

    seq: int
    time_s: float
    late: bool = False
    live: bool = False

    def by(self, time_s: float) -> "Instant":
        """Returns the instant of the same knowledge at a valid time, seconds."""
        return Instant(self.seq, time_s, self.late, self.live)


@dataclass(frozen=True)
class Member:
    """An entity that is the same as another, the entity into which it was merged, and since when (itself, `NEVER`)."""

    entity: int
    into: int
    merged: LogPosition


def having(column: str, at: Instant, seq: str) -> str:
    """Returns the SQL condition that a row which counts `at` an instant has the id `?` in `column`; see `Projection`.

    `seq` is the column with the event of the row, with its table.
    """
    return f"{column} = ?" if not at.late else f"{column} IN {BOTH_SIGNS} AND {counted(at.seq, seq)}"


def having_then(column: str, at: Instant) -> str:
    """Returns the SQL condition that a row of `parent_change` or `merge` counts at a number, with an id in `column`.

    Its values are the id and the number of the instant `at`.
    """
    if not at.late:
        return f"{column} = ? AND known_seq <= ?"
    return f"{column} IN {BOTH_SIGNS} AND known_seq <= ? AND {_until(at)}"


def _until(at: Instant) -> str:
    return f"(until_seq IS NULL OR until_seq > {at.seq:d})" if at.late else "TRUE"


def _same(column: str, entity: str, at: Instant) -> str:
    return f"{column} = {entity}" if not at.late else f"{column} IN ({entity}, -{entity})"


def _members(at: Instant) -> str:
    """Returns SQL for a table of the entities that are the same, by depth: its values are the root, time and number."""
    return (
        "WITH RECURSIVE member (entity, into_entity, time_s, merged) AS (SELECT ?1, ?1, 0, 0 UNION ALL "  # noqa: S608
        "SELECT abs(merge.entity), member.entity, merge.valid_time_s, merge.seq FROM member "
        f"JOIN merge ON {_same('merge.root', 'member.entity', at)} "
        f"WHERE merge.valid_time_s <= ?2 AND known_seq <= ?3 AND {_until(at)})"
    )


def root_at(log: EventLog, entity: int, at: Instant) -> int:
    """Returns the id of `entity` after the merges in `log` that are known `at` that instant."""
    statement = f"SELECT 1 FROM merge WHERE {having_then('entity', at)} AND valid_time_s <= ?"  # noqa: S608
    if not log.tables.select(statement, entity, at.seq, at.time_s):
        return entity
    found = log.tables.select_one(
        "WITH RECURSIVE up (entity, hops) AS (SELECT ?, 0 UNION ALL SELECT abs(merge.root), hops + 1 FROM up "  # noqa: S608
        f"JOIN merge ON {_same('merge.entity', 'up.entity', at)} WHERE valid_time_s <= ? AND known_seq <= ? "
        f"AND {_until(at)}) SELECT entity FROM up ORDER BY hops DESC LIMIT 1",
        entity, at.time_s, at.seq,
    )  # fmt: skip
    return found[0] if found else entity


def members_at(log: EventLog, root: int, at: Instant) -> list[Member]:
    """Returns all entities that are merged into `root` in `log` `at` that instant, itself first.

    An entity comes before those that were merged into it.
    """
    if not log.tables.select(f"SELECT 1 FROM merge WHERE {having_then('root', at)} LIMIT 1", root, at.seq):  # noqa: S608
        return [Member(root, root, NEVER)]
    found = log.tables.select(
        f"{_members(at)} SELECT entity, into_entity, time_s, merged FROM member LIMIT -1 OFFSET 1",  # noqa: S608
        root, at.time_s, at.seq,
    )  # fmt: skip
    return [Member(root, root, NEVER), *(Member(entity, into, (time_s, seq)) for entity, into, time_s, seq in found)]


def members_with(log: EventLog, root: int, at: Instant, table: str) -> set[int]:
    """Returns which of the entities that `members_at` gives for `log`, `root` and `at` have a row in a `table`.

    It is one of the bank's that has a column `subject`.
    """
    found = log.tables.select(
        f"{_members(at)} SELECT entity FROM member "  # noqa: S608
        f"WHERE EXISTS (SELECT 1 FROM {table} WHERE subject IN (entity{', -entity' if at.late else ''}))",
        root, at.time_s, at.seq,
    )  # fmt: skip
    return {entity for (entity,) in found}


def members_seen(log: EventLog, root: int, at: Instant, time_s: float) -> dict[int, LogPosition]:
    """Returns what `last_seen` does, for all entities of `members_at` of `root` that were seen by `time_s`.

    The merges in `log` count `at` that instant.
    """
    seen: dict[int, LogPosition] = {}
    for kind in SEEN_KINDS:
        for entity, *position in log.tables.select(
            f"{_members(at)} SELECT entity, event.valid_time_s, event.seq FROM member JOIN event ON event.seq = ("  # noqa: S608
            f"SELECT seq FROM mention WHERE subject = entity AND {having('kind', at, 'mention.seq')} "
            "AND valid_time_s <= ? AND seq <= ? ORDER BY valid_time_s DESC, seq DESC LIMIT 1)",
            root, at.time_s, at.seq, log.tables.names.find(kind), time_s, at.seq,
        ):  # fmt: skip
            seen[entity] = max(seen.get(entity, NEVER), (position[0], position[1]))
    return seen


def last_seen(log: EventLog, entity: int, at: Instant) -> LogPosition:
    """Returns the position of the last sighting of `entity` under this very id, or the last state of a robot.

    It comes from `log` as known `at` that instant; `NEVER` for none.
    """
    best = NEVER
    for kind in SEEN_KINDS:
        row = log.tables.select_one(
            f"SELECT valid_time_s, seq FROM mention WHERE subject = ? AND {having('kind', at, 'mention.seq')} "  # noqa: S608
            "AND valid_time_s <= ? AND seq <= ? ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
            entity, log.tables.names.find(kind), at.time_s, at.seq,
        )  # fmt: skip
        if row:
            best = max(best, (row[0], row[1]))
    return best


def last_logged(log: EventLog, subject: int | None, kind: str, at: Instant) -> Event | None:
    """Returns the newest event of a `kind` about `subject`, the id of a name, in `log` `at` an instant."""
    found = log.tables.select_one(
        f"SELECT seq FROM mention WHERE subject = ? AND {having('kind', at, 'mention.seq')} "  # noqa: S608
        "AND valid_time_s <= ? AND seq <= ? "
        "ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
        subject, log.tables.names.find(kind), at.time_s, at.seq,
    )  # fmt: skip
    return log.event(found[0]) if found else None


def parent_at(log: EventLog, subject: int, at: Instant) -> Parent:
    """Returns the parent of `subject` in `log` `at` that instant.

    Valid times of its changes ascend with their versions.
    """
    found = parents_at(log, subject, at, most=1)
    return found[0] if found else ORPHAN


def parents_at(log: EventLog, subject: int, at: Instant, *, most: int, below: int | None = None) -> Sequence[Parent]:
    """Returns the parents of `subject` in `log` until the instant `at`, the newest first.

    There are at most `most`, of versions under `below`.
    """
    found = log.tables.select(
        "SELECT predicate, object, version, since_s, seq, first FROM parent_change "  # noqa: S608
        f"WHERE {having_then('subject', at)} AND version < ? AND since_s <= ? ORDER BY version DESC LIMIT ?",
        subject, at.seq, math.inf if below is None else below, at.time_s, most,
    )  # fmt: skip
    return [Parent(*row) for row in found]


def now_s(log: EventLog, at: Instant) -> float:
    """Returns the time of the present at an instant, from which ages count, seconds.

    It is the instant's own time. For the latest it is the newest valid time, and what has passed by the bank's clock
    since the bank received that: so a log of last week, or of another era, is as old as it was when it ended. Where the
    instant is not live the clock stands when the last event was received: the answers of a snapshot never change.
    """
    if at.time_s < math.inf:
        return at.time_s
    shown_s = log.clock.time_s() if at.live else log.received_s(at.seq)
    newest_s, received_s = _newest(log, at.seq)
    return min(shown_s, newest_s + max(0.0, shown_s - received_s)) if newest_s > -math.inf else shown_s


def _newest(log: EventLog, head: int) -> tuple[float, float]:
    """Returns the newest valid time of the events up to number `head`, and when it was received; -inf for none."""
    if head == log.head and log.newest is not None:
        return log.newest
    newest_s = blocks.newest_s(log.tables, head)
    found = NOTHING_YET if newest_s is None else (newest_s, blocks.newest_received_s(log.tables, head, newest_s))
    if head == log.head:
        log.newest = found
    return found
