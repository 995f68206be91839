"""What makes an event acceptable whatever the bank knows; every refusal states rule, value and remedy."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import msgspec
import numpy as np

from embodied.errors import MemoryBankError
from embodied.geometry import UNIT_TOLERANCE
from embodied.memory.schema import kinds
from embodied.memory.schema.codec import with_plain_numbers
from embodied.memory.schema.event import SCHEMA_VERSION, Event
from embodied.memory.schema.kinds import CONTAINMENT, KINDS, PLACE_KINDS, PREDICATES, finite
from embodied.memory.schema.places import check_polygon

LEAST_VISIBLE = 0.5
LARGEST_NUMBER = 2**63 - 1
LARGEST_TIME_S = sys.float_info.max
FLOAT_BYTES = 4


def decode_event(raw: bytes | str) -> Event:
    """Returns the event of JSON text; raises `MemoryBankError` for an unknown kind, field or type, saying where."""
    try:
        event = msgspec.json.decode(raw, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MemoryBankError(
            "An event must be JSON of a known kind with its documented fields.",
            value=str(error),
            remedy=f"Known kinds: {', '.join(KINDS)}.",
        ) from error
    return event


def as_events(told: Any) -> list[Event]:
    """Returns what is appended as a list, one event being a list of it, with numbers of NumPy as plain ones.

    Raises `MemoryBankError` for what is no event, and for sets and mappings: the events of a writer have an order.
    """
    if isinstance(told, Event):
        return [with_plain_numbers(told)]
    in_order = isinstance(told, Iterable) and not isinstance(told, str | bytes | Set | Mapping)
    events: list[Any] = list(told) if in_order else [told]
    for event in events:
        if not isinstance(event, Event) or not isinstance(event.writer, str):
            raise MemoryBankError(
                "Only events can be appended: one, or a sequence of them.",
                value=event,
                remedy="Write Event(writer, writer_seq, valid_time_s, payload); `decode_event` reads JSON.",
            )
    return [with_plain_numbers(event) for event in events]


def check_payload(event: Event) -> None:
    """Raises `MemoryBankError` unless the payload's values make sense; their types are checked by `rows`."""
    check = _CHECKS.get(type(event.payload))
    if check is not None:
        check(event, event.payload)


def check_embedding(embedding: bytes, model_id: str) -> None:
    """Raises `MemoryBankError` unless bytes are a finite float32 vector of unit length, made by a named model."""
    if not model_id:
        raise MemoryBankError("An embedding must name the model that made it.", value=model_id)
    if not embedding or len(embedding) % FLOAT_BYTES:
        raise MemoryBankError(
            "An embedding must be little-endian float32.", value=f"{len(embedding)} bytes", remedy="Use 4 D bytes."
        )
    vector = np.frombuffer(embedding, "<f4").astype(np.float64)
    length = float(np.sqrt(vector @ vector))
    if not abs(length - 1.0) <= UNIT_TOLERANCE:  # Not `>`: NaN must be refused too.
        raise MemoryBankError("An embedding must be of unit length.", value=length, remedy="Divide by its length.")


def _check_version(version: int) -> None:
    if not 1 <= version <= SCHEMA_VERSION:
        raise MemoryBankError(
            "The schema version of an event must be one that this code knows.",
            value=version,
            remedy=f"Known: 1 to {SCHEMA_VERSION}. Update this installation, or write with an older one.",
        )


def check_envelope(event: Event) -> None:
    """Raises `MemoryBankError` unless everything around the payload is sound."""
    texts = (event.writer, event.robot, event.task)
    causes = event.cause if isinstance(event.cause, tuple) else (repr(event.cause),)
    numbers = (event.writer_seq, event.schema_version, *causes)
    if not all(map(_is_text, texts)) or not all(type(number) is int for number in numbers):
        raise MemoryBankError(
            "Names of an event must be text, its numbers whole.",
            value=(*texts, *numbers),
            remedy="Writer, robot and task are Unicode text; `cause` is a tuple of sequence numbers.",
        )
    if not event.writer or not 1 <= event.writer_seq <= LARGEST_NUMBER:
        raise MemoryBankError(
            "An event must name its writer and count from 1.",
            value=(event.writer, event.writer_seq),
            remedy="Number a writer's events 1, 2, 3, ...",
        )
    if type(event.valid_time_s) not in (float, int) or not abs(event.valid_time_s) <= LARGEST_TIME_S:
        raise MemoryBankError(
            "A valid time must be a finite number.", value=event.valid_time_s, remedy="Use the site clock, seconds."
        )
    if event.seq or event.received_time_s:
        raise MemoryBankError(
            "The bank itself sets the order and the received time of an event.",
            value=(event.seq, event.received_time_s),
            remedy="Leave `seq` and `received_time_s` at 0.",
        )
    _check_version(event.schema_version)


def _is_text(value: object) -> bool:
    """Returns whether a value is text that can be written: half of a surrogate pair cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value))


def _fraction(what: str, value: float, *, least: float = 0.0) -> None:
    if not least <= value <= 1.0:
        raise MemoryBankError(f"{what} must lie in [{least:g}, 1].", value=value)


def _named(**texts: str) -> None:
    for what, text in texts.items():
        if not text:
            raise MemoryBankError(f"The name of the {what} must not be empty.", value=text)


def _choice(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise MemoryBankError(f"A {what} must be a known one.", value=value, remedy=f"Known: {', '.join(known)}.")


def _json_object(what: str, text: str) -> None:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise MemoryBankError(f"{what} must be JSON text.", value=text, remedy=str(error)) from error
    if not isinstance(value, dict):
        raise MemoryBankError(f"{what} must be a JSON object.", value=text)


def _check_place(_: Event, said: kinds.PlaceDefined) -> None:
    _named(place=said.place)
    _choice("level of a place", said.level, PLACE_KINDS)
    if (said.parent is None) != (said.level == PLACE_KINDS[0]):
        raise MemoryBankError(
            "A site has no parent, and every other place has one.", value=(said.place, said.level, said.parent)
        )
    if said.polygon or said.level == "region":
        check_polygon(said.polygon)
    finite("The height range of a place", said.bottom_m, said.top_m)
    if said.bottom_m >= said.top_m:
        raise MemoryBankError("A place must have a height.", value=(said.bottom_m, said.top_m))


def _check_seen(_: Event, said: kinds.EntitySeen) -> None:
    _named(entity=said.entity, category=said.category)
    _fraction("A confidence", said.confidence)
    if said.confidence == 0.0:
        raise MemoryBankError("The confidence of a sighting must be above 0.", value=said.confidence)
    if said.covariance:
        _check_covariance(said.covariance)
    if said.size_m is not None:
        finite("A size", *said.size_m)
        if min(said.size_m) <= 0:
            raise MemoryBankError("A size must be positive.", value=said.size_m)


def _check_covariance(values: tuple[float, ...]) -> None:
    finite("A covariance", *values)
    matrix = np.array(values).reshape(6, 6) if len(values) == 36 else None
    if matrix is None or not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] < -1e-9:
        raise MemoryBankError(
            "A covariance must be 6 x 6, symmetric and positive semi-definite, or empty.", value=values
        )


def _check_absence(_: Event, said: kinds.AbsenceSeen) -> None:
    _named(entity=said.entity)
    _fraction("A confidence", said.confidence)
    if not LEAST_VISIBLE <= said.visible_fraction <= 1.0:
        raise MemoryBankError(
            "Absence must be seen: at least half of where it should be, in sight and empty.",
            value=said.visible_fraction,
            remedy="Not having seen an entity proves nothing: write no event.",
        )


def _check_relation(_: Event, said: kinds.RelationSet | kinds.RelationEnded) -> None:
    _named(subject=said.subject, object=said.object)
    _choice("predicate", said.predicate, PREDICATES)
    if said.subject == said.object:
        raise MemoryBankError("Nothing is related to itself.", value=said.subject)
    if said.expected_version is not None and (said.predicate not in CONTAINMENT or said.expected_version < 0):
        raise MemoryBankError(
            "Only containment has a version to expect, from 0.", value=(said.predicate, said.expected_version)
        )
    if isinstance(said, kinds.RelationSet):
        _fraction("A confidence", said.confidence)


def _check_merge(_: Event, said: kinds.EntityMerged) -> None:
    _named(entity=said.entity, into=said.into)
    if said.entity == said.into:
        raise MemoryBankError("An entity cannot be merged into itself.", value=said.entity)


def _check_registration(_: Event, said: kinds.RobotRegistered) -> None:
    _named(robot=said.robot, embodiment=said.embodiment)
    finite("Reach, payload and speed", said.reach_m, said.payload_kg, said.speed_mps)
    if min(said.reach_m, said.payload_kg, said.speed_mps) < 0:
        raise MemoryBankError(
            "Reach, payload and speed must not be negative.", value=(said.reach_m, said.payload_kg, said.speed_mps)
        )
    if said.workspace:
        check_polygon(said.workspace)
    if len({skill.name for skill in said.skills}) != len(said.skills):
        raise MemoryBankError("A robot's skills must have different names.", value=said.robot)
    for skill in said.skills:
        _named(skill=skill.name)
        finite("The cost of a skill", skill.cost_s)
        if skill.cost_s < 0:
            raise MemoryBankError("The cost of a skill must not be negative.", value=(skill.name, skill.cost_s))
        _json_object(f"The arguments of skill {skill.name!r}", skill.arguments)


def _check_state(event: Event, said: kinds.RobotState) -> None:
    if not event.robot or event.writer.partition("/")[0] != event.robot:
        raise MemoryBankError(
            "Only a robot itself may write its state.",
            value=(event.writer, event.robot),
            remedy="Name the robot, and write as `<robot>` or `<robot>/<stream>`.",
        )
    _fraction("A battery", said.battery)
    _named(status=said.status)


def _check_skill(event: Event, said: kinds.SkillEnded) -> None:
    _named(robot=event.robot, skill=said.skill)
    _duration(said.duration_s)


def _check_tool(_: Event, said: kinds.ToolCalled) -> None:
    _named(tool=said.tool)
    _json_object("The arguments of a tool", said.arguments)
    _duration(said.duration_s)


def _duration(duration_s: float) -> None:
    if not (math.isfinite(duration_s) and duration_s >= 0):
        raise MemoryBankError("A duration must be finite and not negative.", value=duration_s)


def _check_interaction(event: Event, said: kinds.Interaction) -> None:
    _named(robot=event.robot, action=said.action, entity=said.entity)
    times = (said.pick_start_s, said.carry_start_s, said.place_start_s, said.place_end_s)
    finite("The times of an interaction", *times)
    if list(times) != sorted(times):
        raise MemoryBankError("The four times of an interaction must ascend.", value=times)


def _check_subtask(event: Event, said: kinds.SubtaskEnded) -> None:
    _named(subtask=said.subtask, outcome=said.outcome)
    if said.epoch < 0 or (said.epoch and not event.robot):
        raise MemoryBankError(
            "A subtask ends under a lease epoch from 0, told by its robot.", value=(event.robot, said.epoch)
        )


def _check_lease(event: Event, said: kinds.LeaseGranted) -> None:
    _named(robot=event.robot, subtask=said.subtask)
    finite("The end of a lease", said.expires_s)
    if said.epoch < 1 or said.expires_s <= event.valid_time_s:
        raise MemoryBankError(
            "A lease must have an epoch from 1 and end after it begins.", value=(said.epoch, said.expires_s)
        )


def _check_begun(_: Event, said: kinds.EpisodeBegun) -> None:
    _named(episode=said.episode)
    if said.embedding:
        check_embedding(said.embedding, said.model_id)


def _check_moment(event: Event, said: kinds.MomentStored) -> None:
    _named(robot=event.robot, episode=said.episode)
    check_embedding(said.embedding, said.model_id)
    finite("The position of a moment", *said.position_m)
    each = FLOAT_BYTES * said.token_count
    if said.token_count < 0 or (bool(each) != bool(said.tokens)) or (each and len(said.tokens) % each):
        raise MemoryBankError(
            "Tokens must be float32 of shape (`token_count`, dim).",
            value=(len(said.tokens), said.token_count),
            remedy="Their bytes must be a multiple of 4 times their count.",
        )
    if said.tokens and not np.isfinite(np.frombuffer(said.tokens, "<f4")).all():
        raise MemoryBankError("Tokens must be finite.")


def _check_closed(event: Event, said: kinds.Watermark) -> None:
    finite("The end of a closed past", said.before_s)
    if not said.before_s <= event.valid_time_s:
        raise MemoryBankError(
            "Only the past can be closed.",
            value=said.before_s,
            remedy=f"The event itself is at {event.valid_time_s} s: close up to there at most.",
        )


_CHECKS: dict[type, Callable[[Event, Any], None]] = {
    kinds.PlaceDefined: _check_place,
    kinds.EntitySeen: _check_seen,
    kinds.AbsenceSeen: _check_absence,
    kinds.RelationSet: _check_relation,
    kinds.RelationEnded: _check_relation,
    kinds.EntityMerged: _check_merge,
    kinds.RobotRegistered: _check_registration,
    kinds.RobotState: _check_state,
    kinds.SkillEnded: _check_skill,
    kinds.Interaction: _check_interaction,
    kinds.ToolCalled: _check_tool,
    kinds.SubtaskEnded: _check_subtask,
    kinds.EpisodeBegun: _check_begun,
    kinds.EpisodeEnded: lambda _, said: _named(episode=said.episode, outcome=said.outcome),
    kinds.MomentStored: _check_moment,
    kinds.LeaseGranted: _check_lease,
    kinds.Watermark: _check_closed,
}
