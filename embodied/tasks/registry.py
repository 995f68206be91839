"""Tasks and suites by name: ours, and those from outside. A new suite of ours is one line in `SUITES`."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, get_type_hints

from embodied.errors import ConfigError, UnknownNameError, unknown_name
from embodied.plugins import Registry
from embodied.tasks.memorybench.suite import MEMORYBENCH
from embodied.tasks.suite import Suite
from embodied.tasks.teamwork.suite import TEAMWORK

TIER = "tier"
TASK_METHODS = ("sample", "begin", "advance", "chance", "after_failure")


def _suite(name: str, value: Any) -> Suite:
    if not isinstance(value, Suite):
        raise TypeError(f"{name!r} must be a Suite (embodied.tasks.suite), not {value!r}.")
    for task, kind in value.tasks.items():
        _task(task, kind)
    return value


def _task(name: str, value: Any) -> type[Any]:
    if not (isinstance(value, type) and is_dataclass(value)):
        raise TypeError(f"{name!r} must be a dataclass of tasks (embodied.protocols.Task), not {value!r}.")
    lacking = [method for method in TASK_METHODS if not callable(getattr(value, method, None))]
    if lacking:
        raise TypeError(f"{value.__name__} must have the methods of embodied.protocols.Task; it lacks {lacking}.")
    return value


SUITES: Registry[Suite] = Registry("suites", "suite", {suite.name: suite for suite in (MEMORYBENCH, TEAMWORK)}, _suite)
TASKS: Registry[type[Any]] = Registry(
    "tasks", "task", {name: kind for suite in SUITES.own.values() for name, kind in suite.tasks.items()}, _task
)
SUITE_WIDE = (TIER, "on_failure", "spec")  # Fields of tasks that are chosen for a whole suite.


def suite_names() -> list[str]:
    """Returns the names of all suites: a task from outside is also a suite of its own name."""
    return [*SUITES, *(name for name in TASKS if TASKS.outside(name) and name not in SUITES)]


def suite_named(name: str) -> Suite:
    """Returns a suite. Raises `UnknownNameError`, `PluginError`."""
    if name in SUITES:
        return SUITES[name]
    if not TASKS.outside(name):
        raise unknown_name("suite", name, suite_names())
    kind = TASKS[name]
    default = next((field.default for field in fields(kind) if field.name == TIER), None)
    tiers = tuple(str(tier.value) for tier in type(default)) if isinstance(default, Enum) else ()
    return Suite(name, {name: kind}, tiers)


def sound_suites() -> list[Suite]:
    """Returns all suites that load, those of single tasks from outside included; of others a warning is logged."""
    outside = [name for name in TASKS.sound() if TASKS.outside(name) and name not in SUITES]
    return [*SUITES.sound().values(), *map(suite_named, outside)]


def make_task(name: str, *, tier: str = "strict", options: Mapping[str, Any] | None = None) -> Any:
    """Returns the task `name` with the fields given in `options`, such as `{"patches": 8}`: a `protocols.Task`.

    `tier` is ignored by tasks that have none. Raises `UnknownNameError` for the task or tier, `ConfigError` for an
    option that it lacks, of a wrong type or value, and `PluginError`.
    """
    return build_task(TASKS[name], name, tier=tier, options=options or {})


def build_task(kind: type[Any], name: str, *, tier: str, options: Mapping[str, Any]) -> Any:
    """Returns the task of class `kind`, which is called `name` in its suite, in `tier` and with `options`.

    Raises as `make_task`.
    """
    known = option_types(kind)
    chosen = {option: _checked(name, option, value, known) for option, value in options.items()}
    return kind(**({TIER: tier} if TIER in known else {}), **chosen)


def option_types(kind: type[Any]) -> dict[str, Any]:
    """Returns the types of the fields of a class of tasks, by name."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def settable_options(kind: type[Any]) -> dict[str, tuple[type[Any], Any]]:
    """Returns the type and the default of each option of a class of tasks that can be set from outside, by name.

    The default is `dataclasses.MISSING` where the option must be given. A choice has its text as its default.
    """
    types, found = option_types(kind), {}
    for field in fields(kind):
        wanted = types.get(field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if isinstance(wanted, type) and issubclass(wanted, Enum):
            found[field.name] = (str, default.value if isinstance(default, Enum) else default)
        elif wanted in (int, float, bool, str):
            found[field.name] = (wanted, default)
    return found


def _checked(task: str, option: str, value: Any, known: Mapping[str, Any]) -> Any:
    """Returns the value of an option as the task wants it."""
    if option not in known or option == TIER:
        near = get_close_matches(option, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(sorted(known.keys() - {TIER}))
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
