"""Decisions as JSON text: what a policy chose at a step, for readers and for repeating it."""

from typing import Any, get_args

import msgspec
import numpy as np

from embodied.errors import DataError
from embodied.types import Decision, Intent

ACT = "policy.act"  # The tool as which a policy's decision is logged.
_INTENTS: dict[str, type] = {kind.__name__: kind for kind in get_args(Intent)}


def encode_decision(step: int, decision: Decision) -> str:
    """Returns the step and the intents of a decision as a JSON object; floats are kept exactly."""
    intents = [
        {"type": type(intent).__name__, **msgspec.to_builtins(intent, enc_hook=_plain)} for intent in decision.intents
    ]
    return msgspec.json.encode({"step": step, "intents": intents}).decode()


def decode_decision(text: str) -> tuple[int, tuple[Intent, ...]]:
    """Returns the step and the intents of `encode_decision`. Raises `DataError` for other text."""
    try:
        content = msgspec.json.decode(text)
        return int(content["step"]), tuple(_intent(dict(fields)) for fields in content["intents"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError("A decision must be JSON of known intents.", value=text, remedy=str(error)) from error


def _intent(fields: dict[str, Any]) -> Any:
    return msgspec.convert(fields, _INTENTS[fields.pop("type")])


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"{type(value).__name__} is no part of an intent")
