"""Folders that stand on a command line by themselves, as in `python -m launch.compare A B`."""

from collections.abc import Sequence

from launch.arguments import OVERRIDE

WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-dir", "-cd", "--config-path", "-cp")


def folder_arguments(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the folders among the words of a command line, quoted as Hydra reads values, and the other words."""
    folders, others = [], []
    for before, word in zip(["", *words], words, strict=False):
        setting = word.startswith("-") or before in WITH_VALUE or OVERRIDE.fullmatch(word) is not None
        (others if setting else folders).append(word)
    return [_quoted(folder) for folder in folders], others


def _quoted(text: str) -> str:
    """Returns `text` in quotes: a backslash before a quote escapes it, and is doubled itself there."""
    escaped = text.replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}\\'" if escaped.endswith("\\") else f"'{escaped}'"
