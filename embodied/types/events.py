"""Events in a world that no robot causes.

Frozen values of an episode, checked on construction, exact in JSON and msgpack. A `WorldEvent` is a trigger and an
effect. While an episode is played, effects become `WorldChange`s, each of one instant, which every simulator can apply.
A light has no effect of its own: a lamp is a body with a property such as `on` and a colour of its parts for each of
its values (`Body.property_colours`), so that `SetProperty` switches it.
"""

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite

import msgspec

from embodied.errors import EventError
from embodied.geometry import Pose

Rgba = tuple[float, float, float, float]
PropertyValue = bool | int | float | str
Properties = Mapping[str, Mapping[str, PropertyValue]]  # By body, then by property.
PartColours = Mapping[str, Mapping[str, Rgba]]  # By body, then by the name of a part, "" for all other parts.


class AtTime(msgspec.Struct, frozen=True, tag="at_time", forbid_unknown_fields=True):
    """Triggers at `time_s`, simulated seconds since the reset."""

    time_s: float

    def __post_init__(self) -> None:
        _require_time("A trigger's time", self.time_s)


class AfterPhase(msgspec.Struct, frozen=True, tag="after_phase", forbid_unknown_fields=True):
    """Triggers `delay_s` simulated seconds after `Progress.reached` has first held `phase`."""

    phase: str
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        _require_named("phase", self.phase)
        _require_time("A trigger's delay", self.delay_s)


Trigger = AtTime | AfterPhase


class Waypoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A world pose on a path, `time_s` after the trigger."""

    time_s: float
    pose: Pose

    def __post_init__(self) -> None:
        _require_time("The time of a waypoint", self.time_s)


class MoveBody(msgspec.Struct, frozen=True, tag="move_body", forbid_unknown_fields=True):
    """Moves a body that hangs on no joint along `path`; only the grasp of a robot stops it.

    Between two waypoints the position is interpolated linearly and the orientation along the shorter arc. From the
    first waypoint to the last the body follows its path; before and after that, physics moves it. Of two paths that
    overlap, the one that was triggered later holds. See `WorldEvent` for a body that a robot holds.
    """

    body: str
    path: tuple[Waypoint, ...]

    def __post_init__(self) -> None:
        _require_named("body", self.body)
        if not self.path:
            raise EventError("A path must have at least one waypoint.", value=self.body)
        times_s = [waypoint.time_s for waypoint in self.path]
        if not all(earlier < later for earlier, later in pairwise(times_s)):
            raise EventError("The times of a path must increase from waypoint to waypoint.", value=times_s)


class PlaceBody(msgspec.Struct, frozen=True, tag="place_body", forbid_unknown_fields=True):
    """Keeps a body that hangs on no joint at a world pose throughout the next control period, whatever touches it."""

    body: str
    pose: Pose

    def __post_init__(self) -> None:
        _require_named("body", self.body)


class SetJoint(msgspec.Struct, frozen=True, tag="set_joint", forbid_unknown_fields=True):
    """Puts a joint of the scene at `position`, metres or radians, at rest; from then on physics moves it."""

    joint: str
    position: float

    def __post_init__(self) -> None:
        _require_named("joint", self.joint)
        if not isfinite(self.position):
            raise EventError("The position of a joint must be finite.", value=self.position)


class SetColour(msgspec.Struct, frozen=True, tag="set_colour", forbid_unknown_fields=True):
    """Colours the parts of a body that `parts` names, () for all of them; it outlasts colours that properties give."""

    body: str
    rgba: Rgba
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_named("body", self.body)
        if not all(0.0 <= value <= 1.0 for value in self.rgba):
            raise EventError("A colour must lie in [0, 1].", value=self.rgba)


class SetProperty(msgspec.Struct, frozen=True, tag="set_property", forbid_unknown_fields=True):
    """Gives a property of a body the value `value`, of the type that it has in the scene."""

    body: str
    property: str
    value: PropertyValue

    def __post_init__(self) -> None:
        _require_named("body", self.body)
        _require_named("property", self.property)
        if isinstance(self.value, float) and not isfinite(self.value):
            raise EventError("The value of a property must be finite.", value=self.value)


Effect = MoveBody | SetJoint | SetColour | SetProperty
WorldChange = PlaceBody | SetJoint | SetColour | SetProperty


class WorldEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event: `effect` begins at its `trigger`.

    A robot's grasp has priority over an event. An effect that would move a held body, or one that a held body hangs on,
    is postponed: it begins, with its whole path, in the first control period that starts with that body released. A
    path ends where the body is grasped. Effects that move nothing (colours, properties) never wait.
    """

    trigger: Trigger
    effect: Effect


def _require_named(kind: str, name: str) -> None:
    if not name:
        raise EventError(f"An event must name its {kind}.", value=name)


def _require_time(what: str, time_s: float) -> None:
    if not (isfinite(time_s) and time_s >= 0.0):
        raise EventError(f"{what} must be finite and not negative, in seconds.", value=time_s)
