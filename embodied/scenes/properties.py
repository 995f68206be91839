"""Properties of bodies, such as `on`, `full` or `charge`, and the colours that show them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from embodied.errors import SceneError, unknown_name
from embodied.scenes.checks import require_finite, require_name
from embodied.types.events import PropertyValue, Rgba


class Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A property of a body with its initial value; events change the value, never its type."""

    name: str
    value: PropertyValue

    def __post_init__(self) -> None:
        require_name("property", self.name)
        if isinstance(self.value, float):
            require_finite(f"The value of property {self.name!r}", self.value)


class PropertyColour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The colour of the parts that `parts` names, () for all, while `property` of their body equals `value`."""

    property: str
    value: PropertyValue
    rgba: Rgba
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_colour(self.rgba)


def require_colour(rgba: Rgba) -> None:
    """Raises `SceneError` unless red, green, blue and alpha lie in [0, 1]."""
    if not all(0.0 <= value <= 1.0 for value in rgba):
        raise SceneError("A colour must lie in [0, 1].", value=rgba)


def check_properties(
    body: str, parts: Iterable[str], properties: Sequence[Property], colours: Sequence[PropertyColour]
) -> None:
    """Checks the `properties` and `colours` of `body`, whose parts are called `parts`, "" for those without a name.

    Raises `SceneError` for names used twice, and for a colour of a property that the body lacks or of another type;
    `UnknownNameError` for a colour of a part that is missing.
    """
    named = [name for name in parts if name]
    for kind, names in (("parts", named), ("properties", [one.name for one in properties])):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise SceneError(f"Names of {kind} of body {body!r} must be unique.", value=twice)
    types = {one.name: type(one.value) for one in properties}
    for colour in colours:
        if types.get(colour.property) is not type(colour.value):
            raise SceneError(
                f"A colour of body {body!r} must be that of one of its properties and a value of the same type.",
                value=(colour.property, colour.value),
            )
        for part in colour.parts:
            if part not in named:
                raise unknown_name(f"part of body {body!r}", part, named)
