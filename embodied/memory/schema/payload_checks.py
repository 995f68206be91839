"""Checks of each kind of payload by itself; `kind_table` assigns checks to kinds."""

import math

import msgspec
import numpy as np

from embodied.errors import MemoryBankError
from embodied.geometry import UNIT_TOLERANCE
from embodied.memory.schema import kinds
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import CONTAINMENT, PLACE_KINDS, PREDICATES, finite
from embodied.memory.schema.limits import check_depth
from embodied.memory.schema.places import check_polygon
from embodied.memory.schema.reported_status import ReportedStatus

LEAST_VISIBLE = 0.5
FLOAT_BYTES = 4
ROUNDING = 1e-5
SITE = "site/"  # How the names of the site's own writers begin.


def accept(_: Event, __: object) -> None:
    """Accepts any payload of the documented types, without further restrictions."""


def check_embedding(embedding: bytes, model_id: str) -> None:
    """Raises `MemoryBankError` unless bytes are a finite float32 vector of unit length from a named model."""
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
    check_depth(what, text)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MemoryBankError(f"{what} must be JSON text.", value=text, remedy=str(error)) from error
    if not isinstance(value, dict):
        raise MemoryBankError(f"{what} must be a JSON object.", value=text)


def check_place(_: Event, payload: kinds.PlaceDefined) -> None:
    """Raises `MemoryBankError` unless a place has a name, a known level, a parent (sites: none) and an extent."""
    _named(place=payload.place)
    _choice("level of a place", payload.level, PLACE_KINDS)
    if (payload.parent is None) != (payload.level == PLACE_KINDS[0]):
        raise MemoryBankError(
            "A site has no parent, and every other place has one.", value=(payload.place, payload.level, payload.parent)
        )
    if payload.polygon or payload.level == "region":
        check_polygon(payload.polygon)
    finite("The height range of a place", payload.bottom_m, payload.top_m)
    if payload.bottom_m >= payload.top_m:
        raise MemoryBankError("A place must have a height.", value=(payload.bottom_m, payload.top_m))


def check_sighting(_: Event, payload: kinds.EntitySeen) -> None:
    """Raises `MemoryBankError` unless the names, confidence, size and covariance of a sighting are valid."""
    _named(entity=payload.entity, category=payload.category)
    _fraction("A confidence", payload.confidence)
    if payload.confidence == 0.0:
        raise MemoryBankError("The confidence of a sighting must be above 0.", value=payload.confidence)
    if payload.covariance:
        _check_covariance(payload.covariance)
    if payload.size_m is not None:
        finite("A size", *payload.size_m)
        if min(payload.size_m) <= 0:
            raise MemoryBankError("A size must be positive.", value=payload.size_m)


def _check_covariance(values: tuple[float, ...]) -> None:
    finite("A covariance", *values)
    matrix = np.array(values).reshape(6, 6) if len(values) == 36 else None
    if matrix is None or not _semi_definite(matrix):
        raise MemoryBankError(
            "A covariance must be 6 x 6, symmetric and positive semi-definite, or empty.", value=values
        )


def _semi_definite(matrix: np.ndarray) -> bool:
    """Returns whether a matrix is symmetric without negative eigenvalues, up to the rounding of float32.

    Filters give singular matrices, whose least eigenvalue is rounding in proportion to the largest.
    """
    largest = float(np.abs(matrix).max())
    if np.abs(matrix - matrix.T).max() > ROUNDING * largest:
        return False
    return bool(np.linalg.eigvalsh(matrix)[0] >= -ROUNDING * largest)


def check_absence(_: Event, payload: kinds.AbsenceSeen) -> None:
    """Raises `MemoryBankError` unless it is an absence that was in sight for at least one half."""
    _named(entity=payload.entity)
    _fraction("A confidence", payload.confidence)
    if not LEAST_VISIBLE <= payload.visible_fraction <= 1.0:
        raise MemoryBankError(
            "Absence must be seen: at least half of where it should be, in sight and empty.",
            value=payload.visible_fraction,
            remedy="An entity that is out of sight may still be there: write no event.",
        )


def check_relation(_: Event, payload: kinds.RelationSet | kinds.RelationEnded) -> None:
    """Raises `MemoryBankError` unless it is a relation of two different names by a known predicate."""
    _named(subject=payload.subject, object=payload.object)
    _choice("predicate", payload.predicate, PREDICATES)
    if payload.subject == payload.object:
        raise MemoryBankError("An entity must not be related to itself.", value=payload.subject)
    if payload.expected_version is not None and (payload.predicate not in CONTAINMENT or payload.expected_version < 0):
        raise MemoryBankError(
            "Only containment has an expected version, from 0.", value=(payload.predicate, payload.expected_version)
        )
    if isinstance(payload, kinds.RelationSet):
        _fraction("A confidence", payload.confidence)


def check_merge(_: Event, payload: kinds.EntityMerged) -> None:
    """Raises `MemoryBankError` unless it is a merge of two different entities."""
    _named(entity=payload.entity, into=payload.into)
    if payload.entity == payload.into:
        raise MemoryBankError("An entity cannot be merged into itself.", value=payload.entity)


def check_registration(_: Event, payload: kinds.RobotRegistered) -> None:
    """Raises `MemoryBankError` unless the names, limits, workspace and skills of a robot are valid."""
    _named(robot=payload.robot, embodiment=payload.embodiment)
    finite("Reach, payload and speed", payload.reach_m, payload.payload_kg, payload.speed_mps)
    if min(payload.reach_m, payload.payload_kg, payload.speed_mps) < 0:
        raise MemoryBankError(
            "Reach, payload and speed must not be negative.",
            value=(payload.reach_m, payload.payload_kg, payload.speed_mps),
        )
    if payload.workspace:
        check_polygon(payload.workspace)
    if len({skill.name for skill in payload.skills}) != len(payload.skills):
        raise MemoryBankError("A robot's skills must have different names.", value=payload.robot)
    for skill in payload.skills:
        _named(skill=skill.name)
        finite("The cost of a skill", skill.cost_s)
        if skill.cost_s < 0:
            raise MemoryBankError("The cost of a skill must not be negative.", value=(skill.name, skill.cost_s))
        _json_object(f"The arguments of skill {skill.name!r}", skill.arguments)


def check_robot_state(event: Event, payload: kinds.RobotReported) -> None:
    """Raises `MemoryBankError` unless the robot itself reports a battery in [0, 1] and a known status."""
    if not event.robot or not f"{event.writer}/".startswith(f"{event.robot}/"):
        raise MemoryBankError(
            "Only a robot itself may write its state.",
            value=(event.writer, event.robot),
            remedy="Name the robot, and write as `<robot>` or `<robot>/<stream>`.",
        )
    _fraction("A battery", payload.battery)
    _choice("status of a robot", payload.status, tuple(ReportedStatus))


def check_skill(event: Event, payload: kinds.SkillEnded) -> None:
    """Raises `MemoryBankError` unless it is a named skill of a named robot with a finite duration."""
    _named(robot=event.robot, skill=payload.skill)
    _duration(payload.duration_s)


def check_tool(_: Event, payload: kinds.ToolCalled) -> None:
    """Raises `MemoryBankError` unless it is a named tool with JSON arguments and a finite duration."""
    _named(tool=payload.tool)
    _json_object("The arguments of a tool", payload.arguments)
    _duration(payload.duration_s)


def _duration(duration_s: float) -> None:
    if not (math.isfinite(duration_s) and duration_s >= 0):
        raise MemoryBankError("A duration must be finite and not negative.", value=duration_s)


def check_interaction(event: Event, payload: kinds.Interaction) -> None:
    """Raises `MemoryBankError` unless it is a named robot, action and entity and four times in ascending order."""
    _named(robot=event.robot, action=payload.action, entity=payload.entity)
    times = (payload.pick_start_s, payload.carry_start_s, payload.place_start_s, payload.place_end_s)
    finite("The times of an interaction", *times)
    if list(times) != sorted(times):
        raise MemoryBankError("The four times of an interaction must ascend.", value=times)


def check_subtask(event: Event, payload: kinds.SubtaskEnded) -> None:
    """Raises `MemoryBankError` unless a subtask has an outcome and, under a lease epoch, a robot."""
    _named(subtask=payload.subtask, outcome=payload.outcome)
    if event.subtask == payload.subtask and event.epoch != payload.epoch:
        raise MemoryBankError(
            "The outcome of a leased subtask must name the epoch of its lease.",
            value=(payload.subtask, payload.epoch, event.epoch),
            remedy="Give the event and its payload the same epoch.",
        )
    if payload.epoch < 0 or (payload.epoch and not event.robot):
        raise MemoryBankError(
            "A subtask ends under a lease epoch from 0, written by its robot.", value=(event.robot, payload.epoch)
        )


def check_lease(event: Event, payload: kinds.LeaseGranted) -> None:
    """Raises `MemoryBankError` unless a named robot gets a lease with an epoch from 1 that ends after it begins."""
    _named(robot=event.robot, subtask=payload.subtask)
    finite("The end of a lease", payload.expires_s)
    if payload.epoch < 1 or payload.expires_s <= event.valid_time_s:
        raise MemoryBankError(
            "A lease must have an epoch from 1 and end after it begins.", value=(payload.epoch, payload.expires_s)
        )


def check_episode_begun(_: Event, payload: kinds.EpisodeBegun) -> None:
    """Raises `MemoryBankError` unless it is a named episode, with an embedding of unit length or none."""
    _named(episode=payload.episode)
    if payload.embedding:
        check_embedding(payload.embedding, payload.model_id)


def check_episode_ended(_: Event, payload: kinds.EpisodeEnded) -> None:
    """Raises `MemoryBankError` unless it names an episode and its outcome."""
    _named(episode=payload.episode, outcome=payload.outcome)


def check_moment(event: Event, payload: kinds.MomentStored) -> None:
    """Raises `MemoryBankError` unless it is of a named robot and episode, with a unit embedding and finite tokens."""
    _named(robot=event.robot, episode=payload.episode)
    check_embedding(payload.embedding, payload.model_id)
    finite("The position of a moment", *payload.position_m)
    each = FLOAT_BYTES * payload.token_count
    if payload.token_count < 0 or (bool(each) != bool(payload.tokens)) or (each and len(payload.tokens) % each):
        raise MemoryBankError(
            "Tokens must be float32 of shape (`token_count`, dim).",
            value=(len(payload.tokens), payload.token_count),
            remedy="Their bytes must be a multiple of 4 times their count.",
        )
    if payload.tokens and not np.isfinite(np.frombuffer(payload.tokens, "<f4")).all():
        raise MemoryBankError("Tokens must be finite.")


def check_watermark(event: Event, payload: kinds.Watermark) -> None:
    """Raises `MemoryBankError` unless it is a watermark of the site that is finite and not after the event itself."""
    finite("The end of a closed past", payload.before_s)
    if not payload.before_s <= event.valid_time_s:
        raise MemoryBankError(
            "Only the past can be closed.",
            value=payload.before_s,
            remedy=f"The event itself is at {event.valid_time_s} s: close up to there at most.",
        )
    _of_the_site(event)


def check_reopened(event: Event, payload: kinds.Reopened) -> None:
    """Raises `MemoryBankError` unless it is of the site, with a finite time or none."""
    finite("The end of a closed past", payload.before_s or 0.0)
    _of_the_site(event)


def _of_the_site(event: Event) -> None:
    if not event.writer.startswith(SITE):
        raise MemoryBankError(
            "Only the site may close its past or open it again.",
            value=event.writer,
            remedy=f"A robot cannot: the operator writes it as {SITE + '...'!r}, see `python -m launch.memory --help`.",
        )


def check_map(event: Event, payload: kinds.MapPlaced) -> None:
    """Raises `MemoryBankError` unless a named map is placed by any writer, or one of a robot by it or by the site."""
    _named(map=payload.map_id)
    robot, of_robot, _ = payload.map_id.partition("/")
    if of_robot and event.writer.partition("/")[0] != robot and not event.writer.startswith(SITE):
        raise MemoryBankError(
            "The map of a robot must be placed by that robot or by the site.",
            value=(payload.map_id, event.writer),
            remedy=f"Write as {robot!r} or {robot + '/...'!r}, or as {SITE + '...'!r}.",
        )


def check_withdrawal(_: Event, payload: kinds.Withdrawn) -> None:
    """Raises `MemoryBankError` unless it names one event or several, each once, by their numbers."""
    if not payload.seqs or len(set(payload.seqs)) != len(payload.seqs) or min(payload.seqs) < 1:
        raise MemoryBankError(
            "A withdrawal must name one event or several, each once, by their numbers from 1.",
            value=payload.seqs,
            remedy="`append` returned the numbers, and every event has its own as `seq`.",
        )
