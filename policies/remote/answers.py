"""Converts answers of a server to intents: rows are checked, scaled, and cut to those run before the next request."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from embodied.codec import moment_from_plain
from embodied.controllers.action_spaces import KEYFRAME, action_space
from embodied.controllers.settings import ControllerSettings
from embodied.errors import CodecError, ConfigError, IntentError
from embodied.geometry import quaternion, vector3
from embodied.robots.catalogue import robot_model
from embodied.specs import ActionSpec
from embodied.types import ActionChunk, Intent, Moment, MoveTo
from policies.remote.connection import BadAnswerError
from policies.remote.names import ServerNames
from policies.remote.rotations import SIZES, as_field

MOST_ROWS = 4096
ROTATION_SIZES = (4, 6)  # A quaternion, two columns of a matrix.


class AnswerNames:
    """Reads answers as a file of names describes them; `spec` is the action space.

    Raises `ConfigError` for fields that differ from those of the space, and `UnknownNameError` for an unknown space or
    robot.
    """

    def __init__(self, names: ServerNames) -> None:
        answer = names.answer
        self.spec: ActionSpec = action_space(
            answer.space, robot_model(names.robot), ControllerSettings(), rate_hz=answer.rate_hz
        )
        self._answer = answer
        known = [field.name for field in self.spec.fields]
        if sorted(answer.fields) != sorted(known):
            raise ConfigError(
                f"The fields of an answer must be those of action space {answer.space!r}, {known}.",
                value=sorted(answer.fields),
                remedy="Give each field its column.",
            )
        for field in self.spec.fields:
            if answer.fields[field.name].form and field.size not in ROTATION_SIZES:
                raise ConfigError(
                    f"Field {field.name!r} must be a rotation of the tool to have a form.",
                    value=answer.fields[field.name].form,
                    remedy="Leave the form out.",
                )
        self._width = max(
            answer.fields[field.name].column + SIZES.get(answer.fields[field.name].form, field.size)
            for field in self.spec.fields
        )

    def actions(self, answer: Mapping[str, Any]) -> np.ndarray:
        """Returns the actions float64 (rows, size) of an answer. Raises `BadAnswerError`."""
        key = self._answer.key
        rows = answer.get(key)
        if rows is None and len(answer) == 1:
            rows = answer.get("")  # A bare array.
        if not isinstance(rows, np.ndarray):
            raise BadAnswerError(f"An answer must hold an array {key!r}.", value=sorted(map(str, answer))[:10])
        rows = rows[None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or rows.shape[1] < self._width or not 0 < len(rows) <= MOST_ROWS:
            raise BadAnswerError(
                f"The array {key!r} must be (rows, {self._width} or more) with 1 to {MOST_ROWS} rows.", value=rows.shape
            )
        rows = rows.astype(np.float64)
        if not np.isfinite(rows).all():
            raise BadAnswerError(f"The array {key!r} must hold finite numbers.", value=_first_odd(rows))
        actions = np.concatenate([self._field(name, size, rows) for name, size in self._fields()], axis=1)
        if self._answer.clip:
            actions = np.clip(actions, self.spec.lower, self.spec.upper)
        try:
            self.spec.check(actions)
        except IntentError as error:
            raise BadAnswerError(error.rule, value=error.value, remedy="Set clip: true in the file of names, or correct"
                                 " its scales.") from error  # fmt: skip
        return actions

    def intents(self, actions: np.ndarray, *, rows: int) -> tuple[Intent, ...]:
        """Returns the first `rows` actions as one chunk, or as keyframes."""
        if self.spec.name != KEYFRAME:
            return (ActionChunk(self.spec, actions[:rows]),)
        return tuple(self._keyframe(row) for row in actions[:rows])

    def moments(self, answer: Mapping[str, Any]) -> tuple[Moment, ...]:
        """Returns the moments that the server wants to store in a bank. Raises `BadAnswerError`."""
        given = answer.get(self._answer.moments, ()) if self._answer.moments else ()
        if not isinstance(given, list | tuple):
            raise BadAnswerError("Moments must come as a list.", value=type(given).__name__)
        try:
            return tuple(moment_from_plain(one) for one in given)
        except CodecError as error:
            raise BadAnswerError(error.rule, value=error.value) from error

    def _fields(self) -> list[tuple[str, int]]:
        return [(field.name, field.size) for field in self.spec.fields]

    def _field(self, name: str, size: int, rows: np.ndarray) -> np.ndarray:
        columns = self._answer.fields[name]
        width = SIZES.get(columns.form, size)
        values = rows[:, columns.column : columns.column + width] * columns.scale + columns.offset
        return as_field(columns.form, values, size) if columns.form else values

    def _keyframe(self, row: np.ndarray) -> MoveTo:
        def part(name: str) -> np.ndarray:
            return row[self.spec.columns(name)]

        fields = dict(self._fields())
        turn = part("orientation")
        return MoveTo(
            position_m=vector3(part("position")),
            orientation=quaternion(turn / max(float(np.linalg.norm(turn)), 1e-12)),
            gripper_open=bool(part("gripper")[0] > 0.5) if "gripper" in fields else True,
            avoid_collisions=bool(part("avoid_collisions")[0] > 0.5),
        )


def _first_odd(rows: np.ndarray) -> str:
    row, column = (int(index) for index in np.argwhere(~np.isfinite(rows))[0])
    return f"{rows[row, column]} in row {row}, column {column}"
