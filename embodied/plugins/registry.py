"""Registries: the parts of one kind by name, those of this project and those from outside."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar

from embodied.errors import PluginError, unknown_name
from embodied.plugins.parts import OfferedPart, offered, sentence

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_uses: list[set[OfferedPart]] = []  # One set for each `recorded_use` that is open.


class Registry(Generic[_T]):
    """The parts of one group by name: this project's, and those from outside, which are loaded on first use.

    `accept` converts the object that a package offers under a name into a part; it raises `TypeError` for other kinds
    of objects.
    """

    def __init__(self, group: str, kind: str, own: Mapping[str, _T], accept: Callable[[str, Any], _T]) -> None:
        self.own = dict(own)
        self.loaded: dict[str, _T] = {}  # From outside, those used so far.
        self._group = group
        self._kind = kind
        self._accept = accept

    def __iter__(self) -> Iterator[str]:
        """Yields all names, our own first, without loading anything."""
        yield from self.own
        yield from (name for name in offered(self._group) if name not in self.own)

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in offered(self._group)

    def __getitem__(self, name: str) -> _T:
        """Returns the part called `name`.

        Raises `UnknownNameError` with the nearest right name, and `PluginError` for a part that is broken or whose name
        is offered twice.
        """
        offers = offered(self._group)
        if name not in offers:
            if name not in self.own:
                raise unknown_name(self._kind, name, self)
            return self.own[name]
        first, *others = offers[name]
        if others or name in self.own:
            raise _clash([first, *others], ours=name in self.own)
        return self._loaded(first)

    def sound(self) -> dict[str, _T]:
        """Returns all parts that load, and logs a warning for each that does not."""
        found: dict[str, _T] = {}
        for name in self:
            try:
                found[name] = self[name]
            except PluginError as error:
                _log.warning("Left out: %s", error)
        return found

    def outside(self, name: str) -> bool:
        """Returns whether a package or a named module offers `name`."""
        return name in offered(self._group)

    def _loaded(self, part: OfferedPart) -> _T:
        for used in _uses:
            used.add(part)
        try:
            self.loaded[part.name] = self._accept(part.name, part.load())
        except (Exception, SystemExit) as error:  # What the code of others may raise is not known here.
            raise part.broken(f"{type(error).__name__}: {sentence(error)}") from error
        return self.loaded[part.name]


@contextmanager
def recorded_use() -> Iterator[set[OfferedPart]]:
    """Yields a set that collects every part from outside that is used inside."""
    used: set[OfferedPart] = set()
    _uses.append(used)
    try:
        yield used
    finally:
        _uses.remove(used)


def config_class(name: str, value: Any) -> type[Any]:
    """Returns `value` if it is a config dataclass with `build()`. Raises `TypeError` otherwise, about `name`."""
    if isinstance(value, type) and is_dataclass(value) and callable(getattr(value, "build", None)):
        return value
    raise TypeError(f"{name!r} must be a dataclass with build(), not {_shown(value)}.")


def config_value(name: str, value: Any) -> Any:
    """Returns a config with `build()`: `value` itself, or the one with the defaults of such a class.

    Raises `TypeError`.
    """
    if isinstance(value, type):
        return config_class(name, value)()
    config_class(name, type(value))
    return value


def _clash(parts: Sequence[OfferedPart], *, ours: bool) -> PluginError:
    offers = [*(["this project"] if ours else []), *map(str, parts)]
    return PluginError(
        "A name must be offered by one package only.",
        value=parts[0].name,
        remedy=f"It is offered by {' and by '.join(offers)}. Rename one of them, or uninstall its package.",
    )


def _shown(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)
