"""The payload of each kind of event. Metres, radians, seconds, z up.

Poses are in the frame of the map that `map_id` names, "" for the site frame; see `MapPlaced`.
"""

import math

import msgspec

from embodied.errors import MemoryBankError
from embodied.geometry import Pose, Vector3
from embodied.memory.schema.reported_status import ReportedStatus, as_status

Embedding = bytes  # little-endian float32, unit length
Covariance = tuple[float, ...]  # 6 x 6 row-major over (x, y, z, roll, pitch, yaw), or empty where unknown
Polygon = tuple[tuple[float, float], ...]  # counter-clockwise or clockwise, metres, at least three corners, simple

PLACE_KINDS = ("site", "floor", "region", "carrier", "slot")
PREDICATES = ("in", "on", "part_of", "held_by", "near", "connects", "may_be")
CONTAINMENT = ("in", "on", "part_of", "held_by")  # An entity has at most one relation of these kinds: to its parent.


class PlaceDefined(msgspec.Struct, frozen=True, tag="place_defined", forbid_unknown_fields=True, gc=False):
    """A node in the tree of places. `polygon` on the ground and (`bottom_m`, `top_m`); only a site has no parent.

    In events of schema version 1 `map_id` has no effect: the polygon is in the site frame.
    """

    place: str
    level: str
    parent: str | None = None
    polygon: Polygon = ()
    bottom_m: float = 0.0
    top_m: float = 3.0
    map_id: str = ""
    labels: tuple[str, ...] = ()


class EntitySeen(msgspec.Struct, frozen=True, tag="entity_seen", forbid_unknown_fields=True, gc=False):
    """A robot or sensor perceived an entity at a pose. `confidence` in (0, 1]; `evidence` is a reference to a frame."""

    entity: str
    category: str
    pose: Pose
    covariance: Covariance = ()
    size_m: Vector3 | None = None
    labels: tuple[str, ...] = ()
    confidence: float = 1.0
    hypothesis: int = 0
    evidence: str = ""
    map_id: str = ""


class AbsenceSeen(msgspec.Struct, frozen=True, tag="absence_seen", forbid_unknown_fields=True, gc=False):
    """A robot or sensor saw that an entity is not where it should be: its place is visible and empty.

    `visible_fraction` of the entity's box was in sight, unoccluded; values below one half are refused, since the entity
    may be in the rest. An entity without earlier events is accepted: its sighting may arrive later from another writer.
    """

    entity: str
    visible_fraction: float
    confidence: float = 1.0


class RelationSet(msgspec.Struct, frozen=True, tag="relation_set", forbid_unknown_fields=True, gc=False):
    """`subject predicate object` holds from now. For containment it replaces the subject's parent.

    `may_be` relates two things that look alike and may have changed places unseen.

    `expected_version` is compare-and-set: the version of the subject's containment that the writer has read (0 for an
    entity that never had a parent); anything else is a conflict and nothing is written. It may be None only where the
    subject has no parent now: a second parent is refused. Containment is applied in arrival order: a late event takes
    effect no earlier than the last change. Other relations take effect at their valid times.
    """

    subject: str
    predicate: str
    object: str
    confidence: float = 1.0
    expected_version: int | None = None


class RelationEnded(msgspec.Struct, frozen=True, tag="relation_ended", forbid_unknown_fields=True, gc=False):
    """`subject predicate object` holds no more. `expected_version` as in `RelationSet`, for containment.

    Containment can end only where it holds. For the other relations, which count by their valid times alone, the end is
    accepted even where no beginning is known: the beginning may arrive later from another writer, and until then the
    end has no effect.
    """

    subject: str
    predicate: str
    object: str
    expected_version: int | None = None


class EntityMerged(msgspec.Struct, frozen=True, tag="entity_merged", forbid_unknown_fields=True, gc=False):
    """Two entities are found to be the same: from the valid time on, `entity` is part of `into`, under both names.

    Events about either entity count for both, and no answer about earlier times changes. The contents of `entity`
    become contents of `into`, which also takes over the parent of `entity`, unless its own parent was logged later: an
    entity has one parent. A parent that is itself inside `into` is dropped. Each change counts in the version of the
    entity whose parent it is; `expected_version` of either name is the version of `into`. An entity cannot be merged
    twice, nor into its own contents.
    """

    entity: str
    into: str


class SkillSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A skill: `arguments` is a JSON schema (of type object) as JSON text; conditions are predicate strings."""

    name: str
    arguments: str = '{"type": "object"}'
    preconditions: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    cost_s: float = 1.0


class RobotRegistered(msgspec.Struct, frozen=True, tag="robot_registered", forbid_unknown_fields=True, gc=False):
    """A robot joins the site. It reaches `reach_m` around its base, and stays in `workspace` (empty: anywhere)."""

    robot: str
    embodiment: str
    skills: tuple[SkillSpec, ...] = ()
    reach_m: float = 0.8
    payload_kg: float = 0.0
    speed_mps: float = 0.0
    workspace: Polygon = ()


class RobotReported(msgspec.Struct, frozen=True, tag="robot_state", forbid_unknown_fields=True, gc=False):
    """A robot reports its own state: only the robot named in the event's `robot` may write it. `battery` in [0, 1].

    `pose` is its base's, `tool` its gripper's pose in the same frame, None where it has none or reports none.
    `status` is a `ReportedStatus`, or its text in any case of letters; other texts of older banks stay as they are. A
    robot that is `charging`, `stopped`, `offline` or in `error` (`skill_matching.UNABLE`), or whose battery is below
    0.1, is not returned by `skill_candidates`; with every other status, such as `idle` or `holding`, it is.
    """

    pose: Pose
    battery: float = 1.0
    status: str = ReportedStatus.IDLE
    tool: Pose | None = None
    map_id: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.status, str):
            msgspec.structs.force_setattr(self, "status", as_status(self.status))


class SkillEnded(msgspec.Struct, frozen=True, tag="skill_ended", forbid_unknown_fields=True, gc=False):
    """A robot tried a skill. `context` (such as an object's category) keys its statistics, Beta(a, b).

    Evaluations write the skills `move`, `pick`, `place`, `press`, `open` and `close`; see `Interaction` for actions.
    """

    skill: str
    success: bool
    context: str = ""
    duration_s: float = 0.0
    reason: str = ""


class Interaction(msgspec.Struct, frozen=True, tag="interaction", forbid_unknown_fields=True, gc=False):
    """A robot's interaction with an entity: pick and place, open, close, press. Times are on the site clock, ascending.

    For pick and place the four times are: pick start, carry start, place start, place end. A press or an opening has
    the middle two at the moment of contact. `source` and `target` are places or entities, empty where there is none.
    `action` is any text: evaluations write `pick_place`, `press`, `open` and `close`. A `pick_place` is one interaction
    of two skills, `pick` and `place`, so neither of these is an action in a query.
    """

    action: str
    entity: str
    pick_start_s: float
    carry_start_s: float
    place_start_s: float
    place_end_s: float
    source: str = ""
    target: str = ""
    success: bool = True


class ToolCalled(msgspec.Struct, frozen=True, tag="tool_called", forbid_unknown_fields=True, gc=False):
    """A planner or policy called a tool; `arguments` and `feedback` are JSON text."""

    tool: str
    arguments: str = "{}"
    ok: bool = True
    feedback: str = ""
    duration_s: float = 0.0


class SubtaskEnded(msgspec.Struct, frozen=True, tag="subtask_ended", forbid_unknown_fields=True, gc=False):
    """A subtask of the event's `task` ended with an outcome, under lease `epoch` (0: none)."""

    subtask: str
    outcome: str
    reason: str = ""
    epoch: int = 0


class EpisodeBegun(msgspec.Struct, frozen=True, tag="episode_begun", forbid_unknown_fields=True, gc=False):
    """An episode starts; `embedding` describes its task for `similar_episodes`, empty where there is none.

    A running episode cannot begin again, for any writer, and ends once; one that has ended may begin again. As with
    containment the arrival order decides: of two writers that begin the same episode the later one is refused.
    """

    episode: str
    instruction: str
    model_id: str = ""
    embedding: Embedding = b""


class EpisodeEnded(msgspec.Struct, frozen=True, tag="episode_ended", forbid_unknown_fields=True, gc=False):
    """An episode ends; its summary keeps the range of sequence numbers that belong to it."""

    episode: str
    outcome: str
    reason: str = ""
    phases: tuple[str, ...] = ()
    first_seq: int = 0


class MomentStored(msgspec.Struct, frozen=True, tag="moment_stored", forbid_unknown_fields=True, gc=False):
    """A policy's `Moment`: `tokens` is little-endian float32 of shape (`token_count`, dim), empty where it has none.

    `step` is the step of the request at which it was stored, None in older banks.
    """

    episode: str
    model_id: str
    embedding: Embedding
    position_m: Vector3
    tokens: bytes = b""
    token_count: int = 0
    entities: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    step: int | None = None
    map_id: str = ""


class LeaseGranted(msgspec.Struct, frozen=True, tag="lease_granted", forbid_unknown_fields=True, gc=False):
    """The event's `robot` may work on `subtask` until `expires_s`; `epoch` is the fencing token, growing by one."""

    subtask: str
    epoch: int
    expires_s: float


class Watermark(msgspec.Struct, frozen=True, tag="past_closed", forbid_unknown_fields=True, gc=False):
    """The log before `before_s` is complete: later events with an earlier valid time are refused.

    Only the site closes the past (a writer `site/...`), up to the clock of the bank at most. Of several watermarks, in
    any order of arrival, the latest `before_s` counts, until a `Reopened`.
    """

    before_s: float


class Forgotten(msgspec.Struct, frozen=True, tag="forgotten", forbid_unknown_fields=True, gc=False):
    """Retention removed events from the log; their sequence numbers and digest remain. See `retention`."""

    reason: str
    ranges: tuple[tuple[int, int], ...]
    count: int
    kept: tuple[int, ...] = ()


class Observed(msgspec.Struct, frozen=True, tag="observed", forbid_unknown_fields=True, gc=False):
    """A robot made an observation worth a reference (such as a frame on disk); `place` is the observed place."""

    evidence: str
    place: str = ""
    entities: tuple[str, ...] = ()


class Withdrawn(msgspec.Struct, frozen=True, tag="withdrawn", forbid_unknown_fields=True, gc=False):
    """The events numbered `seqs` were wrong: from this event on no belief counts them, at any valid time.

    They stay in the log, and a snapshot before this event still counts them. Only the writer of an event may withdraw
    it, under any name with the same part before the slash, or the site (`site/...`). A withdrawal cannot be withdrawn.
    See `kind_table.Kind.withdrawable` for the kinds that can.
    """

    seqs: tuple[int, ...]
    reason: str = ""


class Reopened(msgspec.Struct, frozen=True, tag="past_reopened", forbid_unknown_fields=True, gc=False):
    """Of the past only what is earlier than `before_s` stays closed (None: nothing); only the site reopens it.

    Answers at earlier snapshots stay as they were: what is written late is later in the log.
    """

    before_s: float | None = None


class MapPlaced(msgspec.Struct, frozen=True, tag="map_placed", forbid_unknown_fields=True, gc=False):
    """The frame of map `map_id` lies at `pose` in the site frame: site point = pose @ map point.

    It counts from its valid time on, until the next placing of the map, for everything that was given in the map, at
    whatever time; answers about earlier times, and of earlier snapshots, stay as they were. A map whose name is
    `ROBOT/...` is placed by that robot, under any of its names, or by the site; every other map by any writer. A map in
    the plane has a pose with a yaw alone (`geometry.quaternion_from_yaw`).
    """

    map_id: str
    pose: Pose


Payload = (
    PlaceDefined
    | EntitySeen
    | AbsenceSeen
    | RelationSet
    | RelationEnded
    | EntityMerged
    | RobotRegistered
    | RobotReported
    | SkillEnded
    | Interaction
    | ToolCalled
    | SubtaskEnded
    | EpisodeBegun
    | EpisodeEnded
    | MomentStored
    | LeaseGranted
    | Watermark
    | Forgotten
    | Observed
    | Withdrawn
    | Reopened
    | MapPlaced
)


def finite(what: str, *values: float) -> None:
    """Raises `MemoryBankError` unless all values are finite."""
    if not all(map(math.isfinite, values)):
        raise MemoryBankError(f"{what} must be finite.", value=values)
