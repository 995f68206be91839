"""One instance of a task, how far it has come, and the record of how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embodied.scenes.scene import Scene

NORMAL = "normal"  # The control that changes nothing.


class Outcome(StrEnum):
    """How an episode stands."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    INVALID = "invalid"


@dataclass(frozen=True)
class Progress:
    """How far an episode has come: `reached` are the phases completed, in the order of completion.

    `first_choice` names the candidate that was touched first once memory was needed, None before that.
    """

    outcome: Outcome = Outcome.RUNNING
    reason: str = ""
    reached: tuple[str, ...] = ()
    first_choice: str | None = None

    @property
    def phase(self) -> int:
        """Number of phases completed."""
        return len(self.reached)

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.outcome is not Outcome.RUNNING


class Clock(StrEnum):
    """What `Observation.time_s` shows. Durations of moves can betray what was done; keyframe counts do not."""

    SECONDS = "seconds"
    KEYFRAMES = "keyframes"
    HIDDEN = "hidden"


@dataclass(frozen=True)
class Episode:
    """One instance of a task: enough to replay it bit for bit.

    `candidates` are the entities among which memory must choose, `target` the right one: chance is 1 / len.
    `placement_noise_m` and `placement_noise_rad` bound the uniform error of every transport (see
    `rollout.disturbance`), so that a policy that aims at the middle leaves no trace; deliberate notes in the
    world are not ruled out.
    """

    id: str
    task: str
    tier: str
    variation: int
    seed: int
    split: str
    instruction: str
    scene: Scene
    target: str
    candidates: tuple[str, ...]
    time_limit_s: float
    keyframe_limit: int = 25
    clock: Clock = Clock.SECONDS
    placement_noise_m: float = 0.0
    placement_noise_rad: float = 0.0


@dataclass(frozen=True)
class RobotRecord:
    """What one robot did in an episode: the name of its policy ("" for that of the record), and counts.

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

    `phases` are those reached, in order; `first_choice` is `{"chosen", "target", "correct"}` or None; `steps` counts
    intents run; `wall_s` and `attempt` are the only fields that may differ between two runs of the same seed.
    `control` says what was done to the policy's memory; where it was exchanged, `donor` is the target of the episode
    that it came from, None where that one never came to its choice.
    """

    run: str
    episode: str
    attempt: int
    task: str
    tier: str
    policy: str
    variation: int
    seed: int
    outcome: Outcome
    reason: str
    phases: tuple[str, ...]
    first_choice: Mapping[str, Any] | None
    steps: int
    sim_time_s: float
    wall_s: float
    control: str = NORMAL
    donor: str | None = None
