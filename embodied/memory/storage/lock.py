"""One process owns a bank's file: an exclusive lock of the operating system, released when its owner dies."""

import fcntl
import os
from pathlib import Path

from embodied.errors import MemoryBankError


class OwnedError(MemoryBankError):
    """Another process owns the file."""


class Ownership:
    """The lock `<file>.lock`, held from construction to `release`; the file contains the owner's process id.

    Raises `OwnedError`, with the owner's pid, where another owner holds it, in this process or another.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise OwnedError(
                "One process owns a memory bank's file.",
                value=path.name,
                remedy=f"Process {pid or 'unknown'} has it open: write through its service, or close it first.",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Lets others open the file; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)  # Closing releases the lock; the file stays, since removing it would be a race.
            self._descriptor = -1
