"""Keeps the two lines that PyBullet's C code prints at every start off the terminal."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO

BANNERS = (b"pybullet build time:", b"argv[0]=")
STREAMS = (1, 2)  # The descriptors of stdout and stderr: C code does not know Python's streams.
_one_at_a_time = threading.Lock()


@contextmanager
def without_banners() -> Iterator[None]:
    """Buffers the output to stdout and stderr inside; afterwards all but the `BANNERS` is written.

    Output of other threads and errors of C code are thus delayed, but not lost.
    """
    with _one_at_a_time, ExitStack() as stack:
        held = [stack.enter_context(TemporaryFile(buffering=0)) for _ in STREAMS]
        _flush_c_streams()
        try:
            terminals = [os.dup(stream) for stream in STREAMS]
        except OSError:  # A service that closed its streams: no process reads them.
            yield
            return
        try:
            for stream, file in zip(STREAMS, held, strict=True):
                os.dup2(file.fileno(), stream)
            yield
        finally:
            _flush_c_streams()
            for stream, terminal, file in zip(STREAMS, terminals, held, strict=True):
                os.dup2(terminal, stream)
                os.close(terminal)
                _write_rest(file, stream)


def _flush_c_streams() -> None:
    ctypes.CDLL(None).fflush(None)


def _write_rest(file: IO[bytes], stream: int) -> None:
    file.seek(0)
    rest = b"".join(line for line in file.read().splitlines(keepends=True) if not line.startswith(BANNERS))
    while rest:
        rest = rest[os.write(stream, rest) :]
