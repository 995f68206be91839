"""One process owns a bank's file: an exclusive lock of the operating system, released when its owner dies."""

import fcntl
import os
from pathlib import Path

from embodied.errors import MemoryBankError
from embodied.memory.storage.files import PRIVATE, ForkGuard, storage_error

_guard = ForkGuard()


class OwnedError(MemoryBankError):
    """Another process owns the file."""


class Ownership:
    """The lock `<file>.lock`, held from construction to `release`; the file contains the owner's process id.

    A forked child does not hold it. Raises `OwnedError`, with the owner's pid, where another owner holds it, in this
    process or another, and `StorageError` where the lock cannot be made, also for a link in its place.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
        except OSError as error:
            raise storage_error(lock, error) from error
        try:
            _lock(descriptor, path)
        except OSError as error:
            os.close(descriptor)
            raise storage_error(lock, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        _guard.add(descriptor)
        self._descriptor = descriptor

    def release(self) -> None:
        """Lets others open the file; safe to call twice, and in a forked child, which holds nothing."""
        if self._descriptor >= 0:
            _guard.remove(self._descriptor)  # Closing releases the lock; removing the file would be a race.
            self._descriptor = -1


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(descriptor, 32).decode(errors="replace").strip()
        raise OwnedError(
            "One process owns a memory bank's file.",
            value=path.name,
            remedy=f"Process {pid or 'unknown'} has it open: write through its service, or close it first.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
