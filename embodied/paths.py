"""Paths confined to a root, and files that are written atomically."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from embodied.errors import PathError


def confined(root: Path, relative: str) -> Path:
    """Returns the existing file `relative` under `root`, with links resolved.

    Raises `PathError` for an absolute path, one that leaves `root` (also through a link), and one that is missing.
    """
    base = root.resolve()
    try:
        path = (base / relative).resolve()
        exists = path.is_file()
    except (OSError, ValueError) as error:  # Too long, or with a zero byte in it.
        raise PathError("The name of a file must be one that can exist.", value=relative[:80]) from error
    if Path(relative).is_absolute() or not path.is_relative_to(base):
        raise PathError("A file must lie inside its root.", value=relative, remedy=f"Put it under {root.name}/.")
    if not exists:
        raise PathError("A file must exist.", value=relative, remedy=f"Looked in the root {root.name}/.")
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path` such that a reader or a crash sees the old file or the new one, never a part."""
    with written_atomically(path) as file:
        file.write(content)


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """Yields a new file that takes the place of `path` when the block ends, and is removed where the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `mkstemp`, whose files are readable by their owner alone, while results are shared.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def cache_folder() -> Path:
    """Returns the per-user folder of files that can be regenerated: `$XDG_CACHE_HOME` or `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "embodied-memory"


@contextmanager
def caching(path: Path) -> Iterator[None]:
    """Raises `PathError` where the block cannot write `path`, which lies in the user's cache."""
    try:
        yield
    except OSError as error:
        raise PathError(
            "The user's cache must be a folder that can be written.",
            value=f"{path}: {error.strerror or error}",
            remedy="Set the environment variable XDG_CACHE_HOME to such a folder.",
        ) from error


def write_cached(path: Path, content: bytes) -> None:
    """Writes `content` to `path` in the user's cache, unless it is there; raises as `caching`."""
    with caching(path):
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
