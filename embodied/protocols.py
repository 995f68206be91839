"""The interfaces of the project on one page. Read this first: every package implements or calls one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from embodied.geometry import Pose
from embodied.specs import ActionSpec, ObservationSpec
from embodied.types import (
    Assignment,
    Cancel,
    Carry,
    Command,
    ControllerReport,
    Decision,
    Episode,
    EpisodeRecord,
    Intent,
    IntentFeedback,
    Observation,
    Progress,
    ReportColumn,
    Request,
    TeamSnapshot,
    WorldChange,
    WorldState,
)

if TYPE_CHECKING:
    from embodied.scenes.scene import Scene


class Simulator(Protocol):
    """A world that advances. Physics and rendering are separate: `advance` renders nothing, `observe` moves nothing."""

    @property
    def control_period_s(self) -> float:
        """Simulated seconds that one `advance` covers."""
        ...

    @property
    def renderer(self) -> str:
        """The renderer, such as `tiny`; it is part of the record of a run."""
        ...

    def reset(self, scene: Scene) -> None:
        """Builds `scene` from scratch, at time 0. Raises `SceneError`, `UnknownNameError`, `PathError`."""
        ...

    def advance(self, commands: Mapping[str, Command]) -> None:
        """Runs one control period; robots without a command keep their last targets.

        Raises `CommandError` before anything moves, and `SimulationError` if a state is no longer finite.
        """
        ...

    def apply(self, changes: Sequence[WorldChange]) -> None:
        """Applies changes that no robot causes, in their order; `state` and `observe` show their effect at once.

        A placed body stays at its pose throughout the next `advance`. Raises `UnknownNameError` and `EventError` before
        anything changes, for changes that do not fit the scene and for those that would move a body that a robot holds,
        or one on which a held body hangs; the loop lets such events wait (see `WorldEvent`).
        """
        ...

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        """Returns what `robot` sees through `cameras`: None for all, () for none. Raises `UnknownNameError`."""
        ...

    def state(self) -> WorldState:
        """Returns the true state."""
        ...

    def save(self) -> Any:
        """Returns a handle on the present instant, valid until the next `reset`."""
        ...

    def restore(self, saved: Any) -> None:
        """Returns to a saved instant: the same commands then give the same states, bit for bit."""
        ...

    def close(self) -> None:
        """Frees the world; calling it twice is harmless."""
        ...


@runtime_checkable
class Teleportable(Protocol):
    """A simulator in which things can be moved instantly between two control periods."""

    def teleport(self, body: str, pose: Pose) -> None:
        """Moves a free body to `pose`, at rest. Raises `UnknownNameError`."""
        ...

    def place(self, state: WorldState) -> None:
        """Sets the world of the present scene to `state`, which may come from another process, without physics.

        Then `state` gives an equal state, and `observe` the same images as in the world from which it comes. Bodies and
        mechanisms are at rest, robots hold what they held, and motors keep everything in place. Raises
        `SimulationError` where names do not fit the scene, or where the world cannot be at rest in that state.
        """
        ...


@runtime_checkable
class Navigable(Protocol):
    """A simulator with a floor plan. Points are world coordinates in metres; bases are discs of `radius_m`.

    Bodies are obstacles at their present poses; robots are not obstacles.
    """

    def is_free(self, point_m: Sequence[float], *, radius_m: float) -> bool:
        """Returns whether a base at (x, y) touches nothing."""
        ...

    def snap(self, point_m: Sequence[float], *, radius_m: float) -> tuple[float, float] | None:
        """Returns the free point nearest to (x, y): itself where it is free, None where no point is."""
        ...

    def geodesic_m(
        self, start_m: Sequence[float], goals_m: Sequence[Sequence[float]], *, radius_m: float
    ) -> tuple[float, ...]:
        """Returns the length of the shortest path from `start_m` (x, y) to each of `goals_m`, infinite for none.

        It keeps `radius_m` from obstacles; lengths are exact to 2 % and 5 cm, symmetric, and never below the distance.
        """
        ...

    def regions_of(self, point_m: Sequence[float]) -> tuple[str, ...]:
        """Returns the names of the regions that contain the point (x, y, z), smallest first."""
        ...


class Task(Protocol):
    """Samples episodes and judges them by pure functions over states, without a simulator."""

    @property
    def name(self) -> str:
        """The task's name in results, such as `put_block_back`."""
        ...

    @property
    def tier(self) -> str:
        """`faithful` or `strict` in MemoryBench, "" where a suite has no tiers."""
        ...

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        """Returns the episode of `seed`: the same in any process and any order."""
        ...

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        """Returns the progress of an episode that starts in `state`."""
        ...

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns the `progress` of an `episode` after one more control period has led to `state`."""
        ...

    @property
    def columns(self) -> tuple[ReportColumn, ...]:
        """The columns of its report beside success."""
        ...

    def chance(self, episode: Episode) -> float | None:
        """Returns the probability that a guess is right in `episode`, in [0, 1]; None where that is not defined."""
        ...

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        """Returns the `progress` of an `episode` after an intent of `robot` failed with `feedback`; it may go on."""
        ...


@runtime_checkable
class ChoiceTask(Task, Protocol):
    """A task at one moment of which memory must choose, with what controls of memory need."""

    def choice_open(self, progress: Progress) -> bool:
        """Returns whether all phases before the choice are reached, so that memory is needed from now on."""
        ...

    def counterfactual(self, episode: Episode) -> Episode:
        """Returns the episode of the same layout and the next variant, under its own id."""
        ...


@runtime_checkable
class ShapedTask(Task, Protocol):
    """A task that knows how far its next phase is: what the shaped rewards of learners are made of."""

    @property
    def phases(self) -> tuple[str, ...]:
        """All phases, in the order in which they are usually completed."""
        ...

    def remaining_m(self, episode: Episode, progress: Progress, state: WorldState) -> float:
        """Returns how far the first phase that `progress` lacks is from `state` in an `episode`, in metres, at least 0.

        It is continuous in `state`, and may depend on what the robot is to remember. No judgement depends on it.
        """
        ...


@runtime_checkable
class ChainTask(Task, Protocol):
    """A task whose episodes form chains, each starting in the final world of the one before.

    With `chain_length` n the seeds k * n to k * n + n - 1 are a chain: its first episode has `after` None, every other
    one the id of the episode of the seed before, and all have the same scene.
    """

    @property
    def chain_length(self) -> int:
        """How many episodes make a chain, at most 16."""
        ...


class Controller(Protocol):
    """The controller of one robot: turns one intent into many commands. Seeded and deterministic."""

    @property
    def handles(self) -> frozenset[type]:
        """The types of intents that it can execute; it refuses all others."""
        ...

    def begin(self, intent: Intent, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts on `intent` in `state`; returns a FAILED report at once where it cannot be done, else None.

        `seed` decides random searches. Raises `IntentError` for malformed intents, such as numbers that are not finite.
        """
        ...

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the command of the next control period, or the report that ends the intent."""
        ...

    def cancel(self) -> ControllerReport:
        """Ends the running intent at once, with a CANCELLED report: the arm keeps its last target, a base stops."""
        ...

    def hold(self) -> Command:
        """Returns the command that keeps the robot still in a period in which it has no intent."""
        ...


class Dispatcher(Protocol):
    """Assigns instructions to the robots of one episode; built for each episode, so it may keep state."""

    @property
    def rate_hz(self) -> float | None:
        """How often it is called in simulated time even without news; None for news alone.

        News are the beginning, an intent that has ended, and an assignment that a policy reports as ended.
        """
        ...

    def assign(self, snapshot: TeamSnapshot) -> Mapping[str, Assignment | Cancel]:
        """Returns the changed assignments by robot; robots left out go on with theirs."""
        ...


class Policy(Protocol):
    """Turns requests into decisions. Built for each episode unless `stateless` is True (`check_policy`)."""

    @property
    def observation_spec(self) -> ObservationSpec:
        """The observations it needs: cameras, their size, and the length of the history."""
        ...

    @property
    def action_spec(self) -> ActionSpec:
        """The space of its intents. With a rated one it gets no steps and times where the clock hides seconds."""
        ...

    @property
    def privileged(self) -> bool:
        """Whether its requests carry `Truth`; reported beside its results."""
        ...

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request, the same as if it came alone. All state is in the carry."""
        ...


@runtime_checkable
class PolicyWrapper(Protocol):
    """A policy that passes requests on to another; it sees steps and time, and gives `inner` what it may see."""

    @property
    def inner(self) -> Policy:
        """The policy that decides."""
        ...


@runtime_checkable
class ResettableMemory(Protocol):
    """The methods of a policy whose carry contains a memory. `carry` is one that `act` has returned."""

    def wiped(self, carry: Carry) -> Carry:
        """Returns the same carry with an empty memory."""
        ...

    def swapped(self, carry: Carry, donor: Carry) -> Carry:
        """Returns the same carry with the memory of the carry `donor`."""
        ...


@runtime_checkable
class HintConditioned(Protocol):
    """The property of a policy that can follow `Request.hint`."""

    @property
    def takes_hints(self) -> bool:
        """Whether it uses the hint as its coarse waypoint; the rest of the decision is its own."""
        ...


@runtime_checkable
class CommandObserver(Protocol):
    """The method of an observer that also gets the commands sent to the motors of all robots."""

    def on_commands(self, commands: Mapping[str, Command]) -> None:
        """Called before every control period with the commands by robot."""
        ...


class Observer(Protocol):
    """Watches an episode without deciding: video, console, recorder."""

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Called after the reset."""
        ...

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Called once per request, before its intents run."""
        ...

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Called whenever an intent of `robot` has ended."""
        ...

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Called after every control period."""
        ...

    def on_end(self, record: EpisodeRecord) -> None:
        """Called once, at the end."""
        ...
