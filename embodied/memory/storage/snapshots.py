"""Snapshots: projections at one sequence number in a checked file beside the bank, and rebuilding them from the log."""

import hashlib
import logging
import os
import re
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embodied.errors import EmbodiedError, MemoryBankError
from embodied.memory.projections.projection import PROJECTIONS_VERSION, apply_event
from embodied.memory.schema.kind_table import KIND_OF_PAYLOAD
from embodied.memory.schema.kinds import Forgotten
from embodied.memory.storage.bank_file import PROJECTIONS, connect
from embodied.memory.storage.files import storage_error
from embodied.memory.storage.log import EventLog
from embodied.memory.storage.tables import Tables, translated

EVERY = 50_000
SHARE = 10  # The log grows by a tenth from one snapshot to the next, so that all of them together cost as the log.
KEPT = 2
NAME = re.compile(r"\d{12}-[0-9a-f]{16}")
WIDTH = len("123456789012-0123456789abcdef")
UNFINISHED = re.compile(r"[a-z0-9_]{8}")  # What `mkstemp` appends.
DIGEST_BYTES = 8
LOW_PRIORITY = 19
TABLES = tuple(table for projection in PROJECTIONS for table in projection.tables)
_logger = logging.getLogger(__name__)


class SnapshotWriter:
    """Writes a snapshot of the bank at `path` after `every` new events or a tenth of all, in a separate thread.

    Belongs to the owner of the file. It removes the unfinished snapshots of owners that were killed.
    """

    def __init__(self, path: Path, *, every: int = EVERY) -> None:
        self._path = path
        self._every = every
        self._thread: threading.Thread | None = None
        for unfinished in _beside(path, f".{path.name}.snapshot-", UNFINISHED):
            unfinished.unlink(missing_ok=True)
        self._next = self._after(max([0, *(seq for seq, _ in snapshot_files(path))]))

    def note(self, head: int) -> None:
        """Starts a snapshot where one is due and none is in progress."""
        if head >= self._next and not (self._thread and self._thread.is_alive()):
            self._next = self._after(head)
            self._thread = threading.Thread(target=self._write, name="stem-snapshot")
            self._thread.start()

    def _after(self, seq: int) -> int:
        return seq + max(self._every, seq // SHARE)

    def close(self) -> None:
        """Waits for the snapshot in progress."""
        if self._thread:
            self._thread.join()

    def _write(self) -> None:
        # Appends have priority. On Linux every thread has its own niceness.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
        try:
            write_snapshot(self._path)
        except EmbodiedError as error:
            # A snapshot only saves time: the log alone is sufficient, and a failing disk is also reported by appends.
            _logger.warning("No snapshot of the memory bank was written: %s", error)


def write_snapshot(path: Path) -> Path:
    """Returns a new file with the current projections of the bank at `path`.

    All but one of the older files are removed. Raises `StorageError` where the disk is full or fails.
    """
    try:
        return _write_snapshot(path)
    except sqlite3.Error as error:
        raise translated(error) from error
    except OSError as error:
        raise storage_error(path, error) from error


def _write_snapshot(path: Path) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.snapshot-")
    os.close(descriptor)
    try:
        seq = _copy_out(path, name)
        with Path(name).open("rb+") as file:
            os.fsync(file.fileno())
        final = path.with_name(f"{path.name}.snapshot-{seq:012d}-{_digest(Path(name))}")
        Path(name).replace(final)
    finally:
        Path(name).unlink(missing_ok=True)
    for _, old in sorted(snapshot_files(path))[:-KEPT]:
        old.unlink(missing_ok=True)
    return final


def rebuild(log: EventLog, path: Path | None) -> int:
    """Makes all projections again; returns the sequence number of the snapshot it started from, 0 for none.

    The newest snapshot is used that is unaltered, of this version, and of this log. One transaction: readers see either
    the old tables or the new ones.
    """
    tables = log.tables
    with tables.lock, _snapshot_of(log, path) as start:
        names = len(tables.names)
        db = tables.db
        try:
            tables.begin()
            _recreate(db)
            if start:
                for table in TABLES:
                    db.execute(f"INSERT INTO main.{table} SELECT * FROM snapshot.{table}")  # noqa: S608
                if _removed_after(tables, start):
                    for projection in PROJECTIONS:
                        projection.prune(tables)
            replay(log, tables, after=start)
            tables.commit()
        except BaseException as error:
            tables.roll_back()
            tables.names.forget_after(names)
            if isinstance(error, sqlite3.Error):
                raise translated(error) from error
            raise
        tables.file.note_commit()
    return start


def replay(log: EventLog, target: Tables, *, after: int = 0) -> None:
    """Applies the events of `log` after the sequence number `after` to the projections in `target`."""
    for event in log.events(after, to=log.head):
        apply_event(PROJECTIONS, target, event, log.event)
    for projection in PROJECTIONS:
        projection.settle(target, log.head)


def _removed_after(tables: Tables, seq: int) -> bool:
    """Returns whether events were removed from the log after number `seq`: every removal is an event itself."""
    kind = tables.names.find(KIND_OF_PAYLOAD[Forgotten].tag)
    return tables.select_one("SELECT 1 FROM event WHERE seq > ? AND kind = ? LIMIT 1", seq, kind) is not None


def _recreate(db: sqlite3.Connection) -> None:
    for (view,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'view'").fetchall():
        db.execute(f"DROP VIEW {view}")
    for table in TABLES:
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for projection in PROJECTIONS:
        for statement in projection.schema.split(";"):
            db.execute(statement)  # Not `executescript`, which would commit.
    db.execute("UPDATE projections SET version = ?", (PROJECTIONS_VERSION,))


def _copy_out(path: Path, name: str) -> int:
    """Copies all projections in one read transaction; returns their sequence number."""
    db = connect(path)
    try:
        db.execute("ATTACH ? AS snapshot", (os.fsencode(name),))
        db.execute("PRAGMA snapshot.journal_mode = OFF")
        db.execute("PRAGMA snapshot.synchronous = OFF")
        db.execute("BEGIN")
        for table in TABLES:
            (sql,) = db.execute("SELECT sql FROM main.sqlite_schema WHERE name = ?", (table,)).fetchone()
            db.execute(sql.replace("CREATE TABLE ", "CREATE TABLE snapshot.", 1))
            db.execute(f"INSERT INTO snapshot.{table} SELECT * FROM main.{table}")  # noqa: S608
        db.execute(
            "CREATE TABLE snapshot.about AS SELECT seq, digest, version, NULL AS last_name, NULL AS names "
            "FROM main.event, main.projections ORDER BY seq DESC LIMIT 1"
        )
        (last,) = db.execute("SELECT MAX(id) FROM main.name").fetchone()
        db.execute("UPDATE snapshot.about SET last_name = ?, names = ?", (last, _digest_of_names(db, last)))
        found = db.execute("SELECT seq FROM snapshot.about").fetchone()
        db.execute("COMMIT")
    finally:
        db.close()
    if found is None:
        raise MemoryBankError("A snapshot must have content.", value=path.name, remedy="Append an event first.")
    return int(found[0])


@contextmanager
def _snapshot_of(log: EventLog, path: Path | None) -> Iterator[int]:
    """Attaches the newest usable snapshot as `snapshot` and yields its sequence number, 0 where there is none."""
    db = log.tables.db
    for _, file in sorted(snapshot_files(path), reverse=True) if path else ():
        if not _is_unaltered(file):
            continue
        db.execute("ATTACH ? AS snapshot", (os.fsencode(file),))
        try:
            seq = _usable_seq(db)
            if seq:
                yield seq
                return
        finally:
            db.execute("DETACH snapshot")
    yield 0


def _is_unaltered(file: Path) -> bool:
    try:
        return file.name.rpartition("-")[2] == _digest(file)
    except OSError as error:
        _logger.warning("A snapshot of the memory bank cannot be read: %s", error)
        return False


def _usable_seq(db: sqlite3.Connection) -> int:
    """Returns the sequence number of the attached snapshot, 0 for one of another version, or not of this log."""
    try:
        seq, digest, version, last, names = db.execute("SELECT * FROM snapshot.about").fetchone()
    except (sqlite3.Error, TypeError, ValueError):
        return 0
    known = db.execute("SELECT digest FROM event WHERE seq = ?", (seq,)).fetchone()
    same_log = version == PROJECTIONS_VERSION and known and known[0] == digest
    return seq if same_log and names == _digest_of_names(db, last) else 0


def _digest_of_names(db: sqlite3.Connection, last: int) -> bytes:
    """Returns a digest of all names up to the id `last`: projections refer to names by ids, which a rescue changes."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for number, text in db.execute("SELECT id, text FROM main.name WHERE id <= ? ORDER BY id", (last,)):
        digest.update(f"{number} {len(text)} {text}".encode())
    return digest.digest()


def snapshot_files(path: Path) -> list[tuple[int, Path]]:
    """Returns the snapshots of a bank with their numbers; files that only have similar names are left out."""
    files = _beside(path, f"{path.name}.snapshot-", NAME)
    return [(int(file.name[-WIDTH:].partition("-")[0]), file) for file in files]


def _beside(path: Path, prefix: str, rest: re.Pattern[str]) -> list[Path]:
    """Returns the files with these names; links, folders and pipes with such a name belong to others."""
    try:
        names = ((file, file.name) for file in path.parent.iterdir())
        found = [file for file, name in names if name.startswith(prefix) and rest.fullmatch(name.removeprefix(prefix))]
        return [file for file in found if stat.S_ISREG(file.lstat().st_mode)]
    except OSError as error:
        raise storage_error(path.parent, error) from error


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
