"""Declarations of policies, controllers and recordings: fields, action spaces and observations."""

from dataclasses import dataclass

import numpy as np

from embodied.errors import IntentError, SpecError

BOUND_SLACK = 1e-6  # Tolerance for rounding to float32, relative to the width of a bound.
EVENT_PACED = None  # The rate of a space whose actions have no fixed duration, such as keyframes.


@dataclass(frozen=True)
class Field:
    """One named array: its shape without batch or time, dtype, unit ("m", "rad", "" for none), frame and bounds.

    `lower` and `upper` hold for every entry, or give one number per entry of a vector. Raises `SpecError`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""
    frame: str = ""
    lower: float | tuple[float, ...] = -np.inf
    upper: float | tuple[float, ...] = np.inf

    def __post_init__(self) -> None:
        if not self.name or any(length < 1 for length in self.shape):
            raise SpecError("A field must have a name and positive lengths.", value=(self.name, self.shape))
        try:
            np.dtype(self.dtype)
            low, high = (np.broadcast_to(np.asarray(bound, float), self.shape) for bound in (self.lower, self.upper))
        except (TypeError, ValueError) as error:
            raise SpecError(
                f"Field {self.name!r} must have a numpy dtype, and bounds that fit its shape.",
                value=(self.dtype, self.lower, self.upper),
            ) from error
        if not (low <= high).all():
            raise SpecError(f"The bounds of field {self.name!r} must be ordered.", value=(self.lower, self.upper))

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=int))


@dataclass(frozen=True)
class ActionSpec:
    """An action space as data: a name, the fields of one action in order, and the rate of its actions.

    `rate_hz` None is event-paced: an action ends when its controller reports its end. `end_effector` names the one that
    moves, "" for the only one of the robot.
    """

    name: str
    fields: tuple[Field, ...]
    rate_hz: float | None = EVENT_PACED
    end_effector: str = ""

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if not self.name or not names or len(set(names)) < len(names):
            raise SpecError("An action space must have a name, and fields with different names.", value=names)
        if self.rate_hz is not None and not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise SpecError(f"The rate of action space {self.name!r} must be positive.", value=self.rate_hz)

    @property
    def size(self) -> int:
        """Number of entries of one action, all fields together."""
        return sum(field.size for field in self.fields)

    @property
    def lower(self) -> np.ndarray:
        """The lower bounds (size,)."""
        return np.concatenate([np.broadcast_to(field.lower, field.shape).ravel() for field in self.fields])

    @property
    def upper(self) -> np.ndarray:
        """The upper bounds (size,)."""
        return np.concatenate([np.broadcast_to(field.upper, field.shape).ravel() for field in self.fields])

    def columns(self, name: str) -> slice:
        """Returns which columns of an action are the field `name`. Raises `SpecError`."""
        start = 0
        for field in self.fields:
            if field.name == name:
                return slice(start, start + field.size)
            start += field.size
        known = [field.name for field in self.fields]
        raise SpecError(f"A field of action space {self.name!r} must be one of {known}.", value=name)

    def check(self, values: np.ndarray) -> None:
        """Raises `IntentError` unless `values` is (rows, size), at least one row, finite and within bounds."""
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != self.size or not len(values):
            raise IntentError(
                f"Actions of space {self.name!r} must be an array (rows, {self.size}) with at least one row.",
                value=getattr(values, "shape", type(values).__name__),
            )
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise IntentError(f"Actions of space {self.name!r} must be finite numbers.", value=values.dtype)
        lower, upper = self.lower, self.upper
        with np.errstate(invalid="ignore"):
            slack = np.nan_to_num(BOUND_SLACK * (upper - lower), posinf=0.0)
        outside = (values < lower - slack) | (values > upper + slack)
        if outside.any():
            row, column = (int(index) for index in np.argwhere(outside)[0])
            raise IntentError(
                f"Column {column} of action space {self.name!r} must lie in [{lower[column]:g}, {upper[column]:g}].",
                value=(row, float(values[row, column])),
                remedy="Clip it; the whole chunk was refused and nothing moved.",
            )


@dataclass(frozen=True)
class ObservationSpec:
    """The input of a policy: `cameras` (None: all, (): none), their size, and the length of the history.

    `image_px` (height, width) is what it expects of every camera, None for any. `history` observations are given, the
    newest last, one every 1 / `rate_hz` seconds; a history of 1 needs no rate.
    """

    cameras: tuple[str, ...] | None = None
    image_px: tuple[int, int] | None = None
    history: int = 1
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        named = isinstance(self.cameras, list | tuple) and all(isinstance(name, str) for name in self.cameras)
        if self.cameras is not None and not named:
            raise SpecError(
                "`cameras` of an observation must be a tuple of names, or None for all.",
                value=self.cameras,
                remedy="Write such as ('front',): one name needs the comma.",
            )
        if self.image_px is not None and not _is_size(self.image_px):
            raise SpecError(
                "`image_px` of an observation must be a pair (height, width) of positive integers, or None for any.",
                value=self.image_px,
                remedy="Write such as (128, 128).",
            )
        if self.history < 1:
            raise SpecError("An observation history must be at least 1 long.", value=self.history)
        if self.history > 1 and not self.rate_hz:
            raise SpecError("An observation history must have a rate.", value=self.rate_hz, remedy="Set `rate_hz`.")
        if self.rate_hz is not None and not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise SpecError("The rate of an observation history must be positive.", value=self.rate_hz)


def _is_size(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(side, int | np.integer) and side > 0 for side in value)
    )


FARTHEST_TARGET_M = 100.0
KEYFRAME = ActionSpec(
    "keyframe",
    (
        Field("position", (3,), unit="m", frame="world", lower=-FARTHEST_TARGET_M, upper=FARTHEST_TARGET_M),
        Field("orientation", (4,), frame="world", lower=-1.0, upper=1.0),
        Field("gripper", (1,), lower=0.0, upper=1.0),
        Field("avoid_collisions", (1,), lower=0.0, upper=1.0),
    ),
)
"""The space of `MoveTo`: poses of the tool, quaternions xyzw, each reached before the next is chosen."""


def periods_per_row(rate_hz: float, control_hz: float, *, what: str) -> int:
    """Returns how many control periods, at `control_hz`, one period of `rate_hz` takes.

    Raises `SpecError`, which names `what`, unless it divides evenly.
    """
    periods = control_hz / rate_hz
    if periods < 1 - 1e-9 or abs(periods - round(periods)) > 1e-6:
        raise SpecError(
            f"The rate of {what} must divide the control rate of {control_hz:g} Hz.",
            value=rate_hz,
            remedy="For 20 Hz choose 20, 10, 5, 4, 2 or 1 Hz.",
        )
    return round(periods)
