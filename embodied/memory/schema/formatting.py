"""Events in words, one line each, for people who read a timeline."""

from collections.abc import Callable
from typing import Any

from embodied.memory.schema import kinds
from embodied.memory.schema.event import Event

Shown = Callable[[str], str]


def describe(event: Event, *, shown: Shown = str) -> str:
    """Returns what happened, without time and robot; `shown` shortens the names of entities and places."""
    return _WORDS[type(event.payload)](event.payload, shown)


def _point(pose: Any) -> str:
    x, y, z = pose.position_m
    return f"({x:.3f}, {y:.3f}, {z:.3f}) m"


def _relation(said: Any, shown: Shown) -> str:
    return f"{shown(said.subject)} {said.predicate.replace('_', ' ')} {shown(said.object)}"


def _interaction(said: kinds.Interaction, shown: Shown) -> str:
    way = "".join(
        f" {word} {shown(name)}" for word, name in (("from", said.source), ("to", said.target)) if name
    )  # fmt: skip
    failed = "" if said.success else ", and failed"
    times = f"{said.pick_start_s:.2f} s to {said.place_end_s:.2f} s"
    return f"{said.action.replace('_', ' ')}: {shown(said.entity)}{way}{failed} ({times})"


def _ended(what: str, outcome: str, reason: str) -> str:
    return f"{what}: {outcome}{f' ({reason})' if reason else ''}"


def _forgotten(said: kinds.Forgotten) -> str:
    ranges = ", ".join(f"{first}-{last}" for first, last in said.ranges[:3])
    return f"forgot {said.count} events, {said.reason}: {ranges}{', ...' if len(said.ranges) > 3 else ''}"


_WORDS: dict[type, Callable[[Any, Shown], str]] = {
    kinds.PlaceDefined: lambda said, shown: f"{shown(said.place)} is a {said.level}"
    + (f" of {shown(said.parent)}" if said.parent else ""),
    kinds.EntitySeen: lambda said, shown: f"{shown(said.entity)} ({said.category}) seen at {_point(said.pose)}",
    kinds.AbsenceSeen: lambda said, shown: f"{shown(said.entity)} seen to be gone "
    f"({100 * said.visible_fraction:.0f} % of its place in sight)",
    kinds.RelationSet: _relation,
    kinds.RelationEnded: lambda said, shown: f"no longer {_relation(said, shown)}",
    kinds.EntityMerged: lambda said, shown: f"{shown(said.entity)} turned out to be {shown(said.into)}",
    kinds.RobotRegistered: lambda said, _: f"{said.robot} ({said.embodiment}) joined, with {len(said.skills)} skills",
    kinds.RobotState: lambda said, _: f"{said.status} at {_point(said.pose)}, battery {100 * said.battery:.0f} %",
    kinds.SkillEnded: lambda said, _: _ended(
        f"skill {said.skill}{f' on {said.context}' if said.context else ''}",
        "success" if said.success else "failure", said.reason,
    ),
    kinds.Interaction: _interaction,
    kinds.ToolCalled: lambda said, _: f"called {said.tool}" + ("" if said.ok else f", which failed: {said.feedback}"),
    kinds.SubtaskEnded: lambda said, shown: _ended(f"subtask {shown(said.subtask)}", said.outcome, said.reason),
    kinds.EpisodeBegun: lambda said, _: f"episode begins: {said.instruction}",
    kinds.EpisodeEnded: lambda said, _: _ended("episode ends", said.outcome, said.reason),
    kinds.MomentStored: lambda said, shown: f"moment stored ({said.model_id}, {len(said.embedding) // 4} values)"
    + "".join(f" {shown(name)}" for name in said.entities),
    kinds.LeaseGranted: lambda said, shown: f"lease {said.epoch} on {shown(said.subtask)} until {said.expires_s:.2f} s",
    kinds.Watermark: lambda said, _: f"the past before {said.before_s:.2f} s is closed",
    kinds.Forgotten: lambda said, _: _forgotten(said),
    kinds.Observed: lambda said, shown: f"observation {shown(said.evidence)}",
}  # fmt: skip
