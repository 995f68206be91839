"""The declarations of a recording, as JSON: every column as a field with its rate and precision, and action spaces."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from embodied.errors import SpecError
from embodied.specs import EVENT_PACED, ActionSpec, Field

OBSERVATION, ACTION = "observation", "action"


@dataclass(frozen=True)
class Feature:
    """One column of a recording: the shape, dtype, unit and frame of its rows, and their rate.

    Its name begins with its track, up to the first dot: all columns of a track have the same rows. Tracks are
    `observation`, and `action`, whose row t led from observation t to observation t + 1. `rate_hz` None means one row
    per decision. `entries` name the entries of a vector. Numbers are stored exactly where `precision` is 0, and else
    rounded to multiples of it. Raises `SpecError`.
    """

    field: Field
    rate_hz: float | None = EVENT_PACED
    entries: tuple[str, ...] = ()
    precision: float = 0.0

    def __post_init__(self) -> None:
        if not all(self.field.name.partition(".")[::2]):
            raise SpecError("A feature must be called by track and name.", value=self.field.name, remedy="action.grip")
        if self.entries and self.field.shape != (len(self.entries),):
            raise SpecError(
                f"Feature {self.field.name!r} must name each of its entries.", value=(self.field.shape, self.entries)
            )
        if self.precision < 0 or (self.precision and np.dtype(self.field.dtype).kind != "f"):
            raise SpecError(
                f"The precision of feature {self.field.name!r} must be 0 or that of real numbers.", value=self.precision
            )

    @property
    def name(self) -> str:
        """The name of the column, such as `observation.rgb.front`."""
        return self.field.name

    @property
    def track(self) -> str:
        """The track that the column belongs to."""
        return self.name.partition(".")[0]


class FieldRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A `Field` as JSON; a missing bound means infinity."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str = ""
    frame: str = ""
    lower: float | tuple[float, ...] | None = None
    upper: float | tuple[float, ...] | None = None

    @classmethod
    def of(cls, field: Field) -> "FieldRecord":
        """Returns the record of a field. Raises `SpecError` for a bound of which only some entries are infinite."""
        lower, upper = _finite(field, field.lower), _finite(field, field.upper)
        return cls(field.name, field.shape, field.dtype, field.unit, field.frame, lower, upper)

    def field(self) -> Field:
        """Returns the field. Raises `SpecError` for one that is malformed."""
        lower = -np.inf if self.lower is None else self.lower
        upper = np.inf if self.upper is None else self.upper
        return Field(self.name, self.shape, self.dtype, self.unit, self.frame, lower, upper)


class FeatureRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A `Feature` as JSON; a missing rate means one row per decision, a missing precision exact values."""

    field: FieldRecord
    rate_hz: float | None = None
    entries: tuple[str, ...] = ()
    precision: float | None = None  # Not 0.0: `omit_defaults` compares numbers by identity.

    @classmethod
    def of(cls, feature: Feature) -> "FeatureRecord":
        """Returns the record of a feature."""
        return cls(FieldRecord.of(feature.field), feature.rate_hz, feature.entries, feature.precision or None)

    def feature(self) -> Feature:
        """Returns the feature. Raises `SpecError` for one that is malformed."""
        return Feature(self.field.field(), self.rate_hz, self.entries, self.precision or 0.0)


class SpaceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An `ActionSpec` as JSON."""

    name: str
    fields: tuple[FieldRecord, ...]
    rate_hz: float | None = None
    end_effector: str = ""

    @classmethod
    def of(cls, space: ActionSpec) -> "SpaceRecord":
        """Returns the record of an action space."""
        fields = tuple(FieldRecord.of(field) for field in space.fields)
        return cls(space.name, fields, space.rate_hz, space.end_effector)

    def space(self) -> ActionSpec:
        """Returns the action space. Raises `SpecError` for one that is malformed."""
        return ActionSpec(self.name, tuple(field.field() for field in self.fields), self.rate_hz, self.end_effector)


def action_feature(space: ActionSpec) -> Feature:
    """Returns the column of the actions of `space`: float64 (rows, `space.size`), its fields side by side."""
    name = f"{space.name}.{space.end_effector}" if space.end_effector else space.name
    return Feature(Field(f"{ACTION}.{name}", (space.size,), "float64"), space.rate_hz)


def describe_difference(one: Iterable[Feature], other: Iterable[Feature]) -> str:
    """Returns a description of the first feature that differs, "" where there is none."""
    left, right = ({feature.name: feature for feature in features} for features in (one, other))
    for name in sorted(left.keys() | right.keys()):
        if left.get(name) != right.get(name):
            return f"{name}: {_summary(left.get(name))} and {_summary(right.get(name))}"
    return ""


def _summary(feature: Feature | None) -> str:
    if feature is None:
        return "none"
    rate = "per decision" if feature.rate_hz is None else f"at {feature.rate_hz:g} Hz"
    exact = f", to {feature.precision:g}" if feature.precision else ""
    return f"{feature.field.dtype} {feature.field.shape} {feature.field.unit} {rate}{exact}"


def _finite(field: Field, bound: float | tuple[float, ...]) -> float | tuple[float, ...] | None:
    finite = np.isfinite(bound)
    if not finite.any():
        return None
    if not finite.all():
        raise SpecError(f"The bounds of field {field.name!r} must all be finite, or none of them.", value=bound)
    return bound
