"""Validation of the arguments of queries; every refusal states rule, value and remedy.

NumPy numbers are accepted and converted to plain ones, which SQLite needs.
"""

import math
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from embodied.errors import MemoryBankError
from embodied.geometry import UNIT_TOLERANCE, Vector3, vector3
from embodied.memory.schema.kind_table import KINDS
from embodied.memory.schema.kinds import MomentStored
from embodied.memory.schema.limits import LARGEST_NUMBER, check_sound
from embodied.memory.schema.places import check_polygon
from embodied.memory.schema.query import EventFilter, Order, Query
from embodied.names import is_sound

MOMENT = str(MomentStored.__struct_config__.tag)


def check_query(query: Query) -> np.ndarray | None:
    """Returns the query's embedding as float32 (D,), None where it has none; raises `MemoryBankError`."""
    if not isinstance(query, Query):
        raise MemoryBankError("A recall must be given a `Query`.", value=query, remedy="Import it from `query`.")
    whole("top_k", query.top_k, least=1)
    if not isinstance(query.order, str) or query.order not in tuple(Order):
        raise MemoryBankError("An order must be a known one.", value=query.order, remedy=f"Known: {', '.join(Order)}.")
    text("model_id", query.model_id, empty=True)
    for what in ("robot", "episode"):
        if getattr(query, what) is not None:
            text(what, getattr(query, what), empty=True)
    for what in ("entities", "text_labels"):
        names(what, getattr(query, what))
    _check_kinds(known_kinds(query.kinds))
    if query.time_s is not None:
        interval(query.time_s)
    if query.region is not None and not isinstance(query.region, str):
        check_polygon(_corners(query.region))
    return None if query.embedding is None else unit_vector(query.embedding, query.model_id)


def unit_vector(embedding: Any, model_id: str) -> np.ndarray:
    """Returns an embedding as float32 (D,); raises `MemoryBankError` unless it is finite and of unit length."""
    if not text("model_id", model_id, empty=True):
        raise MemoryBankError(
            "A query by similarity must name the model that made its embedding.",
            value=model_id,
            remedy="Give `model_id`: embeddings of different models cannot be compared.",
        )
    try:
        vector = np.asarray(embedding)
    except ValueError:  # Rows of different lengths.
        vector = np.empty(0, object)
    if vector.ndim != 1 or vector.dtype.kind != "f":
        raise MemoryBankError(
            "An embedding must be a vector (D,) of floating-point numbers.",
            value=(vector.shape, str(vector.dtype)),
            remedy="Give `numpy.asarray(values, numpy.float32)` of one moment or task.",
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


def text(what: str, value: object, *, empty: bool = False) -> str:
    """Returns `value` as text; raises `MemoryBankError` for other types, and for "" unless `empty` is allowed.

    `what` names the argument in the message.
    """
    if not isinstance(value, str):
        raise MemoryBankError(f"`{what}` must be text.", value=value, remedy=f"Write {what}='...'.")
    if not value and not empty:
        raise MemoryBankError(f"`{what}` must not be empty.", value=value, remedy="Give a name.")
    return value


def sound_names(what: str, value: object, find: Callable[[str], int | None]) -> None:
    """Raises `MemoryBankError` for names in an argument of a query that no event can have: they would find nothing.

    `what` names the argument, `value` is any one. Names that the log holds, by `find`, may be of an older version.
    """
    if isinstance(value, str):
        if not is_sound(value) and find(value) is None:
            check_sound(what, value)
    elif isinstance(value, Query | EventFilter):
        for field in fields(value):
            sound_names(field.name, getattr(value, field.name), find)
    elif isinstance(value, tuple | list):
        for one in value:
            if isinstance(one, str):
                sound_names(what, one, find)


def whole(what: str, value: Any, *, least: int) -> int:
    """Returns `value` as a whole number of at least `least`; raises `MemoryBankError` otherwise, for booleans too.

    It must fit into 64 bits. `what` names the argument in the message.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not least <= int(value) <= LARGEST_NUMBER:
        raise MemoryBankError(
            f"`{what}` must be a whole number from {least}.", value=value, remedy=f"Write {what}={least} or more."
        )
    return int(value)


def ordinal(what: str, value: Any) -> int:
    """Returns an ordinal, from 1 or from -1 backwards; raises `MemoryBankError` for anything else."""
    whole_number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole_number or not value or abs(int(value)) > LARGEST_NUMBER:
        raise MemoryBankError(
            f"`{what}` must count from 1, or from -1 backwards.", value=value, remedy="1 is the first, -1 the last."
        )
    return int(value)


def number(what: str, value: Any) -> float:
    """Returns a number as a plain float; raises `MemoryBankError` for anything else, and for NaN."""
    plain = _plain(value)
    if math.isnan(plain):
        known = isinstance(value, numbers.Real) and not isinstance(value, bool)
        rule = "a number that is not NaN, nor too large for a float" if known else "a number"
        raise MemoryBankError(f"`{what}` must be {rule}.", value=value, remedy="Give it in seconds, as in 12.5.")
    return plain


def instant_s(as_of_s: object) -> float:
    """Returns the time to which a query refers, seconds on the site clock; None is the latest, infinity."""
    return math.inf if as_of_s is None else number("as_of_s", as_of_s)


def interval(time_s: Any) -> tuple[float, float]:
    """Returns the two ends of an interval of time; raises `MemoryBankError` unless they are in order."""
    ends = tuple(time_s) if isinstance(time_s, Sequence) and not isinstance(time_s, str | bytes) else ()
    if len(ends) != 2 or not _plain(ends[0]) <= _plain(ends[1]):  # Not `>`: NaN must be refused too.
        raise MemoryBankError(
            "An interval of time must have a first and a last second, in this order.",
            value=time_s,
            remedy="Use (first_s, last_s) on the site clock; an open end is infinite.",
        )
    return float(ends[0]), float(ends[1])


def point_m(what: str, value: Any) -> Vector3:
    """Returns a point as three plain floats, metres; raises `MemoryBankError` unless it is finite."""
    try:
        axes = tuple(value)
    except TypeError:
        axes = ()
    if len(axes) != 3 or not all(math.isfinite(_plain(axis)) for axis in axes):
        raise MemoryBankError(
            f"`{what}` must be a point of three finite numbers.", value=value, remedy="Give (x, y, z) in metres."
        )
    return vector3(axes)


def names(what: str, values: Any) -> tuple[str, ...]:
    """Returns names as a tuple; raises `MemoryBankError` for a bare text, which would be read letter by letter."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Collection):
        raise MemoryBankError(
            f"`{what}` must be a tuple of names.", value=values, remedy=f"Write {what}=({values!r},) for one of them."
        )
    for name in values:
        text(what, name, empty=True)
    return tuple(values)


def known_kinds(kinds: Any) -> tuple[str, ...]:
    """Returns kinds of events as a tuple; raises `MemoryBankError` for unknown ones."""
    unknown = [kind for kind in names("kinds", kinds) if kind not in KINDS]
    if unknown:
        raise MemoryBankError("Every kind must be a known one.", value=unknown, remedy=f"Known: {', '.join(KINDS)}.")
    return names("kinds", kinds)


def event_filter(wanted: EventFilter | None) -> EventFilter:
    """Returns the filter (None: everything); raises `MemoryBankError` for an invalid one."""
    if wanted is None:
        return EventFilter()
    if not isinstance(wanted, EventFilter):
        raise MemoryBankError(
            "What is wanted must be an `EventFilter`.",
            value=wanted,
            remedy="Write EventFilter(kinds=('interaction',)).",
        )
    for what in ("robot", "task"):
        text(what, getattr(wanted, what), empty=True)
    return replace(wanted, kinds=known_kinds(wanted.kinds), entities=names("entities", wanted.entities))


def half_lives(half_life_s: Mapping[str, float] | None) -> dict[str, float]:
    """Returns half-lives in seconds by category, "" for all that are not named; `MemoryBankError` if not above 0."""
    if half_life_s is not None and not isinstance(half_life_s, Mapping):
        raise MemoryBankError(
            "Half-lives must be given by category.", value=half_life_s, remedy="Write half_life_s={'cup': 3600.0}."
        )
    given = (half_life_s or {}).items()
    found = {text("category", category, empty=True): number("half_life_s", of) for category, of in given}
    if any(of <= 0.0 for of in found.values()):
        raise MemoryBankError(
            "A half-life must be above 0 s.", value=found, remedy="Leave out categories that do not decay."
        )
    return found


def past_seq(seq: int | None, head: int) -> int:
    """Returns the sequence number of a snapshot (None: the newest, `head`); raises `MemoryBankError` for the future."""
    held = head if seq is None else whole("seq", seq, least=0)
    if held > head:
        raise MemoryBankError("A snapshot must be of a past moment.", value=seq, remedy=f"The newest event is {head}.")
    return held


def start_seq(after_seq: int | None, head: int) -> int:
    """Returns after which number a subscription begins (None: `head`, the newest); raises `MemoryBankError`.

    The future is refused: its numbers may belong to another bank, and events until then would be missed.
    """
    start = head if after_seq is None else whole("after_seq", after_seq, least=0)
    if start > head:
        raise MemoryBankError(
            "A subscription must begin at a past moment.",
            value=after_seq,
            remedy=f"The newest event is {head}: leave out `after_seq` for all future events.",
        )
    return start


def _plain(value: Any) -> float:
    """Returns a number as a float, NaN for values that are not numbers or too large."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _corners(region: Any) -> Sequence[Sequence[float]]:
    corners = region if isinstance(region, Sequence) else ()
    if not corners or not all(
        isinstance(one, Sequence) and not any(math.isnan(_plain(x)) for x in one) for one in corners
    ):
        raise MemoryBankError(
            "A region must be the name of a place or a polygon on the ground.",
            value=region,
            remedy="List at least three corners (x, y), in metres.",
        )
    return corners


def _check_kinds(kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        if kind != MOMENT:
            raise MemoryBankError(
                "Only moments can be recalled.",
                value=kind,
                remedy=f"Leave `kinds` empty or ask for {MOMENT!r}; `history` and `changes_since` give events.",
            )
