"""Decisions, recorded beside the commanded actions: intents of any kind as JSON, each with the observation before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import msgspec
import numpy as np

from embodied.errors import DataError, EmbodiedError
from embodied.trajectories.features import SpaceRecord
from embodied.types import ActionChunk, Intent

KINDS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Intent)}


@dataclass(frozen=True, eq=False)
class RecordedDecision:
    """The intents decided after observation `row` and before the next one, without action noise."""

    row: int
    intents: tuple[Intent, ...]


def decisions_to_json(decisions: Sequence[RecordedDecision]) -> bytes:
    """Returns decisions as JSON; an intent is its fields and, as `kind`, the name of its type."""
    plain = [{"row": one.row, "intents": [_to_json(intent) for intent in one.intents]} for one in decisions]
    return msgspec.json.encode(plain)


def decisions_from_json(content: bytes) -> tuple[RecordedDecision, ...]:
    """Returns what `decisions_to_json` wrote. Raises `DataError` for anything else."""
    try:
        plain = msgspec.json.decode(content, type=list[dict[str, Any]])
        return tuple(
            RecordedDecision(int(one["row"]), tuple(_from_json(intent) for intent in one["intents"])) for one in plain
        )
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError, EmbodiedError) as error:
        raise DataError("Recorded decisions must be of the documented form.", value=str(error)) from error


def _to_json(intent: Intent) -> dict[str, Any]:
    kind = type(intent).__name__
    if isinstance(intent, ActionChunk):
        space = msgspec.to_builtins(SpaceRecord.of(intent.space))
        return {"kind": kind, "space": space, "values": np.asarray(intent.values, np.float64).tolist()}
    return {"kind": kind, **{field.name: msgspec.to_builtins(getattr(intent, field.name)) for field in fields(intent)}}


def _from_json(data: Mapping[str, Any]) -> Intent:
    values = dict(data)
    kind = KINDS[values.pop("kind")]
    if kind is ActionChunk:
        space = msgspec.convert(values["space"], SpaceRecord).space()
        return ActionChunk(space, np.array(values["values"], np.float64).reshape(-1, space.size))
    return msgspec.convert(values, kind)
