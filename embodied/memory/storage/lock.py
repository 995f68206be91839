"""One process owns a bank's file: an exclusive lock of the operating system, released when its owner dies."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from embodied.errors import MemoryBankError
from embodied.memory.storage.files import PRIVATE, ForkGuard, process, storage_error

LONGEST = 256  # Bytes of the content.
_guard = ForkGuard()


class OwnedError(MemoryBankError):
    """Another process owns the file."""


class Ownership:
    """The lock `<file>.lock`, held from construction to `release`; the file contains the owner's process id.

    Its second line is a `note` on the bank that an owner may leave for the next one.

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
            self.note = _lock(descriptor, path)
        except OSError as error:
            os.close(descriptor)
            raise storage_error(lock, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        _guard.add(descriptor)
        self._descriptor = descriptor

    def leave(self, note: str) -> None:
        """Replaces the note while the lock is held; not durable at a power failure, but at the death of its process."""
        if _guard.holds(self._descriptor):
            with suppress(OSError):  # A full disk: the note before stays.
                _write(self._descriptor, note)

    def release(self, note: str | None = None) -> None:
        """Lets others open the file, and leaves them a `note`, None for that which was found.

        It is safe to call twice, and in a forked child, which holds nothing.
        """
        if self._descriptor >= 0:
            if note is not None and _guard.holds(self._descriptor):
                _write(self._descriptor, note)
            _guard.remove(self._descriptor)  # Closing releases the lock; removing the file would be a race.
            self._descriptor = -1


def _lock(descriptor: int, path: Path) -> str:
    """Returns the note of the owner before; raises `OwnedError` where there is an owner now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(descriptor, LONGEST, 0).decode(errors="replace").partition("\n")[0].strip()
        raise OwnedError(
            "One process owns a memory bank's file.",
            value=path.name,
            remedy=f"Process {pid or 'unknown'} has it open: write through its service, or close it first.",
        ) from error
    note = os.pread(descriptor, LONGEST, 0).decode(errors="replace").partition("\n")[2].strip()
    _write(descriptor, note)
    return note


def owner_note(path: Path) -> tuple[int | None, str]:
    """Returns the process that owns the bank at `path`, or owned it last (None: unknown), and the note it left.

    The lock is not touched, so that no owner is kept from opening the file.
    """
    try:
        with path.with_name(path.name + ".lock").open("rb") as file:
            pid, _, note = file.read(LONGEST).decode(errors="replace").partition("\n")
    except OSError:
        return None, ""
    return int(pid) if pid.strip().isdecimal() else None, note.strip()


def _write(descriptor: int, note: str) -> None:
    """Writes all of the content at once, so that a kill leaves the note before or this one."""
    os.pwrite(descriptor, f"{process.pid}\n{note}".encode().ljust(LONGEST), 0)
