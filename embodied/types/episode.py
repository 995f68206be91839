"""One instance of a task, its progress, and the record of its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from embodied.errors import GoalError
from embodied.types.events import WorldEvent
from embodied.types.goals import Choice, Goal

if TYPE_CHECKING:
    from embodied.scenes.scene import Scene

NORMAL = "normal"  # The control under which the policy is unchanged.


class Outcome(StrEnum):
    """The outcome of an episode."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    INVALID = "invalid"


@dataclass(frozen=True)
class Progress:
    """The progress of an episode: `reached` are the phases completed, in the order of completion.

    `choice` names the candidate that was touched first once memory was needed, None before that and where the goal is
    not a choice. `metrics` are further measurements of the task, by name.
    """

    outcome: Outcome = Outcome.RUNNING
    reason: str = ""
    reached: tuple[str, ...] = ()
    choice: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def phase(self) -> int:
        """Number of phases completed."""
        return len(self.reached)

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.outcome is not Outcome.RUNNING


class Clock(StrEnum):
    """The meaning of `Observation.time_s`. Durations of moves can reveal past actions; keyframe counts do not."""

    SECONDS = "seconds"
    KEYFRAMES = "keyframes"
    HIDDEN = "hidden"


@dataclass(frozen=True)
class Limits:
    """The limits beyond which an episode ends as TIMEOUT.

    `decisions` and `intents` of any one robot, and simulated seconds. None is no limit. Raises `GoalError`.
    """

    decisions: int | None = None
    intents: int | None = None
    sim_time_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("decisions", self.decisions), ("intents", self.intents), ("sim_time_s", self.sim_time_s)):
            if value is not None and not (isfinite(value) and value > 0):
                raise GoalError(f"`{name}` of an episode's limits must be positive, or None.", value=value)


@dataclass(frozen=True)
class Episode:
    """One instance of a task: enough to replay it bit for bit.

    `tier` is "" where a suite has none. `instruction` is for every robot, except those that have one of their own in
    `instructions`, by name. `events` change the world independently of robots, in the same way in every simulator; no
    policy sees them. `after` names the episode whose final world and memory this one starts from, None for a world of
    its own. `placement_noise_m` and `placement_noise_rad` bound the uniform error of every transport (see
    `rollout.action_noise`), so that a policy that aims at the middle leaves no trace; traces left on purpose are not
    excluded.
    """

    id: str
    task: str
    tier: str
    variant: int
    seed: int
    split: str
    instruction: str
    scene: Scene
    goal: Goal
    limits: Limits = Limits()
    clock: Clock = Clock.SECONDS
    placement_noise_m: float = 0.0
    placement_noise_rad: float = 0.0
    instructions: Mapping[str, str] = field(default_factory=dict)
    events: tuple[WorldEvent, ...] = ()
    after: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the whole content of the episode, events included: equal for equal episodes, in any process."""
        # Of goals the fields alone are written.
        return sha256(msgspec.json.encode([type(self.goal).__name__, self], order="sorted")).hexdigest()

    def instruction_of(self, robot: str) -> str:
        """Returns the instruction of `robot`."""
        return self.instructions.get(robot, self.instruction)

    @property
    def choice_goal(self) -> Choice:
        """The goal, where it is a choice. Raises `GoalError` for a goal of another kind."""
        if isinstance(self.goal, Choice):
            return self.goal
        raise GoalError(
            f"The goal of episode {self.id!r} must be a choice among candidates here.",
            value=type(self.goal).__name__,
            remedy="Use a task whose episodes have a `Choice`.",
        )


@dataclass(frozen=True)
class RobotRecord:
    """The record of one robot in an episode: the name of its policy ("" for that of the record), and counts.

    `failed` and `cancelled` are those among its `intents` that ended so.
    """

    policy: str
    decisions: int
    intents: int
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class EpisodeRecord:
    """One finished episode, as a row of `episodes.jsonl`.

    `phases` are those reached, in order; `choice` is `{"chosen", "target", "correct"}` or None; `steps` counts intents
    run; `wall_s` and `attempt` are the only fields that may differ between two runs of the same seed. `control` is the
    control of the policy's memory; where it was exchanged, `donor` is the target of the episode from which it came,
    None where that one did not reach its choice. `metrics` are those of the final progress; `robots` has the record of
    each robot of a team, and is empty for a single robot. `on_failure` is the effect of a failed intent, where it
    differs from the task's default. `chain` names the first episode of the chain that this one belongs to, "" for a
    single episode.
    """

    run: str
    episode: str
    attempt: int
    task: str
    tier: str
    policy: str
    variant: int
    seed: int
    outcome: Outcome
    reason: str
    phases: tuple[str, ...]
    choice: Mapping[str, Any] | None
    steps: int
    sim_time_s: float
    wall_s: float
    control: str = NORMAL
    donor: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    robots: Mapping[str, RobotRecord] = field(default_factory=dict)
    on_failure: str = ""
    chain: str = ""

    @property
    def task_and_tier(self) -> str:
        """The name of the task in reports: `<task>/<tier>`, or `<task>` where a suite has no tiers."""
        return named(self.task, self.tier)

    @property
    def unit(self) -> str:
        """The unit that is independent of all other records of the same task, policy and control.

        Its chain, or itself.
        """
        return self.chain or self.episode


def named(task: str, tier: str) -> str:
    """Returns `<task>/<tier>`, or `task` alone where there is no tier."""
    return f"{task}/{tier}" if tier else task
