"""The URL of a bank: `sqlite:///relative.db`, `sqlite:////absolute.db` or `:memory:`."""

from pathlib import Path

from embodied.errors import MemoryBankError, PathError

SCHEME = "sqlite:///"
IN_MEMORY = ":memory:"


def bank_path(url: str, *, root: Path | None = None) -> Path | None:
    """Returns the file of a bank's URL, None for one in memory.

    A relative path is relative to `root`, or to the working folder where there is no root. Raises `MemoryBankError` for
    another scheme or no file name, `PathError` for a file outside `root` or in no folder.
    """
    if url in (IN_MEMORY, SCHEME + IN_MEMORY):
        return None
    name = url.removeprefix(SCHEME) if isinstance(url, str) else url
    if name == url or not name or "\0" in name or "?" in name or name.endswith("/"):
        raise MemoryBankError(
            "The URL of a bank must name an SQLite file.",
            value=url,
            remedy="Write sqlite:///relative.db, sqlite:////absolute.db or :memory:.",
        )
    try:
        path = ((root or Path()) / name).resolve()
        reached = not path.is_dir() and path.parent.is_dir()
    except (
        OSError,
        RuntimeError,
    ) as error:  # A folder that is closed to this user, too long a name, a circle of links.
        rule = "The folder of a bank must be one that can be entered."
        raise PathError(rule, value=url, remedy=f"{error}.") from error
    if root is not None and not path.is_relative_to(root.resolve()):
        raise PathError("A bank's file must lie inside its root.", value=url, remedy=f"Put it under {root.name}/.")
    if not reached:
        raise PathError("A bank must be a file in a folder that exists.", value=url, remedy="Make its folder first.")
    return path
