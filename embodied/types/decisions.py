"""Requests and decisions of policies, moments of their memory, and snapshots and assignments of dispatchers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embodied.geometry import Vector3
from embodied.types.episode import Clock, Episode, Progress
from embodied.types.intents import ControllerReport, Intent, IntentFeedback, MoveTo
from embodied.types.observation import Observation
from embodied.types.world import WorldState

Carry = Mapping[str, Any]
"""What a policy keeps between decisions: names to arrays and plain values, sequences as tuples, mappings within.

It can cross processes (`codec.require_carry`), and the loop refuses anything else.
"""


@dataclass(frozen=True, eq=False)
class Moment:
    """A stored moment of a policy: `embedding` (D,) of unit length, `tokens` (N, D) or None.

    `step` is the step of the request at which it was stored, as the feed returns it; None where it is unknown.
    """

    embedding: np.ndarray
    tokens: np.ndarray | None
    model_id: str
    time_s: float
    position_m: Vector3
    robot: str
    episode: str
    entities: tuple[str, ...] = ()
    step: int | None = None


@dataclass(frozen=True)
class MemoryContext:
    """The moments recalled by the bank for one request, oldest first."""

    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, eq=False)
class Truth:
    """Information for privileged policies alone: experts, guessers, oracle controls.

    `expert` is the expert of the episode's task (`tasks.expert.RobotExpert`), None where the task has none.
    """

    episode: Episode
    state: WorldState
    progress: Progress
    expert: Any = None


HIDDEN_STEP = -1


@dataclass(frozen=True, eq=False)
class Request:
    """One robot requests the next intents from its policy.

    `seed` is this request's own random stream; `carry` is what the policy returned last time, None at first (`Carry`);
    `feedback` is how the robot's last intent ended, None before the first one; `step` counts the robot's intents,
    `HIDDEN_STEP` where the policy may not know; `clock` defines the meaning of times. `history` are the last
    observations that `observation_spec` requires, this one last; there are fewer at the beginning, and none for a
    history of 1. `truth` is None unless the policy is privileged. `hint` is privileged too, and given by the oracle
    control alone: the expert's next keyframe. `visualisations` requests `Decision.visualisations`; it must not change
    the decision.
    """

    observation: Observation
    instruction: str
    step: int
    seed: int
    memory: MemoryContext = MemoryContext()
    carry: Carry | None = None
    feedback: IntentFeedback | None = None
    history: tuple[Observation, ...] = ()
    clock: Clock = Clock.SECONDS
    truth: Truth | None = None
    hint: MoveTo | None = None
    visualisations: bool = False


@dataclass(frozen=True, eq=False)
class Decision:
    """A policy's answer: intents to run in order, moments to store, and the carry for its next request.

    `report` says that the assignment has ended, DONE or FAILED: after the intents the robot holds still until it gets
    another assignment.

    `visualisations` show the inputs and predictions of the policy: uint8 (H, W, 3) by name, only where requested.
    """

    intents: tuple[Intent, ...]
    moments: tuple[Moment, ...] = ()
    carry: Carry | None = None
    report: ControllerReport | None = None
    visualisations: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """A dispatcher's assignment to one robot: an instruction in words, and the name of the subtask that it serves.

    It replaces the robot's present assignment: a running intent is cancelled, and queued intents are dropped.
    """

    instruction: str
    subtask: str = ""


@dataclass(frozen=True)
class Cancel:
    """Ends the present assignment of one robot without giving it another: it then holds still."""

    reason: str = ""


@dataclass(frozen=True)
class RobotStatus:
    """One robot as a dispatcher sees it: its assignment, whether it is busy, and its reports.

    `feedback` is how its last intent ended, `report` is its policy's report on the present assignment; `decisions` and
    `intents` count since the reset.
    """

    assignment: Assignment | None
    busy: bool
    decisions: int
    intents: int
    feedback: IntentFeedback | None = None
    report: ControllerReport | None = None


@dataclass(frozen=True)
class TeamSnapshot:
    """The input of a dispatcher: `time_s` as the episode's clock shows it (None where hidden), and robots by name."""

    instruction: str
    time_s: float | None
    robots: Mapping[str, RobotStatus]
