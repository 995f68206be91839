"""Who is spoken of when: one index from names to events, by kind and valid time. Poses live in their events."""

from collections.abc import Callable, Sequence
from typing import Any

from embodied.memory.schema import kinds
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import KINDS
from embodied.memory.storage.tables import Tables

FREQUENT = ("robot_state", "entity_seen", "absence_seen", "moment_stored", "observed")
RARE = frozenset(KINDS) - set(FREQUENT)
EVERYBODY = ""  # Rare kinds are filed under the empty name too, so that a timeline needs no scan.


class InvertedIndex:
    """The table `mention`: subject, kind, valid time, seq."""

    schema = """
    CREATE TABLE IF NOT EXISTS mention (
        subject INTEGER NOT NULL, kind INTEGER NOT NULL, valid_time_s REAL NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (subject, kind, valid_time_s, seq)
    ) WITHOUT ROWID;
    """
    tables = ("mention",)

    def check(self, tables: Tables, event: Event) -> None:
        """Nothing that is known forbids speaking of somebody."""

    def apply(self, tables: Tables, event: Event) -> None:
        """Adds one row per name that the event is about; forgotten events are no longer spoken of."""
        intern = tables.names.intern
        kind = intern(event.kind)
        tables.write_many(
            "INSERT INTO mention VALUES (?, ?, ?, ?)",
            [(intern(subject), kind, event.valid_time_s, event.seq) for subject in mentioned(event)],
        )
        if isinstance(event.payload, kinds.Forgotten):
            tables.write("DELETE FROM mention WHERE seq NOT IN (SELECT seq FROM event)")


def rare_events(tables: Tables, wanted: Sequence[str], after: int, to: int) -> list[int]:
    """Returns the numbers of all events of rare kinds after `after` up to `to`, ascending, without reading any."""
    kinds_wanted = [tables.names.find(kind) for kind in wanted]
    marks = ", ".join("?" * len(kinds_wanted))
    found = tables.rows(
        f"SELECT seq FROM mention WHERE subject = ? AND kind IN ({marks}) AND seq > ? AND seq <= ?",  # noqa: S608
        tables.names.find(EVERYBODY), *kinds_wanted, after, to,
    )  # fmt: skip
    return sorted(seq for (seq,) in found)


def mentioned(event: Event) -> Sequence[str]:
    """Returns the names that an event is about, each once, in a fixed order; see `EVERYBODY`."""
    names = _MENTIONED.get(type(event.payload))
    if names is None:
        return (EVERYBODY,)
    found = names(event, event.payload)
    return found if len(found) < 2 else [*dict.fromkeys(found)]


_MENTIONED: dict[type, Callable[[Event, Any], tuple[str, ...]]] = {
    kinds.RobotState: lambda event, _: (event.robot,),
    kinds.EntitySeen: lambda _, said: (said.entity,),
    kinds.AbsenceSeen: lambda _, said: (said.entity,),
    kinds.MomentStored: lambda _, said: said.entities,
    kinds.Observed: lambda event, said: tuple(name for name in (*said.entities, said.place, event.robot) if name),
    kinds.PlaceDefined: lambda _, said: (EVERYBODY, said.place),
    kinds.RelationSet: lambda _, said: (EVERYBODY, said.subject, said.object),
    kinds.RelationEnded: lambda _, said: (EVERYBODY, said.subject, said.object),
    kinds.EntityMerged: lambda _, said: (EVERYBODY, said.entity, said.into),
    kinds.RobotRegistered: lambda _, said: (EVERYBODY, said.robot),
    kinds.Interaction: lambda event, said: (EVERYBODY, said.entity, event.robot, said.source, said.target),
    kinds.SkillEnded: lambda event, _: (EVERYBODY, event.robot),
    kinds.ToolCalled: lambda event, _: (EVERYBODY, event.robot),
    kinds.SubtaskEnded: lambda event, _: (EVERYBODY, event.robot),
    kinds.LeaseGranted: lambda event, _: (EVERYBODY, event.robot),
}
