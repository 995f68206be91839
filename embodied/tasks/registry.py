"""Tasks and suites by name."""

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from embodied.errors import ConfigError, unknown_name
from embodied.tasks.memorybench.base import MemoryTask, Tier
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.tasks.memorybench.rearrange_block import RearrangeBlock
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer

TASKS: dict[str, type[MemoryTask]] = {
    "reopen_drawer": ReopenDrawer,
    "put_block_back": PutBlockBack,
    "rearrange_block": RearrangeBlock,
}
SUITES: dict[str, tuple[str, ...]] = {"memorybench": tuple(TASKS)}


def suite_tasks(suite: str) -> tuple[str, ...]:
    """Returns the names of a suite's tasks. Raises `UnknownNameError`."""
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    return SUITES[suite]


def make_task(name: str, *, tier: str = Tier.STRICT, options: Mapping[str, Any] | None = None) -> MemoryTask:
    """Returns the task `name` with the fields given in `options`, such as `{"patches": 8}`.

    Raises `UnknownNameError` for the task or tier, `ConfigError` for an option that it lacks, of a wrong type or value.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    kind = TASKS[name]
    known = {field.name: field.type for field in fields(kind) if field.name != "tier"}
    for option, value in (options or {}).items():
        if option not in known:
            near = get_close_matches(option, known, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"An option of task {name!r} must be one of its fields.",
                value=option,
                remedy=f"{hint}Known: {', '.join(sorted(known))}.",
            )
        if isinstance(value, bool) or not isinstance(value, int if known[option] is int else (int, float)):
            expected = "a whole number" if known[option] is int else "a number"
            raise ConfigError(f"Option {option!r} of task {name!r} must be {expected}.", value=value)
    return kind(tier=Tier(tier) if tier in set(Tier) else tier, **(options or {}))  # type: ignore[arg-type]
