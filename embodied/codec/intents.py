"""Intents as tagged unions: a mapping of `type` and the fields of that intent."""

from typing import Any

from embodied.codec.fields import built, field_of, mapping, shallow
from embodied.codec.specs import action_spec_from_plain, action_spec_to_plain
from embodied.errors import CodecError
from embodied.types import ActionChunk, DeltaPose, Drive, GoTo, Intent, MoveTo, Skill, Wait

_KINDS: dict[str, type[Any]] = {
    "move_to": MoveTo,
    "delta_pose": DeltaPose,
    "drive": Drive,
    "go_to": GoTo,
    "skill": Skill,
    "wait": Wait,
    "action_chunk": ActionChunk,
}
_TAGS = {kind: tag for tag, kind in _KINDS.items()}


def intent_to_plain(intent: Intent) -> dict[str, Any]:
    """Returns an intent as plain values. Raises `CodecError` for another type."""
    tag = _TAGS.get(type(intent))
    if tag is None:
        raise CodecError(f"An intent must be one of {[kind.__name__ for kind in _TAGS]}.", value=type(intent).__name__)
    plain = {"type": tag, **shallow(intent)}
    if isinstance(intent, ActionChunk):
        plain["space"] = action_spec_to_plain(intent.space)
    return plain


def intent_from_plain(plain: object) -> Intent:
    """Returns an intent. Raises `CodecError` for unknown types and malformed fields; controllers check its numbers."""
    found = dict(mapping(plain, "intent"))
    tag = found.pop("type", None)
    kind = _KINDS.get(tag) if isinstance(tag, str) else None
    if kind is None:
        raise CodecError(f"The type of an intent must be one of {list(_KINDS)}.", value=tag)
    if kind is ActionChunk:
        found["space"] = action_spec_from_plain(field_of(found, "space", "action_chunk"))
    return built(kind, found, f"intent {tag}")
