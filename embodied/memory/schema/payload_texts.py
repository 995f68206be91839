"""The payload of each kind as one line of text; `kind_table` assigns functions to kinds.

Each function takes a payload and `shown`, which shortens the names of entities and places.
"""

import math
from collections.abc import Callable

from embodied.geometry import Pose
from embodied.memory.schema import kinds

Shown = Callable[[str], str]
MOST_SHOWN = 3


def place(payload: kinds.PlaceDefined, shown: Shown) -> str:
    """Returns the place, its level and its parent."""
    return f"{shown(payload.place)} is a {payload.level}" + (f" of {shown(payload.parent)}" if payload.parent else "")


def sighting(payload: kinds.EntitySeen, shown: Shown) -> str:
    """Returns the thing seen and its position."""
    return f"{shown(payload.entity)} ({payload.category}) seen at {_point(payload.pose)}{_in_map(payload.map_id)}"


def absence(payload: kinds.AbsenceSeen, shown: Shown) -> str:
    """Returns the thing found absent, and the visible share of its place."""
    return f"{shown(payload.entity)} seen to be gone ({100 * payload.visible_fraction:.0f} % of its place in sight)"


def relation(payload: kinds.RelationSet | kinds.RelationEnded, shown: Shown) -> str:
    """Returns subject, predicate and object."""
    return f"{shown(payload.subject)} {payload.predicate.replace('_', ' ')} {shown(payload.object)}"


def relation_ended(payload: kinds.RelationEnded, shown: Shown) -> str:
    """Returns the relation that no longer holds."""
    return f"no longer {relation(payload, shown)}"


def merge(payload: kinds.EntityMerged, shown: Shown) -> str:
    """Returns the two entities that are the same."""
    return f"{shown(payload.entity)} is the same as  {shown(payload.into)}"


def registration(payload: kinds.RobotRegistered, _: Shown) -> str:
    """Returns the robot, its embodiment and how many skills it has."""
    return f"{payload.robot} ({payload.embodiment}) joined, with {len(payload.skills)} skills"


def robot_state(payload: kinds.RobotReported, _: Shown) -> str:
    """Returns the status of a robot, the position of its base and its battery level."""
    at = f"{_point(payload.pose)}{_in_map(payload.map_id)}"
    return f"{payload.status} at {at}, battery {100 * payload.battery:.0f} %"


def skill(payload: kinds.SkillEnded, _: Shown) -> str:
    """Returns the skill, its object, and whether it succeeded."""
    what = f"skill {payload.skill}{f' on {payload.context}' if payload.context else ''}"
    return _ended(what, "success" if payload.success else "failure", payload.reason)


def interaction(payload: kinds.Interaction, shown: Shown) -> str:
    """Returns the action, the entity, its source and target, and the times."""
    ends = (("from", payload.source), ("to", payload.target))
    way = "".join(f" {preposition} {shown(name)}" for preposition, name in ends if name)
    failed = "" if payload.success else ", and failed"
    times = f"{payload.pick_start_s:.2f} s to {payload.place_end_s:.2f} s"
    return f"{payload.action.replace('_', ' ')}: {shown(payload.entity)}{way}{failed} ({times})"


def tool_call(payload: kinds.ToolCalled, _: Shown) -> str:
    """Returns the tool, and its feedback where it failed."""
    return f"called {payload.tool}" + ("" if payload.ok else f", which failed: {payload.feedback}")


def subtask(payload: kinds.SubtaskEnded, shown: Shown) -> str:
    """Returns the subtask and its outcome."""
    return _ended(f"subtask {shown(payload.subtask)}", payload.outcome, payload.reason)


def episode_begun(payload: kinds.EpisodeBegun, _: Shown) -> str:
    """Returns the instruction of the episode."""
    return f"episode begins: {payload.instruction}"


def episode_ended(payload: kinds.EpisodeEnded, _: Shown) -> str:
    """Returns the outcome of the episode."""
    return _ended("episode ends", payload.outcome, payload.reason)


def moment(payload: kinds.MomentStored, shown: Shown) -> str:
    """Returns the model of the moment, the length of its embedding, and its entities."""
    names = "".join(f" {shown(name)}" for name in payload.entities)
    return f"moment stored ({payload.model_id}, {len(payload.embedding) // 4} values){names}"


def lease(payload: kinds.LeaseGranted, shown: Shown) -> str:
    """Returns the epoch of the lease, its subtask and its end."""
    return f"lease {payload.epoch} on {shown(payload.subtask)} until {payload.expires_s:.2f} s"


def watermark(payload: kinds.Watermark, _: Shown) -> str:
    """Returns the time before which the past is closed."""
    return f"the past before {payload.before_s:.2f} s is closed"


def reopened(payload: kinds.Reopened, _: Shown) -> str:
    """Returns from when on the past is open again."""
    return "the past is open again" + ("" if payload.before_s is None else f" from {payload.before_s:.2f} s on")


def forgotten(payload: kinds.Forgotten, _: Shown) -> str:
    """Returns how many events were removed, why, and the first of their ranges."""
    ranges = ", ".join(f"{first}-{last}" for first, last in payload.ranges[:3])
    return f"forgot {payload.count} events, {payload.reason}: {ranges}{', ...' if len(payload.ranges) > 3 else ''}"


def observation(payload: kinds.Observed, shown: Shown) -> str:
    """Returns the reference to the observation."""
    return f"observation {shown(payload.evidence)}"


def withdrawal(payload: kinds.Withdrawn, _: Shown) -> str:
    """Returns the first of the withdrawn events, how many more there are, and the reason."""
    more = len(payload.seqs) - MOST_SHOWN
    numbers = ", ".join(map(str, payload.seqs[:MOST_SHOWN]))
    return (
        f"withdrew {numbers}{f' and {more} more' if more > 0 else ''}{f': {payload.reason}' if payload.reason else ''}"
    )


def map_placed(payload: kinds.MapPlaced, _: Shown) -> str:
    """Returns the map, and the position and heading of its frame."""
    return f"map {payload.map_id} placed at {_point(payload.pose)}, heading {math.degrees(payload.pose.yaw_rad):.1f}°"


def _in_map(map_id: str) -> str:
    return f" in map {map_id}" if map_id else ""


def _point(pose: Pose) -> str:
    x, y, z = pose.position_m
    return f"({x:.3f}, {y:.3f}, {z:.3f}) m"


def _ended(what: str, outcome: str, reason: str) -> str:
    return f"{what}: {outcome}{f' ({reason})' if reason else ''}"
