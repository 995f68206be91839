"""The files of a bank on disk: private, and with locks that no forked child keeps."""

import os
import stat
import threading
from pathlib import Path

from embodied.errors import StorageError

PRIVATE = 0o600


def create_private(path: Path) -> None:
    """Creates an empty file that only its user can read, unless there is a file already.

    SQLite gives its write-ahead log the same mode. Raises `StorageError` where the disk or the folder refuses, and
    where there is something else than a file.
    """
    try:
        require_file(path)
        # A file that exists is not opened: closing it would drop the locks that SQLite holds on it in this process.
        target = os.path.realpath(path)  # As SQLite does; a link to nothing would count as a file that exists.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE))
    except FileExistsError:
        require_file(path)
    except OSError as error:
        raise storage_error(path, error) from error


def require_file(path: Path) -> None:
    """Raises `StorageError` where there is something else than a file: a folder, a pipe, a socket or a device.

    Opening a pipe would wait for ever.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(path, error) from error
    if not stat.S_ISREG(mode):
        raise StorageError(
            "What a memory bank keeps on a disk must be files.",
            value=str(path),
            remedy=f"There is something else in its place ({stat.filemode(mode)}): move it away.",
        )


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


process = _Process()


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
