"""Paths that PyBullet can open: a mesh under a name with other letters than ASCII ends its process."""

import hashlib
import tempfile
from pathlib import Path

from embodied.errors import SceneError
from embodied.paths import cache_folder, write_cached


def native_path(path: Path) -> Path:
    """Returns `path`, or a copy of the file under an ASCII name in the user's cache or the folder of temporary files.

    Raises `SceneError` where neither folder has an ASCII path, `PathError` where it cannot be written.
    """
    if str(path).isascii():
        return path
    content = path.read_bytes()
    name = f"{hashlib.sha256(content).hexdigest()}{path.suffix.lower()}"
    for folder in (cache_folder(), Path(tempfile.gettempdir()) / "embodied-memory"):
        if str(folder).isascii():
            copy = folder / "meshes" / name
            write_cached(copy, content)
            return copy
    raise SceneError(
        "PyBullet needs paths of ASCII letters.",
        value=str(path),
        remedy="Set XDG_CACHE_HOME to a folder with such a path.",
    )
