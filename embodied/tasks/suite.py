"""Suites: tables of tasks, each a class that is its own config and names the expert that solves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Suite:
    """Classes of tasks by name. `tiers` is empty where the suite has none; else each task has a field `tier`.

    A class of tasks is a dataclass of plain fields. `about` is a sentence for reports: what its tasks have in common.
    """

    name: str
    tasks: Mapping[str, type[Any]]
    tiers: tuple[str, ...] = ()
    about: str = ""
