"""One row per kind of event: its check, the names it is indexed under, its text in a timeline, and its retention.

A new kind needs a payload class in `kinds` (also in the union `Payload`), and a row here. Importing this module checks
that the two agree. The projections define the effect of the event on the state of the bank.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_args

import msgspec

from embodied.errors import MemoryBankError
from embodied.memory.schema import kinds, payload_checks
from embodied.memory.schema import payload_texts as texts
from embodied.memory.schema.event import Event
from embodied.memory.schema.payload_texts import Shown


class Removal(StrEnum):
    """Whether the events of a kind may be removed from the log.

    Events of `NEVER` stay, because state is built on them. Those of `ON_REQUEST` may be named by a `Forgotten` event,
    but the rules of retention do not choose them. Those of `BY_RETENTION` may be removed by these rules.
    """

    NEVER = "never"
    ON_REQUEST = "on request"
    BY_RETENTION = "by retention"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The properties of one kind of event.

    `payload` is its class, whose tag is the name of the kind in files. `check` raises `MemoryBankError` for values that
    are invalid in any state of the bank. `names` returns the entities, places and robots that the event is about, by
    which the inverted index finds it; it may repeat a name. `text` returns one line for a timeline. Kinds with
    `timeline` are also listed in the timeline of the whole site; those without it are frequent (sightings, states,
    observations). An event of a `withdrawable` kind is a claim about the world that may turn out wrong. The others
    are acts of the bank itself (leases and the outcomes under them, watermarks, removals, withdrawals) or the frame in
    which later events stand (robots, episodes): another registration or episode replaces them.
    Those that are `reserved` only the site itself may write.
    """

    payload: type
    check: Callable[[Event, Any], None]
    names: Callable[[Event, Any], tuple[str, ...]]
    text: Callable[[Any, Shown], str]
    timeline: bool = True
    removal: Removal = Removal.NEVER
    withdrawable: bool = False
    reserved: bool = False

    @property
    def tag(self) -> str:
        """The name of the kind in files, queries and filters."""
        return str(self.payload.__struct_config__.tag)  # type: ignore[attr-defined]


def table_of(rows: Iterable[Kind], payloads: Iterable[type], declared: Iterable[type]) -> dict[str, Kind]:
    """Returns the `rows` by tag, in the order of `payloads`.

    `payloads` are the members of the union that `Event` accepts, `declared` the payload classes that exist. Raises
    `MemoryBankError` for a class that is not in the union, and for one with no row or with several.
    """
    listed, members = list(rows), list(payloads)
    for payload in dict.fromkeys([*members, *declared, *(row.payload for row in listed)]):
        count = sum(row.payload is payload for row in listed)
        if count != 1 or payload not in members:
            raise MemoryBankError(
                "Every kind of event must be in the union `Payload` and have one row in `kind_table`.",
                value=payload.__name__,
                remedy=f"It has {count} rows and is {'' if payload in members else 'not '}in the union.",
            )
    by_payload = {row.payload: row for row in listed}
    return {by_payload[payload].tag: by_payload[payload] for payload in members}


def tagged_classes(namespace: Mapping[str, object]) -> list[type]:
    """Returns the payload classes that a module defines: its structs with a tag."""
    structs = [value for value in namespace.values() if isinstance(value, type) and issubclass(value, msgspec.Struct)]
    return [struct for struct in structs if struct.__struct_config__.tag is not None]


_ROWS = (
    Kind(
        payload=kinds.PlaceDefined,
        check=payload_checks.check_place,
        names=lambda _, payload: (payload.place,),
        text=texts.place,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.EntitySeen,
        check=payload_checks.check_sighting,
        names=lambda _, payload: (payload.entity,),
        text=texts.sighting,
        timeline=False,
        removal=Removal.BY_RETENTION,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.AbsenceSeen,
        check=payload_checks.check_absence,
        names=lambda _, payload: (payload.entity,),
        text=texts.absence,
        timeline=False,
        removal=Removal.BY_RETENTION,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.RelationSet,
        check=payload_checks.check_relation,
        names=lambda _, payload: (payload.subject, payload.object),
        text=texts.relation,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.RelationEnded,
        check=payload_checks.check_relation,
        names=lambda _, payload: (payload.subject, payload.object),
        text=texts.relation_ended,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.EntityMerged,
        check=payload_checks.check_merge,
        names=lambda _, payload: (payload.entity, payload.into),
        text=texts.merge,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.RobotRegistered,
        check=payload_checks.check_registration,
        names=lambda _, payload: (payload.robot,),
        text=texts.registration,
    ),
    Kind(
        payload=kinds.RobotReported,
        check=payload_checks.check_robot_state,
        names=lambda event, _: (event.robot,),
        text=texts.robot_state,
        timeline=False,
        removal=Removal.BY_RETENTION,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.SkillEnded,
        check=payload_checks.check_skill,
        names=lambda event, _: (event.robot,),
        text=texts.skill,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.Interaction,
        check=payload_checks.check_interaction,
        names=lambda event, payload: (payload.entity, event.robot, payload.source, payload.target),
        text=texts.interaction,
        removal=Removal.ON_REQUEST,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.ToolCalled,
        check=payload_checks.check_tool,
        names=lambda event, _: (event.robot,),
        text=texts.tool_call,
        removal=Removal.BY_RETENTION,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.SubtaskEnded,
        check=payload_checks.check_subtask,
        names=lambda event, _: (event.robot,),
        text=texts.subtask,
    ),
    Kind(
        payload=kinds.EpisodeBegun,
        check=payload_checks.check_episode_begun,
        names=lambda _, __: (),
        text=texts.episode_begun,
    ),
    Kind(
        payload=kinds.EpisodeEnded,
        check=payload_checks.check_episode_ended,
        names=lambda _, __: (),
        text=texts.episode_ended,
    ),
    Kind(
        payload=kinds.MomentStored,
        check=payload_checks.check_moment,
        names=lambda _, payload: payload.entities,
        text=texts.moment,
        timeline=False,
        removal=Removal.BY_RETENTION,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.LeaseGranted,
        check=payload_checks.check_lease,
        names=lambda event, _: (event.robot,),
        text=texts.lease,
        reserved=True,
    ),
    Kind(
        payload=kinds.Watermark,
        check=payload_checks.check_watermark,
        names=lambda _, __: (),
        text=texts.watermark,
        reserved=True,
    ),
    Kind(
        payload=kinds.Forgotten,
        check=payload_checks.accept,  # `tombstones` checks its ranges against the log.
        names=lambda _, __: (),
        text=texts.forgotten,
        reserved=True,
    ),
    Kind(
        payload=kinds.Observed,
        check=payload_checks.accept,
        names=lambda event, payload: tuple(name for name in (*payload.entities, payload.place, event.robot) if name),
        text=texts.observation,
        timeline=False,
        removal=Removal.BY_RETENTION,
        withdrawable=True,
    ),
    Kind(
        payload=kinds.Withdrawn,
        check=payload_checks.check_withdrawal,  # `withdrawals` checks the events that it names.
        names=lambda event, _: (event.robot,),
        text=texts.withdrawal,
        removal=Removal.ON_REQUEST,  # Once the events that it names are gone.
    ),
    Kind(
        payload=kinds.Reopened,
        check=payload_checks.check_reopened,
        names=lambda _, __: (),
        text=texts.reopened,
        reserved=True,
    ),
    Kind(
        payload=kinds.MapPlaced,
        check=payload_checks.check_map,
        names=lambda _, payload: (payload.map_id,),
        text=texts.map_placed,
        removal=Removal.BY_RETENTION,
        withdrawable=True,
    ),
)
KINDS = table_of(_ROWS, get_args(kinds.Payload), tagged_classes(vars(kinds)))
KIND_OF_PAYLOAD = {kind.payload: kind for kind in KINDS.values()}
