"""Tasks and suites by name. A new suite is one line in `SUITES`."""

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from enum import Enum
from typing import Any

from embodied.errors import ConfigError, UnknownNameError, unknown_name
from embodied.tasks.memorybench.suite import MEMORYBENCH
from embodied.tasks.suite import Suite
from embodied.tasks.teamwork.suite import TEAMWORK

SUITES: dict[str, Suite] = {suite.name: suite for suite in (MEMORYBENCH, TEAMWORK)}
TASKS: dict[str, type[Any]] = {name: kind for suite in SUITES.values() for name, kind in suite.tasks.items()}
SUITE_WIDE = ("tier", "on_failure")  # Fields of tasks that are chosen for a whole suite.


def suite_named(name: str) -> Suite:
    """Returns a suite. Raises `UnknownNameError`."""
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    return SUITES[name]


def make_task(name: str, *, tier: str = "strict", options: Mapping[str, Any] | None = None) -> Any:
    """Returns the task `name` with the fields given in `options`, such as `{"patches": 8}`: a `protocols.Task`.

    `tier` is ignored by tasks that have none. Raises `UnknownNameError` for the task or tier, `ConfigError` for an
    option that it lacks, of a wrong type or value.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    kind = TASKS[name]
    known = {field.name: field.type for field in fields(kind)}
    chosen = {option: _checked(name, option, value, known) for option, value in (options or {}).items()}
    return kind(**({"tier": tier} if "tier" in known else {}), **chosen)


def _checked(task: str, option: str, value: Any, known: Mapping[str, Any]) -> Any:
    """Returns the value of an option as the task wants it."""
    if option not in known or option == "tier":
        near = get_close_matches(option, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(sorted(known.keys() - {"tier"}))
        raise ConfigError(
            f"An option of task {task!r} must be one of its fields.", value=option, remedy=f"{hint}Known: {listed}."
        )
    kind = known[option]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(task, option, value, kind)
    wanted: dict[Any, tuple[tuple[type, ...], str]] = {
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
        bool: ((bool,), "true or false"),
        str: ((str,), "text"),
    }
    if kind not in wanted:
        raise ConfigError(f"Option {option!r} of task {task!r} cannot be set from outside.", value=value)
    types, expected = wanted[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"Option {option!r} of task {task!r} must be {expected}.", value=value)
    return value


def _member(task: str, option: str, value: Any, kind: type[Enum]) -> Enum:
    try:
        return kind(value)
    except ValueError as error:
        known = [str(member.value) for member in kind]
        near: UnknownNameError = unknown_name(option, value, known)
        raise ConfigError(
            f"Option {option!r} of task {task!r} must be one of {', '.join(known)}.", value=value, remedy=near.remedy
        ) from error
