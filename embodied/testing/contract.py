"""Shared parts of all contract checks.

Named rules, the error that names a broken one, and exact comparisons of values.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from embodied.errors import EmbodiedError


class Leaves(dict[str, Any]):
    """Copies of all numbers, arrays and texts of a value, by their paths."""


class ContractError(EmbodiedError):
    """A part breaks a rule of its contract; `name` is the rule's, such as `determinism`."""

    usual_remedy = "Correct the part, then check it again."

    def __init__(self, rule: str, *, value: object, remedy: str = "", name: str = "") -> None:
        super().__init__(rule, value=value, remedy=remedy)
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.rule, self.value, self.remedy, self.name)


@dataclass(frozen=True)
class Rule:
    """One rule of a contract. Inside `with rule:` every error is a breach of it, except of an inner rule."""

    name: str
    text: str
    remedy: str = ""

    def broken(self, value: object) -> ContractError:
        """Returns the error that names this rule; `value` is what was found instead."""
        return ContractError(self.text, value=value, remedy=self.remedy, name=self.name)

    def require_same(self, what: str, one: Any, other: Any, *, tolerance: float = 0.0) -> None:
        """Raises `ContractError` where two values differ, naming where; numbers may differ by `tolerance`.

        `what` names the values `one` and `other` in the message.
        """
        found = difference(one, other, tolerance=tolerance)
        if found:
            raise self.broken(f"{what} differ at {found}")

    def require_refusal(self, what: str, call: Callable[[], object], *errors: type[BaseException]) -> None:
        """Raises `ContractError` unless `call` raises one of `errors`."""
        with self:
            try:
                call()
            except errors:
                return
            names = " or ".join(error.__name__ for error in errors)
            raise self.broken(f"{what} raised no {names}")

    def __enter__(self) -> Rule:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, ContractError):
            raise self.broken(f"{type(error).__name__}: {error}") from error


def leaves(value: Any) -> Leaves:
    """Returns copies of all numbers, arrays and texts of a nested value, by their paths.

    Looks into dataclasses, structs, mappings, sequences and plain objects. Tensors count as arrays.
    """
    found = Leaves()
    _collect(value, "", found)
    return found


def difference(one: Any, other: Any, *, tolerance: float = 0.0) -> str:
    """Returns where `one` and `other` differ first, "" where they are equal bit for bit, or within `tolerance`."""
    first, second = (value if isinstance(value, Leaves) else leaves(value) for value in (one, other))
    for path in [*first, *(path for path in second if path not in first)]:
        if path not in first or path not in second or not _equal(first[path], second[path], tolerance):
            return path or "the value itself"
    return ""


def read_only(value: Any) -> Any:
    """Returns a copy of a value whose arrays, within dataclasses, mappings and sequences, cannot be written to."""
    if isinstance(value, np.ndarray):
        copied = value.copy()
        copied.flags.writeable = False
        return copied
    if type(value) is list:
        return [read_only(item) for item in value]
    if type(value) is tuple:
        return tuple(read_only(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: read_only(getattr(value, field.name)) for field in fields(value) if field.init}
        made: Any = value
        return replace(made, **changed) if any(_has_arrays(item) for item in changed.values()) else value
    if isinstance(value, dict):
        return {key: read_only(item) for key, item in value.items()}
    return value


def arrays_of(value: Any) -> Iterator[np.ndarray]:
    """Yields all arrays within a nested value itself, not copies; tensors as arrays that share their memory."""
    if hasattr(value, "detach"):
        yield np.asarray(value.detach())
    elif isinstance(value, np.ndarray):
        yield value
    else:
        for _, item in _items(value):
            yield from arrays_of(item)


def shares_memory(one: Any, other: Any) -> bool:
    """Returns whether an array of one value shares memory with an array of the other."""
    held = list(arrays_of(other))
    return any(np.shares_memory(array, mine) for array in arrays_of(one) for mine in held)


@contextmanager
def global_random(seed: int) -> Iterator[None]:
    """Seeds the global generators of Python and NumPy within the block and then restores their state."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def require_finite_and_unit(rule: Rule, value: Any) -> None:
    """Raises `ContractError` where a number in `value` is not finite, or an `orientation` no unit quaternion."""
    for path, item in leaves(value).items():
        if isinstance(item, float | np.ndarray) and not np.all(np.isfinite(np.asarray(item, dtype=float))):
            raise rule.broken(f"{path or 'the value'} is not finite: {item}")
    for path, orientation in _orientations(value, ""):
        norm = float(np.linalg.norm(orientation))
        if abs(norm - 1.0) > 1e-4:
            raise rule.broken(f"{path} is no unit quaternion: its length is {norm:.6f}")


def _orientations(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, item in _items(value):
        inner = f"{path}{name}"
        if name == ".orientation":
            yield inner, item
        else:
            yield from _orientations(item, inner)


def _items(value: Any) -> list[tuple[str, Any]]:
    """Returns the named parts of a value, none of one that has no parts."""
    if value is None or isinstance(value, str | bytes | int | float | np.ndarray | type):
        found: list[tuple[str, Any]] = []
    elif isinstance(value, msgspec.Struct):
        found = [(f".{name}", getattr(value, name)) for name in value.__struct_fields__]
    elif is_dataclass(value):
        found = [(f".{field.name}", getattr(value, field.name)) for field in fields(value)]
    elif isinstance(value, Mapping):
        found = [(f"[{key!r}]", value[key]) for key in sorted(value, key=repr)]
    elif isinstance(value, set | frozenset):
        found = [(f"{{{key}}}", None) for key in sorted(map(repr, value))]
    elif isinstance(value, Sequence):
        found = [(f"[{index}]", item) for index, item in enumerate(value)]
    else:
        found = [(f".{name}", item) for name, item in sorted(getattr(value, "__dict__", {}).items())]
    return found


def _collect(value: Any, path: str, found: Leaves) -> None:
    if hasattr(value, "detach"):  # A tensor, of whatever library.
        value = np.asarray(value.detach())
    if isinstance(value, np.ndarray | np.generic):
        found[path] = np.array(value)
    elif value is None or isinstance(value, str | bytes | int | float | type):
        found[path] = value
    else:
        items = _items(value)
        found[path] = (type(value).__name__, len(items))
        for name, item in items:
            _collect(item, f"{path}{name}", found)


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    if tolerance > 0.0 and isinstance(one, float | np.ndarray) and isinstance(other, float | np.ndarray):
        first, second = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
        return first.shape == second.shape and np.allclose(first, second, rtol=0.0, atol=tolerance, equal_nan=True)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and repr(one) == repr(other)


def _has_arrays(value: Any) -> bool:
    return next(iter(arrays_of(value)), None) is not None


def _rebuild(rule: str, value: object, remedy: str, name: str) -> ContractError:
    return ContractError(rule, value=value, remedy=remedy, name=name)
