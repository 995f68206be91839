"""What the numbers of one action mean: the variants of the action space, and the keyframe that an action asks for.

The variants for learners have entries in [-1, 1], which stand for the bounds in metres and radians that the property
`bounds` gives: learners that draw actions about 0 then draw them about the middle of the workspace.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from embodied.errors import ConfigError, IntentError, unknown_name
from embodied.geometry import (
    Pose,
    Quaternion,
    compose,
    multiply_quaternions,
    quaternion,
    quaternion_from_axis_angle,
    quaternion_from_euler,
    vector3,
)
from embodied.specs import FARTHEST_TARGET_M
from embodied.types import MoveTo

Bounds = Sequence[Sequence[float]]
# Where the tool of a Panda behind the table of MemoryBench can be, in the frame of its base: of random places in it the
# arm reaches 87 % with the tool pointing down at any yaw.
WORKSPACE_M: Bounds = ((0.2, 0.8), (-0.5, 0.5), (0.0, 0.5))
SHORTEST_QUATERNION = 1e-3
POSITION = ("x_m", "y_m", "z_m")
FLAGS = ("gripper_open", "avoid_collisions")
DOWNWARDS: Quaternion = quaternion_from_euler(np.pi, 0.0, 0.0)


class InfeasibleError(Exception):
    """An action of numbers that no keyframe can have."""


@dataclass(frozen=True)
class _Variant:
    """The entries of an action after the position; `orientation` returns what they say, in the base's frame.

    `lower` and `upper` bound the entries of the orientation. Without a flag for it collisions are not avoided. Entries
    that are not `scaled` are metres and parts of quaternions themselves, and 0 or 1.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    orientation: Callable[[np.ndarray], Quaternion]
    flags: tuple[str, ...] = FLAGS
    scaled: bool = True


def _unit(values: np.ndarray) -> Quaternion:
    if np.linalg.norm(values) < SHORTEST_QUATERNION:
        raise InfeasibleError("the quaternion of the action is zero")
    return quaternion(values)


def _turned(values: np.ndarray) -> Quaternion:
    return quaternion(multiply_quaternions(quaternion_from_axis_angle(values), DOWNWARDS))


def _down(values: np.ndarray) -> Quaternion:
    return quaternion_from_euler(np.pi, 0.0, float(values[0]))


VARIANTS: Mapping[str, _Variant] = {
    "keyframe": _Variant(("qx", "qy", "qz", "qw"), (-1.0,) * 4, (1.0,) * 4, _unit, scaled=False),
    "pose6d": _Variant(("turn_x_rad", "turn_y_rad", "turn_z_rad"), (-np.pi,) * 3, (np.pi,) * 3, _turned),
    "tool_down": _Variant(("yaw_rad",), (-np.pi / 2,), (np.pi / 2,), _down, flags=FLAGS[:1]),
}


@dataclass(frozen=True)
class Actions:
    """One variant of the actions, by its `name`.

    `workspace_m`, (low, high) along x, y and z, bounds the positions of scaled variants.
    Raises `UnknownNameError`, and `ConfigError` for a workspace of another shape or order.
    """

    name: str = "keyframe"
    workspace_m: Bounds = WORKSPACE_M
    _variant: _Variant = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.name not in VARIANTS:
            raise unknown_name("variant of actions", self.name, VARIANTS)
        object.__setattr__(self, "_variant", VARIANTS[self.name])
        bounds = _numbers(self.workspace_m)
        if bounds is None or bounds.shape != (3, 2) or not (bounds[:, 0] < bounds[:, 1]).all():
            raise ConfigError(
                "`workspace_m` must be three pairs (low, high) of metres, along x, y and z.", value=self.workspace_m
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each entry of an action, units included."""
        return (*POSITION, *self._variant.names, *self._variant.flags)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest action (size,), in metres and radians."""
        variant = self._variant
        positions = np.asarray(self.workspace_m if variant.scaled else ((-1.0, 1.0),) * 3, np.float64)
        flags = len(variant.flags)
        return (
            np.concatenate([positions[:, 0], variant.lower, np.zeros(flags)]),
            np.concatenate([positions[:, 1], variant.upper, np.ones(flags)]),
        )

    @property
    def space(self) -> spaces.Box:
        """The action space: [-1, 1] float32 for scaled variants, else `bounds` as they are."""
        if self._variant.scaled:
            return spaces.Box(-1.0, 1.0, (len(self.names),), np.float32)
        return spaces.Box(*self.bounds, dtype=np.float64)

    def move(self, action: Any, base: Pose) -> MoveTo:
        """Returns the keyframe of `action`, which is in the frame of the robot's `base`.

        Numbers outside of the space go on as inside. Raises `IntentError` for another shape and for numbers that are
        not finite, and `InfeasibleError` for those that no keyframe can have.
        """
        values, size = _numbers(action), len(self.names)
        if values is None or values.shape != (size,) or not np.isfinite(values).all():
            raise IntentError(
                f"An action must be {size} finite numbers.", value=action, remedy=f"They are: {', '.join(self.names)}."
            )
        if self._variant.scaled:
            low, high = self.bounds
            values = low + (values + 1.0) / 2.0 * (high - low)
        if np.abs(values[:3]).max() > FARTHEST_TARGET_M / 2:  # The base may itself be far from the origin.
            raise InfeasibleError(f"the position is more than {FARTHEST_TARGET_M / 2:.0f} m away")
        first_flag = 3 + len(self._variant.names)
        tool = compose(base, Pose(vector3(values[:3]), self._variant.orientation(values[3:first_flag])))
        flags = [bool(value >= 0.5) for value in values[first_flag:]]
        return MoveTo(tool.position_m, tool.orientation, flags[0], flags[1] if len(flags) > 1 else False)


def _numbers(values: Any) -> np.ndarray | None:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # Of ragged lists, for one.
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None
