"""One msgpack encoding of plain values, numpy arrays, requests and decisions, for everything between processes.

`encode` and `decode` know plain values and arrays alone; `request_to_plain` and its siblings turn requests and
decisions into such values, so that a message can hold them beside keys of its own. Whatever is read is checked: nothing
is unpickled, no code runs, and a message can neither claim nor cost more memory than `CodecLimits` allows.
"""

from embodied.codec.intents import intent_from_plain, intent_to_plain
from embodied.codec.messages import (
    decision_from_plain,
    decision_to_plain,
    moment_from_plain,
    moment_to_plain,
    request_from_plain,
    request_to_plain,
)
from embodied.codec.specs import (
    action_spec_from_plain,
    action_spec_to_plain,
    observation_spec_from_plain,
    observation_spec_to_plain,
)
from embodied.codec.values import CodecLimits, decode, encode, require_carry

__all__ = [
    "CodecLimits",
    "action_spec_from_plain",
    "action_spec_to_plain",
    "decision_from_plain",
    "decision_to_plain",
    "decode",
    "encode",
    "intent_from_plain",
    "intent_to_plain",
    "moment_from_plain",
    "moment_to_plain",
    "observation_spec_from_plain",
    "observation_spec_to_plain",
    "request_from_plain",
    "request_to_plain",
    "require_carry",
]
