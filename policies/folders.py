"""Folders of files that appear whole or not at all, with a manifest of checksums."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from embodied.errors import DataError

MANIFEST = "manifest.json"
PART_SUFFIX = ".part"


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes `files` by name and a manifest with the SHA-256 of each; what was in `folder` before is gone then.

    A kill leaves the old folder, none, or the new one, never a part; what else it leaves, `sweep` deletes.
    """
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    part = _hidden(folder)
    part.mkdir(parents=True)
    for name, content in {**files, MANIFEST: json_bytes(manifest)}.items():
        with (part / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync(part)
    discard(folder)
    part.rename(folder)
    _sync(folder.parent)


def read_folder(folder: Path, names: Sequence[str], *, kind: str) -> dict[str, bytes]:
    """Returns the files called `names` of a `folder` that `write_folder` wrote.

    Raises `DataError` about a `kind`, such as "checkpoint", naming the folder, where one is missing or altered.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=dict[str, str])
        files = {name: (folder / name).read_bytes() for name in names}
    except (OSError, msgspec.DecodeError) as error:
        raise damaged(kind, folder, str(error)) from error
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != manifest.get(name):
            raise damaged(kind, folder, f"the checksum of {name} does not match")
    return files


def discard(folder: Path) -> None:
    """Deletes a folder, if it is there, under another name: a kill in between leaves no half of it behind."""
    if folder.exists():
        doomed = _hidden(folder)
        folder.rename(doomed)
        shutil.rmtree(doomed)


def sweep(parent: Path) -> None:
    """Deletes what kills have left of folders in `parent`; no process may be writing there."""
    for leftover in parent.glob(f".*{PART_SUFFIX}"):
        if leftover.is_dir():
            shutil.rmtree(leftover)


def damaged(kind: str, folder: Path, reason: str) -> DataError:
    """Returns the error for a `folder` of a `kind`, such as "checkpoint", that cannot be used for `reason`."""
    return DataError(f"A {kind} must be whole and unaltered.", value=str(folder), remedy=f"Wrong here: {reason}.")


def json_bytes(value: object) -> bytes:
    """Returns `value` as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


def _hidden(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{PART_SUFFIX}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
