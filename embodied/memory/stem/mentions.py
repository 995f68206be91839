"""Who is spoken of when: one index from names to events, by kind and valid time. Poses live in their events."""

from collections.abc import Iterable, Sequence

from embodied.memory.stem.event import Event
from embodied.memory.stem.kinds import (
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    Interaction,
    Observed,
    RelationEnded,
    RelationSet,
    RobotRegistered,
    RobotState,
    SkillEnded,
    SubtaskEnded,
    ToolCalled,
)
from embodied.memory.stem.projection import Tables




class Mentions:
    """The table `mention`: subject, kind, valid time, seq. An event's own robot counts where the event is about it."""

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
        """Adds one row per name that the event is about."""
        names = tables.names
        subjects = mentioned(event)
        if subjects:
            kind = names.intern(event.kind)
            tables.db.executemany(
                "INSERT INTO mention VALUES (?, ?, ?, ?)",
                [(names.intern(subject), kind, event.valid_time_s, event.seq) for subject in subjects],
            )


def mentioned(event: Event) -> Sequence[str]:
    """Returns the names that an event is about, each once, in a fixed order."""
    match event.payload:
        case RobotState():
            found: Iterable[str] = (event.robot,)
        case EntitySeen(entity=entity) | AbsenceSeen(entity=entity):
            found = (entity,)
        case RelationSet(subject=subject, object=thing) | RelationEnded(subject=subject, object=thing):
            found = (subject, thing)
        case EntityMerged(entity=entity, into=into):
            found = (entity, into)
        case RobotRegistered(robot=robot):
            found = (robot,)
        case Interaction(entity=entity, source=source, target=target):
            found = (entity, event.robot, source, target)
        case SkillEnded() | ToolCalled() | SubtaskEnded():
            found = (event.robot,)
        case Observed(place=place, entities=entities):
            found = (*entities, place, event.robot)
        case _:
            found = ()
    return [name for name in dict.fromkeys(found) if name]
