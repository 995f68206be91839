"""What a policy is asked, what it remembers, and what it answers; what a dispatcher sees and assigns."""

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
    """What a policy remembers of one instant: `embedding` (D,) of unit length, `tokens` (N, D) or None.

    `step` is that of the request at which it was stored, as the feed gives it back; None where that is not known.
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
    """What the bank recalled for one request, oldest first."""

    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, eq=False)
class Truth:
    """What only privileged policies are shown: experts, guessers, oracle controls.

    `expert` is that of the episode's task (`tasks.expert.RobotExpert`), None where the task has none.
    """

    episode: Episode
    state: WorldState
    progress: Progress
    expert: Any = None


HIDDEN_STEP = -1


@dataclass(frozen=True, eq=False)
class Request:
    """One robot asks its policy for the next intents.

    `seed` is this request's own random stream; `carry` is what the policy returned last time, None at first (`Carry`);
    `feedback` is how the robot's last intent ended, None before the first one; `step` counts the robot's intents,
    `HIDDEN_STEP` where the policy may not know; `clock` says what times mean. `history` are the last observations that
    `observation_spec` asks for, this one last; there are fewer at the beginning, and none for a history of 1.
    `truth` is None unless the policy is privileged. `hint` is privileged too, and given by the oracle control alone:
    where the expert would go now. `visualisations` asks for `Decision.visualisations`; it must not change what is
    decided.
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
    """A policy's answer: intents to run in order, moments to store, and the state to hand back next time.

    `report` says that the assignment has ended, DONE or FAILED: after the intents the robot holds still until it gets
    another assignment.

    `visualisations` is what the policy saw and meant, for people: uint8 (H, W, 3) by name, only where it was asked for.
    """

    intents: tuple[Intent, ...]
    moments: tuple[Moment, ...] = ()
    carry: Carry | None = None
    report: ControllerReport | None = None
    visualisations: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """What a dispatcher asks of one robot: an instruction in words, and the name of the subtask that it serves.

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
    """What a dispatcher sees of one robot: what it was assigned, whether it is busy, and what it has reported.

    `feedback` is how its last intent ended, `report` what its policy has reported of the present assignment;
    `decisions` and `intents` count since the reset.
    """

    assignment: Assignment | None
    busy: bool
    decisions: int
    intents: int
    feedback: IntentFeedback | None = None
    report: ControllerReport | None = None


@dataclass(frozen=True)
class TeamSnapshot:
    """What a dispatcher sees: `time_s` as the episode's clock shows it (None where hidden), and robots by name."""

    instruction: str
    time_s: float | None
    robots: Mapping[str, RobotStatus]
