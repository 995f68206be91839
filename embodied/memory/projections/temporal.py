"""Time: episodes, moments of policies, and the watermark of the past."""

import math
from collections.abc import Sequence
from typing import ClassVar

from embodied.errors import MemoryBankError
from embodied.memory.projections.projection import Projection
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import EpisodeBegun, EpisodeEnded, Forgotten, MomentStored, Reopened, Watermark
from embodied.memory.storage.tables import Tables

MOMENT_TABLES = ("moment_key", "moment_entity_key", "moment_label_key")


class Temporal(Projection):
    """`moment` is a view: its keys lie in `moment_key`, its embedding and tokens with the event.

    `closed` has a row for each event that closes or reopens the past: before which time it is closed from then on.
    """

    schema: ClassVar[str] = """
    CREATE TABLE IF NOT EXISTS episode (
        episode INTEGER NOT NULL, begun_seq INTEGER NOT NULL, model_id INTEGER NOT NULL, bytes INTEGER NOT NULL,
        ended_seq INTEGER, PRIMARY KEY (episode, begun_seq)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS episode_model ON episode (model_id);
    CREATE INDEX IF NOT EXISTS episode_begun ON episode (begun_seq);
    CREATE TABLE IF NOT EXISTS closed (seq INTEGER PRIMARY KEY, before_s REAL NOT NULL);
    CREATE TABLE IF NOT EXISTS removal (seq INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS moment_key (
        seq INTEGER PRIMARY KEY, valid_time_s REAL NOT NULL, robot INTEGER NOT NULL, episode INTEGER NOT NULL,
        model_id INTEGER NOT NULL, x REAL NOT NULL, y REAL NOT NULL, z REAL NOT NULL, bytes INTEGER NOT NULL,
        token_count INTEGER NOT NULL, map INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS moment_key_model ON moment_key (model_id);
    CREATE TABLE IF NOT EXISTS moment_entity_key (
        seq INTEGER NOT NULL, entity INTEGER NOT NULL, PRIMARY KEY (seq, entity)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS moment_label_key (
        seq INTEGER NOT NULL, label INTEGER NOT NULL, PRIMARY KEY (seq, label)
    ) WITHOUT ROWID;
    CREATE VIEW IF NOT EXISTS moment AS
        SELECT key.seq, key.valid_time_s, robot.text AS robot, episode.text AS episode, model.text AS model_id,
            key.x, key.y, key.z, substr(event.bulk, 1, key.bytes) AS embedding,
            substr(event.bulk, key.bytes + 1) AS tokens, key.token_count, map.text AS map_id
        FROM moment_key AS key JOIN event ON event.seq = key.seq JOIN name AS robot ON robot.id = key.robot
            JOIN name AS episode ON episode.id = key.episode JOIN name AS model ON model.id = key.model_id
            JOIN name AS map ON map.id = key.map;
    CREATE VIEW IF NOT EXISTS moment_entity AS
        SELECT key.seq, name.text AS entity FROM moment_entity_key AS key JOIN name ON name.id = key.entity;
    CREATE VIEW IF NOT EXISTS moment_label AS
        SELECT key.seq, name.text AS label FROM moment_label_key AS key JOIN name ON name.id = key.label;
    """
    with_claims: ClassVar[bool] = True  # They too must not be written into a closed past.
    tables: ClassVar[tuple[str, ...]] = ("episode", "closed", "removal", *MOMENT_TABLES)

    def check(self, tables: Tables, event: Event) -> None:
        """Raises `MemoryBankError` for a closed past, another size of embedding, and invalid episode boundaries."""
        _check_closed(tables, event)
        payload = event.payload
        if isinstance(payload, EpisodeBegun | EpisodeEnded):
            _check_episode(payload, _running(tables, payload.episode))
        if isinstance(payload, EpisodeBegun | MomentStored) and payload.embedding:
            _check_size(tables, payload.model_id, len(payload.embedding))

    def apply(self, tables: Tables, event: Event) -> None:
        """Writes episodes, watermarks, removals and the keys of moments."""
        intern = tables.names.intern
        match event.payload:
            case MomentStored() as payload:
                _store(tables, event, payload)
            case Watermark(before_s=before_s):
                tables.write("INSERT INTO closed VALUES (?, ?)", event.seq, max(before_s, closed_before_s(tables)))
            case Reopened(before_s=before_s):
                open_s = -math.inf if before_s is None else before_s
                tables.write("INSERT INTO closed VALUES (?, ?)", event.seq, min(open_s, closed_before_s(tables)))
            case Forgotten():
                tables.write("INSERT INTO removal VALUES (?)", event.seq)
            case EpisodeBegun() as payload:
                tables.write(
                    "INSERT INTO episode VALUES (?, ?, ?, ?, NULL)",
                    intern(payload.episode), event.seq, intern(payload.model_id), len(payload.embedding),
                )  # fmt: skip
            case EpisodeEnded(episode=episode):
                tables.write(
                    "UPDATE episode SET ended_seq = ? WHERE episode = ? AND begun_seq = ?",
                    event.seq, intern(episode), _running(tables, episode),
                )  # fmt: skip

    def release(self, tables: Tables, events: Sequence[Event]) -> None:
        """Drops the keys of removed moments."""
        gone = [(event.seq,) for event in events if isinstance(event.payload, MomentStored)]
        for table in MOMENT_TABLES:
            tables.write_many(f"DELETE FROM {table} WHERE seq = ?", gone)  # noqa: S608

    def prune(self, tables: Tables) -> None:
        """Drops the keys of all moments that the log no longer has."""
        for table in MOMENT_TABLES:
            tables.write(f"DELETE FROM {table} WHERE seq NOT IN (SELECT seq FROM event)")  # noqa: S608


def _store(tables: Tables, event: Event, payload: MomentStored) -> None:
    intern = tables.names.intern
    tables.write(
        "INSERT INTO moment_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        event.seq, event.valid_time_s, intern(event.robot), intern(payload.episode), intern(payload.model_id),
        *payload.position_m, len(payload.embedding), payload.token_count, intern(payload.map_id),
    )  # fmt: skip
    for table, names in (("moment_entity_key", payload.entities), ("moment_label_key", payload.labels)):
        tables.write_many(
            f"INSERT INTO {table} VALUES (?, ?)",  # noqa: S608
            [(event.seq, intern(name)) for name in dict.fromkeys(names)],
        )


def closed_before_s(tables: Tables) -> float:
    """Returns before which time the past is closed now, seconds; -inf where it is open."""
    found = tables.select_one("SELECT before_s FROM closed ORDER BY seq DESC LIMIT 1")
    return found[0] if found else -math.inf


def _check_closed(tables: Tables, event: Event) -> None:
    before_s = closed_before_s(tables)
    if event.valid_time_s < before_s and not isinstance(event.payload, Reopened):
        raise MemoryBankError(
            "A closed past must not be added to.",
            value=event.valid_time_s,
            remedy=f"Everything before {before_s} s is closed: it came too late. The operator can open it again.",
        )


def _check_episode(payload: EpisodeBegun | EpisodeEnded, running: int | None) -> None:
    if isinstance(payload, EpisodeBegun) and running is not None:
        raise MemoryBankError(
            "An episode that runs must not begin again.",
            value=payload.episode,
            remedy=f"Event {running} began it: log its end, or give the other one a name of its own.",
        )
    if isinstance(payload, EpisodeEnded) and running is None:
        raise MemoryBankError(
            "Only an episode that runs can end.",
            value=payload.episode,
            remedy="It has never begun, or has ended already: write `episode_begun` first.",
        )


def _running(tables: Tables, episode: str) -> int | None:
    found = tables.select_one(
        "SELECT begun_seq FROM episode WHERE episode = ? AND ended_seq IS NULL ORDER BY begun_seq DESC LIMIT 1",
        tables.names.find(episode),
    )
    return found[0] if found else None


def _check_size(tables: Tables, model_id: str, size: int) -> None:
    model = tables.names.find(model_id)
    known = tables.select_one("SELECT bytes FROM moment_key WHERE model_id = ? LIMIT 1", model) or tables.select_one(
        "SELECT bytes FROM episode WHERE model_id = ? AND bytes > 0 LIMIT 1", model
    )
    if known and known[0] != size:
        raise MemoryBankError(
            "All embeddings of one model must have the same size.",
            value=size // 4,
            remedy=f"{model_id!r} has {known[0] // 4} values: give another model another `model_id`.",
        )
