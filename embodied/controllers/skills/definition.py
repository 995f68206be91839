"""The definition of a skill: its name, its arguments, the robots that can run it, and its effects."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from embodied.controllers.checks import check_number, check_numbers
from embodied.errors import IntentError
from embodied.robots.robot import RobotModel


@dataclass(frozen=True)
class Argument:
    """One argument of a skill: a name, a number, or a position of three metres in the world."""

    name: str
    kind: Literal["name", "number", "position"] = "name"
    required: bool = False


@dataclass(frozen=True)
class SkillDefinition:
    """A skill. `suits` says whether a robot can run it; conditions and effects are predicates, for planners.

    `duration_s` is how long it usually takes. `routine` runs a skill from outside: a function as those in `routines`,
    where ours are.
    """

    name: str
    arguments: tuple[Argument, ...]
    suits: Callable[[RobotModel], bool]
    preconditions: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    duration_s: float = 1.0
    routine: Callable[..., Any] | None = None

    @property
    def schema(self) -> str:
        """The arguments as a JSON schema of type object."""
        kinds = {
            "name": {"type": "string"},
            "number": {"type": "number"},
            "position": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
        }
        properties = {argument.name: kinds[argument.kind] for argument in self.arguments}
        required = [argument.name for argument in self.arguments if argument.required]
        return json.dumps(
            {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        )

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raises `IntentError` unless `arguments` fits `schema`, and its numbers are finite."""
        if not isinstance(arguments, Mapping):
            raise IntentError(f"The arguments of skill {self.name!r} must be a mapping.", value=arguments)
        known = {argument.name: argument for argument in self.arguments}
        unknown = sorted(str(name) for name in arguments if name not in known)
        missing = [name for name, argument in known.items() if argument.required and name not in arguments]
        if unknown or missing:
            raise IntentError(
                f"The arguments of skill {self.name!r} must be among {sorted(known)}, the required ones included.",
                value=sorted(map(str, arguments)),
                remedy=f"Missing: {missing}; unknown: {unknown}.",
            )
        for name, value in arguments.items():
            what = f"Argument {name!r} of skill {self.name!r}"
            match known[name].kind:
                case "name":
                    if not isinstance(value, str):
                        raise IntentError(f"{what} must be a string.", value=value)
                case "number":
                    check_number(value, what)
                case "position":
                    check_numbers(value, what, 3)
