"""Suites: tables of tasks, each beside the expert that solves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embodied.tasks.expert import RobotExpert


@dataclass(frozen=True)
class TaskEntry:
    """A task's class, which is its own config of plain fields, and its expert, None where it has none."""

    kind: type[Any]
    expert: RobotExpert | None = None


@dataclass(frozen=True)
class Suite:
    """Tasks by name. `tiers` is empty where the suite has none; else each task has a field `tier`.

    `about` is a sentence for reports: what its tasks have in common.
    """

    name: str
    tasks: Mapping[str, TaskEntry]
    tiers: tuple[str, ...] = ()
    about: str = ""
