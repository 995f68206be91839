"""Parts offered from outside: entry points of installed packages, and constants of named modules."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from embodied.errors import PluginError, unknown_name

PREFIX = "embodied."
CONSTANT = "EMBODIED"
GROUPS = ("tasks", "suites", "robots", "simulators", "policies", "memories", "learners", "planners", "skills")

_named: dict[str, ModuleType] = {}  # The modules that the command line of this process has named.


@dataclass(frozen=True)
class OfferedPart:
    """One part that a package offers: its group, its name, and its object `target`, such as `my_package:Config`.

    `package` is the name of a distribution, or of a module that the command line has named; `version` is "" for these.
    """

    group: str
    name: str
    package: str
    version: str
    target: str
    entry_point: EntryPoint | None = None

    def __str__(self) -> str:
        kind = "package" if self.entry_point else "module"
        return f"{self.name!r} ({PREFIX}{self.group}) = {self.target} of {kind} {self.package!r}"

    @property
    def module(self) -> str:
        """The module in which the part lies."""
        return self.target.partition(":")[0]

    def load(self) -> Any:
        """Returns the object that the package offers. Raises whatever importing its module raises."""
        if self.entry_point:
            return self.entry_point.load()
        return named_parts(self.package)[self.group][self.name]

    def broken(self, cause: str) -> PluginError:
        """Returns the error for a part that cannot be used because of `cause`."""
        remedy = "Repair the package, or uninstall it." if self.entry_point else "Repair the module."
        return PluginError(
            "A part from outside must load and be of its kind.", value=str(self), remedy=f"{cause} {remedy}"
        )


def offered(group: str) -> Mapping[str, tuple[OfferedPart, ...]]:
    """Returns the parts offered from outside in `group`, by name, without importing any of them."""
    return _offered(tuple(sys.path), tuple(_named)).get(group, {})


def import_modules(names: Sequence[str]) -> None:
    """Imports modules that offer parts in their constant `EMBODIED`; importing one twice is harmless.

    Raises `PluginError` for a module that cannot be imported or whose constant is not as it must be.
    """
    for name in names:
        if name in _named:
            continue
        try:
            module = import_module(name)
        except (Exception, SystemExit) as error:  # The code of others may raise anything.
            raise PluginError(
                "plugins must name modules that can be imported.",
                value=name,
                remedy=f"{type(error).__name__}: {sentence(error)} Repair the module, or add its folder to PYTHONPATH.",
            ) from error
        _check_constant(name, getattr(module, CONSTANT, None))
        _named[name] = module


def named_parts(module: str) -> Mapping[str, Mapping[str, Any]]:
    """Returns the parts that a module named by the command line offers, by group and name."""
    return getattr(_named[module], CONSTANT)


def named_modules() -> tuple[str, ...]:
    """Returns the modules that `import_modules` has imported in this process."""
    return tuple(_named)


def sentence(error: BaseException) -> str:
    """Returns the message of an error on one line, with a full stop."""
    text = " ".join(str(error).split()) or "no reason given"
    return text if text.endswith((".", "!", "?")) else f"{text}."


@lru_cache(maxsize=8)
def _offered(path: tuple[str, ...], modules: tuple[str, ...]) -> Mapping[str, Mapping[str, tuple[OfferedPart, ...]]]:
    """Returns all parts from outside by group and name; the result depends on where packages are sought (`path`)."""
    del path  # It makes the cache forget packages that are no longer sought.
    found: dict[str, dict[str, tuple[OfferedPart, ...]]] = {}
    for part in (*_installed(), *_parts_of(modules)):
        group = found.setdefault(part.group, {})
        group[part.name] = (*group.get(part.name, ()), part)
    return found


def _installed() -> Iterator[OfferedPart]:
    points = entry_points()
    for group in GROUPS:
        for point in points.select(group=PREFIX + group):
            name, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "")
            yield OfferedPart(group, point.name, name, version, point.value, point)


def _parts_of(modules: Sequence[str]) -> Iterator[OfferedPart]:
    for module in modules:
        for group, parts in named_parts(module).items():
            for name in parts:
                yield OfferedPart(group, name, module, "", f"{module}:{CONSTANT}")


def _check_constant(module: str, value: Any) -> None:
    """Raises `PluginError` unless `value` is a mapping of parts by group and name."""
    if not isinstance(value, Mapping) or not all(isinstance(parts, Mapping) for parts in value.values()):
        raise PluginError(
            f"A module that plugins names must have a constant {CONSTANT} with its parts by group and name.",
            value=module,
            remedy=f'Define such as {CONSTANT} = {{"policies": {{"my_policy": MyPolicyConfig}}}}.',
        )
    for group in value:
        if group not in GROUPS:
            error = unknown_name(f"group in {CONSTANT} of module {module!r}", group, GROUPS)
            raise PluginError(error.rule, value=error.value, remedy=error.remedy)
