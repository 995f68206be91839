"""Output folders: nobody else's things are written over, and only one run writes at a time."""

import fcntl
from pathlib import Path
from typing import IO

from embodied.errors import ConfigError, PathError

LOCK_FILE = ".lock"
_OTHER_FOLDER = "Choose another output folder."


def claim(path: Path, *, kind: str, mark: str) -> IO[bytes]:
    """Makes the folder `path` and returns its lock, which is held until it is closed.

    A folder that has things in it is one of an earlier `kind`, such as "evaluation", if the file `mark` is among them.
    Raises `PathError` for other folders and for places where none can be made, and `ConfigError` where another run
    holds the lock.
    """
    refuse_strangers(path, kind=kind, mark=mark)
    try:
        path.mkdir(parents=True, exist_ok=True)
        return locked(path)
    except OSError as error:
        raise PathError(
            "The output must be a folder that can be made and written.",
            value=f"{path}: {error.strerror}",
            remedy=_OTHER_FOLDER,
        ) from error


def refuse_strangers(path: Path, *, kind: str, mark: str) -> None:
    """Raises `PathError` unless `path` is free, an empty folder, or holds the file `mark` of an earlier `kind`."""
    if path.exists() and not path.is_dir():
        raise PathError("The output must be a folder.", value=str(path), remedy="Choose another path.")
    if path.is_dir() and not (path / mark).exists():
        strangers = sorted(entry.name for entry in path.iterdir() if not _is_ours(entry.name))
        if strangers:
            raise PathError(
                f"The output folder must be new, empty, or one of an earlier {kind}.",
                value=f"{path} with {strangers[0]}",
                remedy=_OTHER_FOLDER,
            )


def locked(folder: Path) -> IO[bytes]:
    """Returns the lock of `folder`, held until it is closed. Raises `ConfigError` where another run holds it."""
    # The kernel frees the lock when its holder dies, however it dies; the file itself may stay.
    file = (folder / LOCK_FILE).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigError(
            "Only one run may write to a folder at a time.",
            value=str(folder),
            remedy="Wait for the other one to end, or choose another output folder.",
        ) from error
    return file


def _is_ours(name: str) -> bool:
    """Whether a run that was killed before its first file was whole may have left `name`."""
    return name == LOCK_FILE or (name.startswith(".") and name.endswith(".part"))
