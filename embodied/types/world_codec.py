"""World states as JSON, exact to the last bit, so that a world can continue in another process."""

from typing import Any

import msgspec
import numpy as np

from embodied.errors import SimulationError
from embodied.types.world import WorldState


def world_to_json(state: WorldState) -> bytes:
    """Returns the state as JSON, equal states as equal bytes; `world_from_json` gives back the same numbers."""
    fields = msgspec.to_builtins(state, enc_hook=_listed)
    fields["contact"] = sorted(fields["contact"])  # The order of a set follows the process's hash seed.
    return msgspec.json.encode(fields)


def world_from_json(text: str | bytes) -> WorldState:
    """Reads a state. Raises `SimulationError` naming the path of whatever is malformed."""
    try:
        return msgspec.json.decode(text, type=WorldState, dec_hook=_array)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SimulationError(
            "A world state must be well-formed JSON of the documented fields.",
            value=str(error),
            remedy="Write it with `world_to_json`.",
        ) from error


def _listed(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)


def _array(kind: type, value: Any) -> Any:
    if kind is np.ndarray and isinstance(value, list) and all(isinstance(item, float | int) for item in value):
        return np.array(value, dtype=np.float64)
    raise ValueError("A state's joints must be a list of numbers.")
