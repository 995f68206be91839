"""Checks of the names and numbers of a scene."""

import numpy as np

from embodied import names
from embodied.errors import SceneError


def require_name(kind: str, name: str) -> None:
    """Raises `SceneError` for an empty name, for one with spaces, and for one that looks like another (`names`)."""
    if not name or any(character.isspace() for character in name):
        raise SceneError(f"The name of a {kind} must be non-empty, without spaces.", value=name)
    if not names.is_sound(name):
        raise SceneError(
            f"The name of a {kind} must be {names.RULE}.", value=names.shown(name), remedy=names.remedy(name)
        )


def require_positive(what: str, *values: float) -> None:
    """Raises `SceneError` unless all values are finite and positive."""
    if not all(np.isfinite(value) and value > 0.0 for value in values):
        raise SceneError(f"{what} must be finite and positive.", value=values)


def require_finite(what: str, *values: float, minimum: float = -np.inf) -> None:
    """Raises `SceneError` unless all values are finite and at least `minimum`."""
    if not all(np.isfinite(value) and value >= minimum for value in values):
        bound = "" if np.isinf(minimum) else f" and at least {minimum}"
        raise SceneError(f"{what} must be finite{bound}.", value=values)
