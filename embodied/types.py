"""The vocabulary: frozen values that cross rooms. Metres, radians, seconds since reset; quaternions xyzw; z up.

Arrays are unbatched numpy and must be treated as read-only: those that come from Ray are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from embodied.geometry import Pose, Quaternion, Vector3

if TYPE_CHECKING:
    from embodied.scenes.scene import Scene


# --- What is seen -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One camera at one instant.

    `rgb` uint8 (height, width, 3); `depth_m` float32 (height, width), along the optical axis, 0 where unknown;
    `instance` int32 (height, width), privileged: ids of `Scene.instance_ids()`, 0 background, or None;
    `intrinsics` float64 (3, 3) in pixels; `world_from_camera` float64 (4, 4), camera x right, y down, z forward.
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    instance: np.ndarray | None
    intrinsics: np.ndarray
    world_from_camera: np.ndarray


@dataclass(frozen=True, eq=False)
class Observation:
    """What one robot perceives.

    `proprio` float32 (Q,), laid out by `specs.proprio_layout`; `gripper` is the opening, 0 closed to 1 open;
    `time_s` is what the episode's clock shows: None where the task hides time.
    """

    robot: str
    images: Mapping[str, CameraImage]
    proprio: np.ndarray
    gripper: float
    time_s: float | None


# --- What is wanted ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MoveTo:
    """Bring the tool to a pose in the world frame, then open or close the gripper: one keyframe.

    The tool frame lies between the finger tips: z along the approach, y along the direction in which they open.
    """

    position_m: Vector3
    orientation: Quaternion
    gripper_open: bool
    avoid_collisions: bool = True


@dataclass(frozen=True)
class DeltaPose:
    """Shift the tool by `translation_m` and turn it by `rotation` (axis-angle, radians), both in the world frame."""

    translation_m: Vector3
    rotation: Vector3
    gripper_open: bool


@dataclass(frozen=True)
class Drive:
    """Hold a base velocity for a while: forward in m/s, counter-clockwise in rad/s."""

    linear_mps: float
    angular_radps: float
    duration_s: float


@dataclass(frozen=True)
class GoTo:
    """Bring the base to (x, y) in the world frame, facing `yaw_rad` where one is given."""

    position_m: tuple[float, float]
    yaw_rad: float | None = None


@dataclass(frozen=True)
class Skill:
    """Run a named skill of the robot with JSON-like arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """Hold still."""

    duration_s: float


Intent = MoveTo | DeltaPose | Drive | GoTo | Skill | Wait


@dataclass(frozen=True, eq=False)
class Command:
    """What one robot's motors are asked for during one control period; None leaves that part as it is.

    `joint_position_rad` (J,) targets of the arm; `gripper` opening in [0, 1]; `base_velocity` (2,) forward m/s and
    counter-clockwise rad/s.
    """

    joint_position_rad: np.ndarray | None = None
    gripper: float | None = None
    base_velocity: np.ndarray | None = None


class ControllerStatus(StrEnum):
    """How a controller ended."""

    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class ControllerReport:
    """The end of an intent; `reason` says why it failed, in words."""

    status: ControllerStatus
    reason: str = ""


# --- What is true -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RobotState:
    """One robot, privileged. `joint_position_rad` and `joint_velocity_radps` (J,) of the arm, J = 0 without one.

    `tool` is the pose of the tool frame in the world, None without an arm; `gripper` the opening in [0, 1].
    """

    joint_position_rad: np.ndarray
    joint_velocity_radps: np.ndarray
    tool: Pose | None
    gripper: float
    base: Pose


@dataclass(frozen=True, eq=False)
class WorldState:
    """Everything that is true now. Privileged: it never leaves the worker, and only tasks and experts read it.

    `pose` by body name; `joint` by scene joint name, m or rad; `contact` pairs of body or robot names, sorted within
    the pair; `held` by robot name: the grasped body or None.
    """

    time_s: float
    pose: Mapping[str, Pose]
    joint: Mapping[str, float]
    contact: frozenset[tuple[str, str]]
    held: Mapping[str, str | None]
    robots: Mapping[str, RobotState]


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


# --- What is remembered and decided -----------------------------------------------------------------------------------


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
    """What only privileged policies are shown: experts, guessers, oracle controls."""

    episode: Episode
    state: WorldState
    progress: Progress


@dataclass(frozen=True, eq=False)
class Request:
    """One robot asks its policy for the next intents.

    `seed` is this request's own random stream; `carry` is what the policy returned last time, None at first;
    `truth` is None unless the policy is privileged. `hint` is privileged too, and given by the oracle control alone:
    where the expert would go now. `visualisations` asks for `Decision.visualisations`; it must not change what is
    decided.
    """

    observation: Observation
    instruction: str
    step: int
    seed: int
    memory: MemoryContext = MemoryContext()
    carry: Any = None
    truth: Truth | None = None
    hint: MoveTo | None = None
    visualisations: bool = False


@dataclass(frozen=True, eq=False)
class Decision:
    """A policy's answer: intents to run in order, moments to store, and the state to hand back next time.

    `visualisations` is what the policy saw and meant, for people: uint8 (H, W, 3) by name, only where it was asked for.
    """

    intents: tuple[Intent, ...]
    moments: tuple[Moment, ...] = ()
    carry: Any = None
    visualisations: Mapping[str, np.ndarray] = field(default_factory=dict)


NORMAL = "normal"  # The control that changes nothing.


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
