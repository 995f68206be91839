"""Action spaces and observation specs as plain values."""

from typing import Any

from embodied.codec.fields import built, field_of, mapping, sequence, shallow
from embodied.specs import ActionSpec, Field, ObservationSpec


def action_spec_to_plain(spec: ActionSpec) -> dict[str, Any]:
    """Returns an action space as plain values."""
    return {**shallow(spec), "fields": tuple(shallow(field) for field in spec.fields)}


def action_spec_from_plain(plain: object) -> ActionSpec:
    """Returns an action space. Raises `CodecError`, and `SpecError` for one that cannot be."""
    found = mapping(plain, "action_spec")
    listed = sequence(field_of(found, "fields", "action_spec"), "action_spec.fields")
    fields = tuple(built(Field, field, "action_spec.fields") for field in listed)
    return built(ActionSpec, {**found, "fields": fields}, "action_spec")


def observation_spec_to_plain(spec: ObservationSpec) -> dict[str, Any]:
    """Returns an observation spec as plain values."""
    return shallow(spec)


def observation_spec_from_plain(plain: object) -> ObservationSpec:
    """Returns an observation spec. Raises `CodecError`, and `SpecError` for one that cannot be."""
    return built(ObservationSpec, plain, "observation_spec")
