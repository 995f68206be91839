"""The files of an open bank: which process has opened them, and whether anything else has changed them since.

SQLite does not notice a file that is deleted, replaced, cut or overwritten while it is open: it goes on to take writes
that cannot be read again.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from embodied.errors import StorageError
from embodied.memory.storage.files import process

MOST_INSPECTIONS = 3  # A disk whose times change by themselves must not have every commit inspect the bank.
_logger = logging.getLogger(__name__)


class Mark(NamedTuple):
    """What the operating system knows of a file; a write changes size or time, another file has another `inode`."""

    device: int
    inode: int
    size: int
    written_ns: int

    def is_same_file(self, other: "Mark | None") -> bool:
        """Returns whether `other` is of the same file."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


class OpenFile:
    """The file of an open bank, its write-ahead log and its lock, as this process left them (None: in memory).

    A forked child shares the connection of its parent: writing through both loses events. `moved` says that the file is
    not at its path any more, `log_gone` that its write-ahead log is not, and `altered` that something else has written
    into one of the two.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._names = [f"{path}{suffix}" for suffix in ("", "-wal", ".lock")]  # A `Path` takes longer than the call.
        self._pid = process.pid
        self._sound: Callable[[], bool] | None = None
        self._inspections = 0
        self.moved = self.log_gone = self.altered = False
        self._file, self._log, self._lock = self._marks()

    @property
    def untouched(self) -> bool:
        """Whether nothing but this process is known to have changed the files."""
        return not (self.moved or self.log_gone or self.altered)

    def inspect_with(self, sound: Callable[[], bool]) -> None:
        """Has `sound` decide whether the bank is whole where a file has a new time, such as after `touch`.

        Without it every new time counts as damage.
        """
        self._sound = sound

    def require_owner(self) -> None:
        """Raises `StorageError` in any process but the one that opened the file; a fork copies memory."""
        if self._path is not None and process.pid != self._pid:
            raise StorageError(
                "A memory bank must be used by the process that opened it.",
                value=f"process {process.pid}, forked from {self._pid}",
                remedy="Open the bank after forking, write through its service, or start processes by `spawn`.",
            )

    def require_unchanged(self) -> None:
        """Raises `StorageError` unless the files are as this process left them: outside a transaction."""
        if self._path is None:
            return
        if self.altered:
            self._refuse_altered("", self._file, self._file)
        file, log, lock = self._marks()
        self._require_in_place(file, log)
        if self._lock is not None and lock is not None and not self._lock.is_same_file(lock):
            self._refuse_moved(".lock", "Another process may have opened the bank: close it in both, and open it once.")
        if file != self._file:
            self._require_sound("", self._file, file)
        elif self._log is not None and log != self._log:
            self._require_sound("-wal", self._log, log)

    def require_whole(self) -> None:
        """Raises `StorageError` unless the file itself is as this process left it: in a transaction, before its end."""
        if self._path is not None and mark_of(self._names[0]) != self._file:
            file = mark_of(self._names[0])
            self._require_file_in_place(file)
            self._require_sound("", self._file, file)

    def note_commit(self) -> None:
        """Notes the files as they are after a commit. Raises `StorageError` where they were replaced or cut."""
        if self._path is None:
            return
        file, log = mark_of(self._names[0]), mark_of(self._names[1])
        self._require_in_place(file, log)
        for suffix, before, now in (("", self._file, file), ("-wal", self._log, log)):
            if before is not None and now is not None and now.size < before.size:
                self._refuse_altered(suffix, before, now)
        self._file, self._log = file, log

    def require_in_place(self) -> None:
        """Raises `StorageError` where the file was deleted or replaced since it was opened."""
        if self._path is not None:
            self._require_file_in_place(mark_of(self._names[0]))

    def _marks(self) -> tuple[Mark | None, Mark | None, Mark | None]:
        if self._path is None:
            return None, None, None
        file, log, lock = self._names
        return mark_of(file), mark_of(log), mark_of(lock)

    def _require_file_in_place(self, file: Mark | None) -> None:
        if self._file is not None and not self._file.is_same_file(file):
            self.moved = True
            self._refuse_moved("", "Close the bank, restore the file from a backup, and open it again.")

    def _require_in_place(self, file: Mark | None, log: Mark | None) -> None:
        self._require_file_in_place(file)
        if self._log is not None and not self._log.is_same_file(log):
            self.log_gone = True
            remedy = "Close the bank, which writes all that was acknowledged into the file itself, and open it again."
            self._refuse_moved("-wal", remedy)

    def _require_sound(self, suffix: str, before: Mark | None, now: Mark | None) -> None:
        """Accepts a file with another time or a larger size where an inspection finds the bank whole."""
        grown = before is not None and now is not None and now.size >= before.size
        if not grown or self._sound is None:
            self._refuse_altered(suffix, before, now)
        if self._inspections < MOST_INSPECTIONS:
            self._inspections += 1
            _logger.warning("%s%s was written to by another program: every event is checked.", self._path, suffix)
            if not self._sound():
                self._refuse_altered(suffix, before, now)
        file, log, _ = self._marks()
        self._require_in_place(file, log)
        self._file, self._log = file, log

    def _refuse_moved(self, suffix: str, remedy: str) -> NoReturn:
        raise StorageError(
            "A memory bank's file must stay at its path while it is open.",
            value=f"{self._path}{suffix}",
            remedy=f"It was deleted, moved or replaced: later events would be lost. {remedy}",
        )

    def _refuse_altered(self, suffix: str, before: Mark | None, now: Mark | None) -> NoReturn:
        self.altered = True
        sizes = [0 if mark is None else mark.size for mark in (before, now)]
        raise StorageError(
            "Only its owner may write to the files of an open memory bank.",
            value=f"{self._path}{suffix}: {sizes[0]} bytes before, {sizes[1]} bytes now",
            remedy="Another program has cut it or written into it: later events would be lost. Close the bank, which "
            "leaves its files as they are, and copy them: `python -m launch.memory verify url=... output=NEW.db` saves "
            "what can be read. Then restore a backup.",
        )


def mark_of(name: str | Path) -> Mark | None:
    """Returns the mark of a file as it is now, None where there is none."""
    try:
        found = os.stat(name)  # noqa: PTH116
    except OSError:
        return None
    return Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
