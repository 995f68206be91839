"""What makes a query to the bank acceptable; every refusal states rule, value and remedy."""

import math

import numpy as np

from embodied.errors import MemoryBankError
from embodied.geometry import UNIT_TOLERANCE
from embodied.memory.stem.kinds import KINDS, MomentStored
from embodied.memory.stem.places import check_polygon
from embodied.memory.stem.query import Order, Query

MOMENT = str(MomentStored.__struct_config__.tag)


def check_query(query: Query) -> np.ndarray | None:
    """Returns the query's embedding as float32 (D,), None where it has none; raises `MemoryBankError`."""
    if type(query.top_k) is not int or query.top_k < 1:
        raise MemoryBankError("top_k must be a whole number from 1.", value=query.top_k)
    if query.order not in tuple(Order):
        raise MemoryBankError("An order must be a known one.", value=query.order, remedy=f"Known: {', '.join(Order)}.")
    _check_kinds(query.kinds)
    if query.time_s is not None:
        check_interval(query.time_s)
    if query.region is not None and not isinstance(query.region, str):
        check_polygon(query.region)
    return None if query.embedding is None else unit_vector(query.embedding, query.model_id)


def unit_vector(embedding: np.ndarray, model_id: str) -> np.ndarray:
    """Returns an embedding as float32 (D,); raises `MemoryBankError` unless it is finite and of unit length."""
    if not model_id:
        raise MemoryBankError(
            "A query by likeness must name the model that made its embedding.",
            value=model_id,
            remedy="Give `model_id`: embeddings of different models cannot be compared.",
        )
    vector = np.asarray(embedding)
    if vector.ndim != 1 or vector.dtype.kind != "f":
        raise MemoryBankError(
            "An embedding must be a vector (D,) of floating-point numbers.", value=(vector.shape, str(vector.dtype))
        )
    wide = vector.astype(np.float64)
    length = float(np.sqrt(wide @ wide))
    if not abs(length - 1.0) <= UNIT_TOLERANCE:  # Not `>`: NaN must be refused too.
        raise MemoryBankError(
            "The embedding of a query must be finite and of unit length.",
            value=length,
            remedy="Divide by its length.",
        )
    return wide.astype(np.float32)


def check_interval(time_s: tuple[float, float]) -> None:
    """Raises `MemoryBankError` unless an interval has two ends in order; either may be infinite."""
    if len(time_s) != 2 or any(map(math.isnan, time_s)) or time_s[0] > time_s[1]:
        raise MemoryBankError(
            "An interval of time must have a first and a last second, in this order.",
            value=time_s,
            remedy="Use (first_s, last_s) on the site clock; an open end is infinite.",
        )


def _check_kinds(kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise MemoryBankError("A kind must be a known one.", value=kind, remedy=f"Known: {', '.join(KINDS)}.")
        if kind != MOMENT:
            raise MemoryBankError(
                "Only moments can be recalled.",
                value=kind,
                remedy=f"Leave `kinds` empty or ask for {MOMENT!r}; `history` and `changes_since` give events.",
            )
