"""The files of a bank on disk: private, not links, and noticed when they disappear."""

import os
import threading
from pathlib import Path

from embodied.errors import StorageError

PRIVATE = 0o600


def create_private(path: Path) -> None:
    """Creates an empty file that only its user can read, unless there is a file already.

    SQLite gives its write-ahead log the same mode. Raises `StorageError` where the disk or the folder refuses.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, PRIVATE))
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> StorageError:
    """Returns the error of this project for one of the operating system about the file `path`."""
    return StorageError(
        "The folder of a memory bank must be readable and writable.",
        value=f"{path}: {error.strerror or error}",
        remedy="Free space, correct its permissions or choose a local disk, then try again.",
    )


class _Process:
    """The id of this process, which a fork changes; the operating system would take a microsecond per statement."""

    def __init__(self) -> None:
        self._note()
        os.register_at_fork(after_in_child=self._note)

    def _note(self) -> None:
        self.pid = os.getpid()


_process = _Process()


class OpenFile:
    """The file of an open bank: which process has opened it, and whether it is still at its path.

    A forked child shares the connection of its parent: writing through both loses events. A file that is deleted or
    replaced goes on to take writes, which cannot be read again.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._pid = _process.pid
        self._identity = None if path is None else _identity(path)

    def require_owner(self) -> None:
        """Raises `StorageError` in any process but the one that opened the file; a fork copies memory."""
        if self._path is not None and _process.pid != self._pid:
            raise StorageError(
                "A memory bank must be used by the process that opened it.",
                value=f"process {_process.pid}, forked from {self._pid}",
                remedy="Open the bank after forking, write through its service, or start processes by `spawn`.",
            )

    def require_in_place(self) -> None:
        """Raises `StorageError` where the file was deleted or replaced since it was opened."""
        if self._path is not None and _identity(self._path) != self._identity:
            raise StorageError(
                "A memory bank's file must stay at its path while it is open.",
                value=str(self._path),
                remedy="It was deleted, moved or replaced: later events would be lost. Close the bank, restore the "
                "file from a backup, and open it again.",
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class ForkGuard:
    """Closes descriptors in forked children, so that no child keeps a lock after the death of its parent."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._lock = threading.Lock()
        os.register_at_fork(before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._close)

    def add(self, descriptor: int) -> None:
        """Has `descriptor` closed in children that are forked from now on."""
        with self._lock:
            self._open.add(descriptor)

    def holds(self, descriptor: int) -> bool:
        """Returns whether `descriptor` is open here; it is not in a forked child."""
        with self._lock:
            return descriptor in self._open

    def remove(self, descriptor: int) -> None:
        """Closes `descriptor` here."""
        with self._lock:
            if descriptor in self._open:
                self._open.remove(descriptor)
                os.close(descriptor)

    def _close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()
        self._lock.release()
