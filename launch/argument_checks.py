"""Checks the words of a command line before Hydra reads them, and cleans up after a sweep that was refused."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from embodied.errors import ConfigError

SWEEPS = ("-m", "--multirun")
SWEEP_FILE = "multirun.yaml"
QUOTED_BY_HYDRA = "[]{}(),'\"$\\"


def check_words(words: Sequence[str]) -> None:
    """Refuses words for which Hydra's option parser would print its usage. Raises `ConfigError`."""

    def refuse(message: str) -> NoReturn:
        raise ConfigError("Options must be those of Hydra.", value=message, remedy="`--help` shows what may be given.")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    for word in parser.parse_known_args(list(words))[1]:
        name, _, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or not name:
            rule = "Options, such as -m, must stand before all settings or after them."
            raise ConfigError(rule, value=word, remedy="Move the option to the front.")
        following = words[words.index(word) + 1 :][:1] if not value else []
        raise ConfigError(
            "A setting must be written without dashes.",
            value=" ".join([word, *following]),
            remedy=f"Write {name}={value or ''.join(following) or '...'}.",
        )
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise ConfigError("Arguments must be text in UTF-8.", value=word) from error


def quoted(word: str) -> str:
    """Returns a setting whose value has letters beyond ASCII, such as a path, in the quotes that Hydra requires."""
    key, sign, value = word.partition("=")
    if not sign or value.isascii() or any(mark in value for mark in QUOTED_BY_HYDRA):
        return word
    return f"{key}='{value}'"


@contextmanager
def tidy_sweep(words: Sequence[str]) -> Iterator[None]:
    """Removes the empty output folder that Hydra has made for a sweep that is then refused."""
    folders = [Path(word.partition("=")[2]) for word in words if word.startswith("output=") and len(word) > 7]
    new = [folder for folder in folders if any(word in SWEEPS for word in words) and not folder.exists()]
    try:
        yield
    except SystemExit:
        for folder in new:
            _remove_empty(folder)
        raise


def _remove_empty(folder: Path) -> None:
    """Removes a folder that has no content but Hydra's list of jobs and empty folders."""
    if not folder.is_dir():
        return
    entries = list(folder.iterdir())
    if all(entry.name == SWEEP_FILE or (entry.is_dir() and not any(entry.iterdir())) for entry in entries):
        for entry in entries:
            entry.rmdir() if entry.is_dir() else entry.unlink()
        folder.rmdir()


def quote_arguments() -> None:
    """Quotes the arguments of this process as `quoted` does."""
    sys.argv[1:] = [quoted(word) for word in sys.argv[1:]]
