"""The tables of a bank: one connection, one lock, and SQLite errors as errors of this project."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from embodied.errors import DataError, EmbodiedError, MemoryBankError, StorageError
from embodied.memory.storage.names import Names
from embodied.memory.storage.open_file import OpenFile

LONGEST_WAY_S = 0.1  # Writers that never pause do not stop the work in the background for longer.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # The latter of SQLite's message about damaged text.
_UNFIT = (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE)


class Tables:
    """Reads and writes by SQL, one thread at a time. Raises `StorageError` or `DataError` (see `translated`).

    Once it is closed, every call raises `MemoryBankError`: no query is answered from memory. In a forked child every
    call raises `StorageError`. `unchanged`, where it is set, is called after each reading without locks, and raises
    where the file has changed.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        names: Names,
        file: OpenFile | None = None,
        *,
        ending: str = "",
        guard: sqlite3.Connection | None = None,
    ) -> None:
        """Takes over a connection with the names in it.

        Args:
            db: a connection without implicit transactions
            names: all names and their ids
            file: where the connection reads and writes; None for memory, and for reading alone
            ending: a statement that is run before the connection is closed
            guard: a connection that only reads: as long as it is open, closing `db` leaves the write-ahead log alone
        """
        self.file = OpenFile(None) if file is None else file
        self._db = db
        self._names = names
        self._ending = ending
        self._guard = guard
        self.unchanged: Callable[[], None] | None = None
        self._open = True
        self._writers = 0
        self._written = threading.Condition()
        self.lock = threading.RLock()

    @property
    def db(self) -> sqlite3.Connection:
        """The connection; raises `MemoryBankError` once it is closed."""
        self.require_open()
        return self._db

    @property
    def names(self) -> Names:
        """All names and their ids; raises `MemoryBankError` once the tables are closed."""
        self.require_open()
        return self._names

    def require_open(self) -> None:
        """Raises `MemoryBankError` once the tables are closed, `StorageError` in a forked child."""
        self.file.require_owner()
        if not self._open:
            raise MemoryBankError(
                "A memory bank must be open to be read or written.",
                value="a closed bank",
                remedy="Open it again with `open_bank`, and close it at the end.",
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Has precedence over work in the background for as long as it lasts; see `give_way`."""
        with self._written:
            self._writers += 1
        try:
            yield
        finally:
            with self._written:
                self._writers -= 1
                self._written.notify_all()

    def give_way(self) -> None:
        """Waits while an append is in progress or waits for the lock, which the caller must not hold.

        SQLite releases the interpreter's lock at every statement, and a thread that computes returns it only after 5
        ms: an append of thirty statements would take 150 ms. Long work in the background calls this every millisecond.
        """
        with self._written:
            self._written.wait_for(lambda: not self._writers, timeout=LONGEST_WAY_S)

    def begin(self) -> None:
        """Begins a transaction. Raises `StorageError` where something else has changed the files."""
        self.file.require_unchanged()
        self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commits the transaction. Raises `StorageError` before that where something else has changed the files."""
        self.file.require_whole()
        self.db.execute("COMMIT")

    def roll_back(self) -> None:
        """Rolls a transaction back that is open; all commits before are in the file itself where their log is gone."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        if self.file.log_gone:
            with suppress(sqlite3.Error):  # SQLite still has it open. Closing the bank tries again.
                self.db.execute(self._ending)  # The file is whole without a log, also after a kill.
                self.db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Closes the connection; SQLite merges the write-ahead log into the file.

        Where something else has written into one of the two it leaves both as they are.
        """
        with self.lock:
            if self._open and self._ending and not self.file.altered:
                with suppress(sqlite3.Error):  # A disk that is full keeps the write-ahead log, which says the same.
                    self._db.execute(self._ending)
            self._open = False
            for db in (self._db, self._guard) if self.file.altered else (self._guard, self._db):
                if db is not None:
                    db.close()

    def select(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Returns all rows that a statement selects."""
        try:
            with self.lock:
                found = self.db.execute(sql, values).fetchall()
        except DATABASE_ERRORS as error:
            self._require_unchanged()
            raise translated(error) from error
        self._require_unchanged()
        return found

    def _require_unchanged(self) -> None:
        if self.unchanged is not None:
            self.unchanged()

    def select_one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """Returns the first row that a statement selects, None where there is none."""
        found = self.select(sql, *values)
        return found[0] if found else None

    def write(self, sql: str, *values: Any) -> None:
        """Runs one statement, inside the caller's transaction."""
        try:
            self.db.execute(sql, values)
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    def write_many(self, sql: str, select: Iterable[tuple[Any, ...]]) -> None:
        """Runs one statement for each row, inside the caller's transaction."""
        try:
            self.db.executemany(sql, select)
        except DATABASE_ERRORS as error:
            raise translated(error) from error


def translated(error: sqlite3.Error | UnicodeDecodeError) -> EmbodiedError:
    """Returns the error of this project for one of SQLite.

    It is `DataError` for a file that is damaged, `MemoryBankError` for a value that no database can hold, and
    `StorageError` for a disk that is full or fails.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _UNFIT or isinstance(error, sqlite3.InterfaceError):
        return MemoryBankError("A value in an event must be one that a database can hold.", value=str(error))
    unreadable = isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode")
    if code in _DAMAGE or unreadable or isinstance(error, UnicodeDecodeError):  # Text of the file is not UTF-8.
        return DataError(
            "A memory bank's file must be an intact SQLite file.",
            value=str(error),
            remedy="`python -m launch.memory verify url=...` lists the damage; output=NEW.db saves the intact part.",
        )
    return StorageError(
        "The disk of a memory bank must be readable and writable.",
        value=str(error),
        remedy="Nothing was written. Free space or repair the disk, then try again.",
    )
