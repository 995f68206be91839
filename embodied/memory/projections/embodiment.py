"""Embodiment: the robots, their skills and success rates, and the leases of subtasks."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from embodied.errors import ConflictError, MemoryBankError
from embodied.memory.projections.projection import Projection, TakenBack
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import (
    Interaction,
    LeaseGranted,
    RelationEnded,
    RelationSet,
    RobotRegistered,
    SkillEnded,
    SubtaskEnded,
)
from embodied.memory.storage.tables import Tables

EFFECTS = (RelationSet, RelationEnded, Interaction, SkillEnded, SubtaskEnded)  # What a robot does under a lease.
DECAY = 0.96  # By which the weight of a run falls with each later one: half of it is left after 17.
RUN = "robot = ? AND skill = ? AND context = ?"
ADD_RUN = "INSERT INTO skill_run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"
ANY_CONTEXT = ""  # Runs are also counted under it, whatever their context.


class Experience(NamedTuple):
    """How many runs of a skill there were and succeeded, and the same with the weights that have faded since.

    Recency-weighted counts of a Beta distribution; source: Raj and Kalyani, Taming Non-Stationary Bandits, 2017.
    """

    runs: int = 0
    successes: int = 0
    weight: float = 0.0
    won: float = 0.0

    def after(self, *, success: bool) -> "Experience":
        """Returns the experience after one more run."""
        return Experience(
            self.runs + 1, self.successes + success, DECAY * self.weight + 1.0, DECAY * self.won + float(success)
        )


class Embodiment(Projection):
    """`robot` has the first registration of each, `lease` one row per epoch, `lease_open` those that are in force.

    `skill_run` has a row per run, with the `Experience` up to it: of its context, and again of all contexts, under the
    empty name. `newest_s` is the newest valid time of the runs counted. A row counts from the event `known_seq` on,
    its own or a withdrawal, until the withdrawal `until_seq`; it then has the negative of its robot.
    A subtask that ended without ever having been leased has a row of epoch 0, which no robot holds.
    """

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS robot (
        robot INTEGER PRIMARY KEY, seq INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS skill_run (
        robot INTEGER NOT NULL, skill INTEGER NOT NULL, context INTEGER NOT NULL, seq INTEGER NOT NULL,
        success INTEGER NOT NULL, valid_time_s REAL NOT NULL, newest_s REAL NOT NULL, runs INTEGER NOT NULL,
        successes INTEGER NOT NULL, weight REAL NOT NULL, won REAL NOT NULL, known_seq INTEGER NOT NULL,
        until_seq INTEGER, PRIMARY KEY (robot, skill, context, seq, known_seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS lease (
        subtask INTEGER NOT NULL, epoch INTEGER NOT NULL, robot INTEGER NOT NULL, expires_s REAL NOT NULL,
        seq INTEGER NOT NULL, ended_seq INTEGER, PRIMARY KEY (subtask, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS lease_open (
        subtask INTEGER PRIMARY KEY, robot INTEGER NOT NULL, expires_s REAL NOT NULL
    );
    CREATE INDEX IF NOT EXISTS lease_open_robot ON lease_open (robot, expires_s);
    CREATE INDEX IF NOT EXISTS lease_robot ON lease (robot, expires_s);
    """
    tables: ClassVar[tuple[str, ...]] = ("robot", "skill_run", "lease", "lease_open")

    def claims(self, tables: Tables, event: Event) -> bool:
        """Returns whether it is an effect that names a lease which is not its robot's newest, or of an ended subtask.

        A lease whose time is over counts as long as no newer one was granted; a subtask that was never leased has none.
        """
        if not event.subtask or not isinstance(event.payload, EFFECTS):
            return False
        epoch, holder, _, ended_seq = newest_lease(tables, event.subtask)
        return (event.epoch, event.robot) != (epoch, holder) or ended_seq is not None

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `ConflictError` for a lease that is not free, and for an outcome logged under a stale lease."""
        match event.payload:
            case LeaseGranted() as payload:
                _check_grant(tables, event, payload)
            case SubtaskEnded() as payload:
                _check_end(tables, event, payload)

    def apply(self, tables: Tables, event: Event) -> None:
        """Writes registrations, runs of skills and leases."""
        intern = tables.names.intern
        match event.payload:
            case RobotRegistered(robot=robot):
                tables.write("INSERT OR IGNORE INTO robot VALUES (?, ?)", intern(robot), event.seq)
            case SkillEnded(context=context) as payload:
                for counted in {context, ANY_CONTEXT}:
                    _count_run(tables, event, payload, counted)
            case LeaseGranted() as payload:
                tables.write(
                    "INSERT INTO lease VALUES (?, ?, ?, ?, ?, NULL)",
                    intern(payload.subtask), payload.epoch, intern(event.robot), payload.expires_s, event.seq,
                )  # fmt: skip
                tables.write(
                    "INSERT OR REPLACE INTO lease_open VALUES (?, ?, ?)",
                    intern(payload.subtask), intern(event.robot), payload.expires_s,
                )  # fmt: skip
            case SubtaskEnded(subtask=subtask, epoch=0):
                # An older bank may contain several such ends of one subtask: the first one counts.
                tables.write(
                    "INSERT OR IGNORE INTO lease VALUES (?, 0, 0, 0, ?, ?)", intern(subtask), event.seq, event.seq
                )
            case SubtaskEnded(subtask=subtask, epoch=epoch):
                tables.write(
                    "UPDATE lease SET ended_seq = ? WHERE subtask = ? AND epoch = ?",
                    event.seq, intern(subtask), epoch,
                )  # fmt: skip
                tables.write("DELETE FROM lease_open WHERE subtask = ?", intern(subtask))

    def withdraw(self, tables: Tables, back: TakenBack) -> None:
        """Counts the runs of skills again without the withdrawn ones: a run fades by those after it."""
        runs: dict[tuple[str, str, str], list[Event]] = defaultdict(list)
        for event in back.events:
            if isinstance(event.payload, SkillEnded):
                for context in sorted({event.payload.context, ANY_CONTEXT}):
                    runs[event.robot, event.payload.skill, context].append(event)
        for (_, _, context), events in runs.items():
            _withdraw_runs(tables, back.seq, events, context)


def _count_run(tables: Tables, event: Event, payload: SkillEnded, context: str) -> None:
    intern = tables.names.intern
    key = intern(event.robot), intern(payload.skill), intern(context)
    newest_s, *known = tables.select_one(
        "SELECT newest_s, runs, successes, weight, won FROM skill_run WHERE robot = ? AND skill = ? AND context = ? "
        "ORDER BY seq DESC LIMIT 1",
        *key,
    ) or (event.valid_time_s,)  # fmt: skip
    tables.write(
        ADD_RUN,
        *key, event.seq, int(payload.success), event.valid_time_s, max(newest_s, event.valid_time_s),
        *Experience(*known).after(success=payload.success), event.seq,
    )  # fmt: skip


def _withdraw_runs(tables: Tables, by_seq: int, runs: Sequence[Event], context: str) -> None:
    """Counts the runs after the first of `runs`, all of one robot, skill and context, again without these."""
    gone = {event.seq for event in runs}
    first, payload = min(gone), runs[0].payload
    skill = payload.skill if isinstance(payload, SkillEnded) else ""
    key = tuple(map(tables.names.find, (runs[0].robot, skill, context)))
    later = tables.select(
        f"SELECT seq, success, valid_time_s FROM skill_run WHERE {RUN} AND seq >= ? ORDER BY seq", *key, first  # noqa: S608
    )  # fmt: skip
    newest_s, *known = tables.select_one(
        f"SELECT newest_s, runs, successes, weight, won FROM skill_run WHERE {RUN} AND seq < ? "  # noqa: S608
        "ORDER BY seq DESC LIMIT 1",
        *key, first,
    ) or (-math.inf,)  # fmt: skip
    superseded = f"UPDATE skill_run SET robot = -robot, until_seq = ? WHERE {RUN} AND seq >= ?"  # noqa: S608
    tables.write(superseded, by_seq, *key, first)
    experience = Experience(*known)
    rows = []
    for seq, success, time_s in later:
        if seq not in gone:
            newest_s, experience = max(newest_s, time_s), experience.after(success=bool(success))
            rows.append((*key, seq, success, time_s, newest_s, *experience, by_seq))
    tables.write_many(ADD_RUN, rows)  # In one statement: each would give way to other threads.


def newest_lease(tables: Tables, subtask: str) -> tuple[int, str, float, int | None]:
    """Returns epoch, robot, end (seconds) and ending event of a subtask's newest lease; epoch 0 where it has none."""
    found = tables.select_one(
        "SELECT epoch, robot, expires_s, ended_seq FROM lease WHERE subtask = ? ORDER BY epoch DESC LIMIT 1",
        tables.names.find(subtask),
    )
    if not found:
        return 0, "", -float("inf"), None
    epoch, robot, expires_s, ended_seq = found
    return epoch, tables.names.text(robot), expires_s, ended_seq


def _check_grant(tables: Tables, event: Event, payload: LeaseGranted) -> None:
    epoch, holder, expires_s, ended_seq = newest_lease(tables, payload.subtask)
    if ended_seq is not None:
        raise ConflictError(
            "A subtask that ended must not be leased again.",
            value=payload.subtask,
            remedy=f"It ended with event {ended_seq}: give a retry a name of its own.",
        )
    if payload.epoch != epoch + 1:
        raise ConflictError(
            "The epochs of a lease must grow by one.",
            value=(payload.subtask, payload.epoch),
            remedy=f"{holder or 'No robot'!r} has epoch {epoch}: read again before you ask for the next.",
        )
    if holder != event.robot and event.valid_time_s < expires_s:
        raise ConflictError(
            "A subtask must be leased to one robot at a time.",
            value=(payload.subtask, event.robot),
            remedy=f"{holder!r} has it until {expires_s} s.",
        )


def _check_end(tables: Tables, event: Event, payload: SubtaskEnded) -> None:
    epoch, holder, _, ended_seq = newest_lease(tables, payload.subtask)
    if payload.epoch != epoch or (epoch and holder != event.robot):
        raise ConflictError(
            "An outcome must be logged under the newest lease of its subtask, by the robot that has it.",
            value=(payload.subtask, payload.epoch, event.robot),
            remedy=f"{holder!r} has epoch {epoch}: this work is no longer yours. Stop, and read again."
            if epoch
            else "No robot has leased it: its epoch is 0.",
        )
    if ended_seq is not None:
        raise MemoryBankError(
            "A subtask must end only once.", value=payload.subtask, remedy=f"It ended with event {ended_seq}."
        )
