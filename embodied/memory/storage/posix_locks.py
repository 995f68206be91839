"""Keeps SQLite's locks on a file while the same process reads the file by other means.

Locks of POSIX belong to a process and a file: closing any descriptor of the file drops them all
(https://www.sqlite.org/howtocorrupt.html, 2.2). Another process would then take an open bank for a closed one, and
remove its write-ahead log or overwrite what is being read. So descriptors of a file stay open as long as a connection
of this process has the file open.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

Inode = tuple[int, int]


class _Connected:
    """How many connections and readers have each file open, and the descriptors to close after the last of them.

    All readers of a file share one descriptor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: dict[Inode, int] = {}
        self._kept: dict[Inode, list[int]] = {}
        os.register_at_fork(before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._begin)

    def add(self, inode: Inode) -> None:
        """Notes a connection, before it is made."""
        with self._lock:
            self._connections[inode] = self._connections.get(inode, 0) + 1

    def remove(self, inode: Inode) -> None:
        """Notes that a connection is closed, or that reading has ended."""
        with self._lock:
            left = self._connections.pop(inode, 1) - 1
            if left > 0:
                self._connections[inode] = left
                return
            for descriptor in self._kept.pop(inode, ()):
                os.close(descriptor)

    def open(self, path: Path) -> tuple[Inode, int]:
        """Returns a descriptor to read the file at `path` by position, and what is to be removed at the end."""
        with self._lock:
            inode = _inode(path.stat())
            if not self._kept.get(inode):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                inode = _inode(os.fstat(descriptor))
                self._kept.setdefault(inode, []).append(descriptor)
            self._connections[inode] = self._connections.get(inode, 0) + 1
            return inode, self._kept[inode][0]

    def has(self, inode: Inode | None) -> bool:
        """Returns whether a connection has a file open."""
        with self._lock:
            return inode in self._connections

    def _begin(self) -> None:
        """In a forked child, which holds none of its parent's locks, the lock is free again."""
        self._lock.release()


_connected = _Connected()


class LockKeepingConnection(sqlite3.Connection):
    """A connection to a file of which this process closes no other descriptor until the connection is closed.

    It is `still` where it reads the file without locks.
    """

    still = False
    _noted: Inode | None = None

    def note(self, inode: Inode | None) -> None:
        """Takes over the note that a file is connected, None for a database in memory."""
        self._noted = inode

    def close(self) -> None:
        """Closes the connection; safe to call twice."""
        super().close()
        inode, self._noted = self._noted, None
        if inode is not None:
            _connected.remove(inode)


def connect_keeping_locks(database: str | Path, path: Path | None, **settings: Any) -> LockKeepingConnection:
    """Returns a connection of SQLite to `database`, the file `path` or its URI (None: in memory).

    `settings` are those of `sqlite3.connect`. A file that SQLite is to create must have been created before.
    """
    inode = _inode_at(path)
    if inode is not None:
        _connected.add(inode)
    try:
        connection = sqlite3.connect(database, factory=LockKeepingConnection, **settings)
    except BaseException:
        if inode is not None:
            _connected.remove(inode)
        raise
    connection.note(inode)
    return connection


def is_connected(path: Path) -> bool:
    """Returns whether a connection of this process has the file at `path` open."""
    return _connected.has(_inode_at(path))


@contextmanager
def opened_to_read(path: Path) -> Iterator[BufferedReader]:
    """Yields the file at `path`, and keeps its descriptor as long as SQLite needs its locks. Raises `OSError`."""
    inode, descriptor = _connected.open(path)
    try:
        yield BufferedReader(_Content(descriptor))
    finally:
        _connected.remove(inode)


class _Content(RawIOBase):
    """What a descriptor refers to, read from its beginning, whatever others read through the same descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = os.pread(self._descriptor, len(buffer), self._at)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _inode_at(path: Path | None) -> Inode | None:
    try:
        return None if path is None else _inode(path.stat())
    except OSError:
        return None


def _inode(found: os.stat_result) -> Inode:
    return found.st_dev, found.st_ino
