"""Output folders: other files are never overwritten, and only one run writes at a time."""

import fcntl
from pathlib import Path
from typing import IO

from embodied.errors import ConfigError, PathError

LOCK_FILE = ".lock"
_OTHER_FOLDER = "Choose another output folder."


def claim(path: Path, *, kind: str, mark: str) -> IO[bytes]:
    """Makes the folder `path` and returns its lock, which is held until it is closed.

    A folder with content is accepted if it belongs to an earlier `kind` of run, such as "evaluation", which the file
    `mark` shows. Raises `PathError` for other folders and where no folder can be made, and `ConfigError` where another
    run holds the lock.
    """
    require_own_folder(path, kind=kind, mark=mark)
    try:
        path.mkdir(parents=True, exist_ok=True)
        return locked(path)
    except OSError as error:
        raise PathError(
            "The output must be a folder that can be made and written.",
            value=f"{path}: {error.strerror}",
            remedy=_OTHER_FOLDER,
        ) from error


def require_own_folder(path: Path, *, kind: str, mark: str) -> None:
    """Raises `PathError` unless `path` is free, an empty folder, or has the file `mark` of an earlier `kind` of run."""
    if path.exists() and not path.is_dir():
        raise PathError("The output must be a folder.", value=str(path), remedy="Choose another path.")
    if path.is_dir() and not (path / mark).exists():
        others = sorted(entry.name for entry in path.iterdir() if not _is_ours(entry.name))
        if others:
            raise PathError(
                f"The output folder must be new, empty, or one of an earlier {kind}.",
                value=f"{path} with {others[0]}",
                remedy=_OTHER_FOLDER,
            )


def locked(folder: Path) -> IO[bytes]:
    """Returns the lock of `folder`, held until it is closed. Raises `ConfigError` where another run holds it."""
    # The kernel releases the lock when its process ends in any way; the file itself may stay.
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
    """Returns whether `name` may be left by a run that was killed before its first file was complete."""
    return name == LOCK_FILE or (name.startswith(".") and name.endswith(".part"))
