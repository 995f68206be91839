"""Starts a worker in another Python environment and calls it: every call has a deadline, and ends in a clear error."""

import mmap
import os
import socket
import struct
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from embodied.codec import CodecLimits, decode, encode
from embodied.errors import CodecError, ConfigError, MissingDependencyError, OutageError, SimulationError

PROTOCOL = 1
WORKER = Path(__file__).with_name("worker.py")
STARTING_S = 120.0  # Habitat's first import compiles nothing, but reads half a gigabyte.
CLOSING_S = 3.0
LAST_LINES_BYTES = 1_500
_MARK, _HEADER = b"EMRS", struct.Struct("<4sI")
_LIMITS = CodecLimits()


class RemoteWorker:
    """One worker process, for one thread. Any failure of the process or of a deadline ends it: nothing is left behind.

    Messages go through a socket pair, images through memory without a name, which the system frees with its users.

    Args:
        python: The interpreter of the worker's environment.
        timeout_s: How long a call may take.
        worker: The worker's file.
        environment: Variables to set for it beside those of this process; PYTHONPATH and PYTHONHOME are not passed on.

    Raises:
        ConfigError: For an interpreter that cannot be started, and for a worker of another protocol.
        MissingDependencyError: Where the worker's environment lacks a library.
        OutageError: Where the worker does not start.
    """

    def __init__(
        self,
        python: str,
        *,
        timeout_s: float = 60.0,
        worker: Path = WORKER,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._memory = _Memory()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._socket, theirs = socket.socketpair()
        fixed = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the user names
                    [python, str(worker), str(theirs.fileno()), str(self._memory.file)],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    pass_fds=(theirs.fileno(), self._memory.file),
                    env=fixed | dict(environment or {}),
                    start_new_session=True,  # Ctrl-C is for this process, which then closes the worker.
                )
        except OSError as error:
            self._free()
            raise ConfigError(
                "The interpreter of a remote simulator must be a program that can be started.",
                value=f"{python}: {error.strerror or error}",
            ) from error
        self._finalizer = weakref.finalize(self, _end, self._process, self._socket, self._log, self._memory)
        self.facts: Mapping[str, Any] = self._greet()

    @property
    def alive(self) -> bool:
        """Whether calls can still be made."""
        return self._finalizer.alive and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """The id of the worker's process."""
        return self._process.pid

    def call(self, name: str, *, timeout_s: float | None = None, **values: Any) -> Any:
        """Returns the worker's result of call `name` with `values`, waiting for at most `timeout_s`.

        Raises `SimulationError` where the worker refuses or fails at it and goes on, and `OutageError` where it has
        died, is too slow or sends what is no message; it is ended then.
        """
        if not self.alive:
            raise self._outage("The worker of a remote simulator must be running.")
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        until_s = time.monotonic() + limit_s
        message = encode({"call": name, "seconds": float(limit_s), "values": values}, _LIMITS)
        try:
            self._send(message, until_s)
            reply = decode(self._receive(until_s), _LIMITS)
        except TimeoutError as error:
            raise self._outage(f"A remote simulator must answer {name!r} within {limit_s:g} s.") from error
        except (OSError, EOFError) as error:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)  # Its end of the connection closes before its status can be read.
            raise self._outage(f"A remote simulator must not end during {name!r}.") from error
        except CodecError as error:
            raise self._outage(f"A remote simulator must answer {name!r} by a message: {error.rule}") from error
        if isinstance(reply, Mapping) and "result" in reply:
            return reply["result"]
        if isinstance(reply, Mapping) and isinstance(reply.get("error"), str):
            raise SimulationError(
                f"A remote simulator must be able to do {name!r}.",
                value=reply["error"],
                remedy=f"Its last lines: {self.last_lines()}",
            )
        raise self._outage(f"A remote simulator must answer {name!r} by a result or an error.")

    def reserve(self, size: int) -> int:
        """Makes the shared memory at least `size` bytes large; returns its size."""
        return self._memory.reserve(size)

    def array(self, offset: int, shape: Sequence[int], dtype: str) -> np.ndarray:
        """Returns a copy of an array of `shape` and `dtype` at `offset` of the shared memory."""
        return np.ndarray(tuple(shape), np.dtype(dtype), self._memory.view, offset).copy()

    def last_lines(self) -> str:
        """Returns what the worker has printed last."""
        if self._log.closed:
            return ""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - LAST_LINES_BYTES))
        return self._log.read().decode(errors="replace").strip()

    def close(self) -> None:
        """Ends the worker; calling it twice is harmless."""
        if self.alive:
            with suppress(OutageError, SimulationError):
                self.call("close", timeout_s=CLOSING_S)
        self._finalizer()

    def _greet(self) -> Mapping[str, Any]:
        facts = self.call("hello", timeout_s=max(STARTING_S, self._timeout_s))
        if not isinstance(facts, Mapping) or facts.get("protocol") != PROTOCOL:
            self._finalizer()
            raise ConfigError(
                f"The worker of a remote simulator must speak protocol {PROTOCOL}.",
                value=facts.get("protocol") if isinstance(facts, Mapping) else facts,
                remedy="Use the worker file of this version.",
            )
        if facts.get("missing"):
            self._finalizer()
            raise MissingDependencyError(
                "The environment of a remote simulator must have its libraries.",
                value=facts["missing"],
                remedy="Install them there.",
            )
        return facts

    def _send(self, message: bytes, until_s: float) -> None:
        self._wait(until_s)
        self._socket.sendall(_HEADER.pack(_MARK, len(message)) + message)

    def _receive(self, until_s: float) -> bytes:
        mark, length = _HEADER.unpack(self._exactly(_HEADER.size, until_s))
        if mark != _MARK or length > _LIMITS.message_bytes:
            raise CodecError("A message must begin with its mark and length.", value=mark)
        return self._exactly(length, until_s)

    def _exactly(self, count: int, until_s: float) -> bytes:
        content = bytearray()
        while len(content) < count:
            self._wait(until_s)
            part = self._socket.recv(min(count - len(content), 2**20))
            if not part:
                raise EOFError
            content += part
        return bytes(content)

    def _wait(self, until_s: float) -> None:
        left_s = until_s - time.monotonic()
        if left_s <= 0.0:
            raise TimeoutError
        self._socket.settimeout(left_s)

    def _outage(self, rule: str) -> OutageError:
        """Ends the worker and returns the error that says why."""
        lines, before = self.last_lines(), self._process.poll()
        self._finalizer()
        how = "it was ended" if before is None else f"it ended with status {before}"
        return OutageError(rule, value=f"{how}; its last lines: {lines or 'none'}")

    def _free(self) -> None:
        for thing in (self._socket, self._log, self._memory):
            thing.close()


class _Memory:
    """Memory that is shared with a worker by its file alone, which has no name and lives as long as its users."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.file = os.memfd_create("embodied-images")
        else:
            with tempfile.TemporaryFile() as unnamed:
                self.file = os.dup(unnamed.fileno())
        self._size = 0
        self.view: mmap.mmap | bytes = b""

    def reserve(self, size: int) -> int:
        if size > self._size:
            os.ftruncate(self.file, size)
            self._unmap()
            self.view, self._size = mmap.mmap(self.file, size), size
        return self._size

    def close(self) -> None:
        self._unmap()
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def _unmap(self) -> None:
        if isinstance(self.view, mmap.mmap):
            self.view.close()
        self.view = b""


def _end(process: "subprocess.Popen[bytes]", link: socket.socket, log: BinaryIO, memory: _Memory) -> None:
    """Ends a worker and waits for it, so that neither process nor memory is left."""
    link.close()  # A worker at rest ends by itself; one that is busy or hangs is killed.
    try:
        process.wait(0.2 if process.poll() is None else 0.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()
    memory.close()
