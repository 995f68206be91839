"""The one loop: a policy decides, controllers move, the task judges."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from embodied.errors import ConfigError, EmbodiedError, IntentError, MissingDependencyError, unknown_name
from embodied.protocols import Controller, Observer, Policy, Simulator, Task
from embodied.rollout.action_noise import with_action_noise
from embodied.rollout.recording.video_observer import SPECTATOR
from embodied.scenes.scene import Scene
from embodied.seeding import derive_seed
from embodied.types import (
    Clock,
    Command,
    ControllerReport,
    ControllerStatus,
    Decision,
    Episode,
    Intent,
    Observation,
    Outcome,
    Progress,
    Request,
    Truth,
    WorldState,
)

TIME_SLACK_S = 1e-9
CONTROLLER_FAILED = "controller: "  # How the reason of a FAILURE begins that a controller has reported.
BEFORE_RESET = WorldState(time_s=0.0, pose={}, joint={}, contact=frozenset(), held={}, robots={})


@dataclass(frozen=True, eq=False)
class EpisodeContext:
    """Who takes part, alive in this process. `make_controllers` gives one controller per robot of an episode.

    With `visualisations` the policy is asked to show what it sees and means.
    """

    simulator: Simulator
    task: Task
    policy: Policy
    make_controllers: Callable[[Episode], Mapping[str, Controller]]
    visualisations: bool = False


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended: `steps` counts the intents begun by all robots, `sim_time_s` the simulated seconds."""

    progress: Progress
    steps: int
    sim_time_s: float


def play(episode: Episode, stage: EpisodeContext, *, observers: Sequence[Observer] = ()) -> EpisodeResult:
    """Plays `episode` from its reset to its outcome.

    The task's status comes first; then TIMEOUT at `episode.keyframe_limit` intents of one robot or at
    `episode.time_limit_s`; a FAILED controller report is a FAILURE, as in the published evaluation. Whatever else the
    episode's own parts raise (`EmbodiedError`) makes it INVALID with the error as its reason; the simulator is as good
    as new after its next reset. Raises `ConfigError` and `MissingDependencyError`, which no other episode would escape.
    """
    performance = EpisodeRunner(episode, stage, observers)
    performance.begin()
    while not performance.progress.done:
        performance.advance()
    return performance.ending()


class _EndedError(Exception):
    """The episode is over for a reason that the task does not judge."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(eq=False)
class _RobotSlot:
    """One robot's place in the loop."""

    controller: Controller
    queue: deque[Intent] = field(default_factory=deque)
    running: bool = False
    steps: int = 0
    grasps: int = 0
    carry: Any = None

    @property
    def idle(self) -> bool:
        return not self.running and not self.queue


class EpisodeRunner:
    """One episode in progress: `begin`, then `advance` until `progress.done`. See `play` for how it may end.

    Whatever else the policy raises passes through, and `advance` then asks it again: so an outsider can decide.
    """

    def __init__(self, episode: Episode, stage: EpisodeContext, observers: Sequence[Observer] = ()) -> None:
        self.progress = Progress()
        self._episode = episode
        self._stage = stage
        self._observers = observers
        self._jointed = frozenset(joint.child for joint in episode.scene.joints)
        self._cameras = tuple(camera.name for camera in episode.scene.cameras if camera.name != SPECTATOR)
        self._slots: dict[str, _RobotSlot] = {}
        self._state = BEFORE_RESET

    def begin(self) -> None:
        """Resets the world and lets the task look at it."""
        with self._ends():
            self._begin()

    def advance(self) -> None:
        """Runs one control period: the idle ask, controllers command, the world moves, the task judges."""
        with self._ends():
            self._advance()

    def ending(self) -> EpisodeResult:
        """Returns how it stands."""
        steps = sum(seat.steps for seat in self._slots.values())
        return EpisodeResult(self.progress, steps, self._state.time_s)

    @contextmanager
    def _ends(self) -> Iterator[None]:
        """Turns what ends an episode into its outcome; what was reached is kept."""
        try:
            yield
        except _EndedError as ended:
            self.progress = replace(self.progress, outcome=ended.outcome, reason=ended.reason)
        except (ConfigError, MissingDependencyError):
            raise
        except EmbodiedError as error:
            reason = f"{type(error).__name__}: {error}"
            self.progress = replace(self.progress, outcome=Outcome.INVALID, reason=reason)

    def _begin(self) -> None:
        require_cameras(self._episode.scene, self._stage.policy.cameras, user="the policy")
        self._stage.simulator.reset(self._episode)
        controllers = self._stage.make_controllers(self._episode)
        self._slots = {robot.name: _RobotSlot(controllers[robot.name]) for robot in self._episode.scene.robots}
        state = self._see()
        self.progress = self._stage.task.begin(self._episode, state)
        for observer in self._observers:
            observer.on_begin(self._episode, self._stage.simulator)

    def _advance(self) -> None:
        self._stage.simulator.advance(self._commands())
        state = self._see()
        self.progress = self._stage.task.advance(self._episode, self.progress, state)
        for observer in self._observers:
            observer.on_step(state, self.progress)
        limit_s = self._episode.time_limit_s
        if not self.progress.done and state.time_s >= limit_s - TIME_SLACK_S:
            raise _EndedError(Outcome.TIMEOUT, f"time limit of {limit_s:g} s")

    def _see(self) -> WorldState:
        """Reads the state and counts new grasps of free bodies."""
        state = self._stage.simulator.state()
        for name, seat in self._slots.items():
            body = state.held.get(name)
            if body != self._state.held.get(name) and self._is_free(body):
                seat.grasps += 1
        self._state = state
        return state

    def _is_free(self, body: str | None) -> bool:
        return body is not None and body not in self._jointed

    def _commands(self) -> dict[str, Command]:
        """Returns one command per robot; robots that run out of intents ask together, as one batch."""
        commands: dict[str, Command] = {}
        waiting = list(self._slots)
        while waiting:
            askers = [name for name in waiting if self._slots[name].idle]
            if askers:
                self._decide(askers)
            for name in waiting:
                command = self._next_command(name)
                if command is not None:
                    commands[name] = command
            waiting = [name for name in waiting if name not in commands]
        return commands

    def _decide(self, robots: Sequence[str]) -> None:
        for robot in robots:
            self._require_keyframes_left(robot)
        requests = [self._request(name) for name in robots]
        decisions = self._stage.policy.act(requests)
        if len(decisions) != len(requests):
            raise IntentError(f"A policy must answer all {len(requests)} requests.", value=len(decisions))
        for request, decision in zip(requests, decisions, strict=True):
            self._accept(request, decision)

    def _accept(self, request: Request, decision: Decision) -> None:
        robot = request.observation.robot
        if not decision.intents:
            raise IntentError(
                "A decision must hold at least one intent.", value=robot, remedy="Return `Wait` to hold still."
            )
        self._slots[robot].queue.extend(decision.intents)
        self._slots[robot].carry = decision.carry
        for observer in self._observers:
            observer.on_decision(request, decision)

    def _request(self, robot: str) -> Request:
        seat, policy = self._slots[robot], self._stage.policy
        cameras = self._cameras if policy.cameras is None else policy.cameras
        observation = self._stage.simulator.observe(robot, cameras)
        return Request(
            observation=masked(observation, self._episode.clock, step=seat.steps, privileged=policy.privileged),
            instruction=self._episode.instruction,
            step=seat.steps,
            seed=derive_seed(self._episode.seed, "policy", robot, seat.steps),
            carry=seat.carry,
            truth=Truth(self._episode, self._state, self.progress) if policy.privileged else None,
            visualisations=self._stage.visualisations,
        )

    def _next_command(self, robot: str) -> Command | None:
        """Returns the robot's command, or None once it has no intents left."""
        seat = self._slots[robot]
        while not seat.idle:
            if not seat.running:
                self._start(robot)
            answer = seat.controller.tick(self._state)
            if isinstance(answer, Command):
                return answer
            seat.running = False
            _require_done(answer)
        return None

    def _start(self, robot: str) -> None:
        self._require_keyframes_left(robot)
        seat = self._slots[robot]
        intent = seat.queue.popleft()
        if self._is_free(self._state.held.get(robot)):
            intent = with_action_noise(self._episode, robot, grasp_count=seat.grasps, intent=intent)
        seed = derive_seed(self._episode.seed, "controller", robot, seat.steps)
        seat.steps += 1
        report = seat.controller.begin(intent, self._state, seed=seed)
        if report is not None:
            _require_done(report)
        seat.running = True

    def _require_keyframes_left(self, robot: str) -> None:
        if self._slots[robot].steps >= self._episode.keyframe_limit:
            raise _EndedError(Outcome.TIMEOUT, f"keyframe limit of {self._episode.keyframe_limit}")


def require_cameras(scene: Scene, names: Sequence[str] | None, *, user: str) -> None:
    """Raises `ConfigError` unless `scene` has every camera that `user` names; None stands for all there are."""
    known = [camera.name for camera in scene.cameras if camera.name != SPECTATOR]
    for name in names or ():
        if name not in known:
            remedy = unknown_name("camera", name, known).remedy
            raise ConfigError(f"A camera of {user} must be one of scene {scene.name!r}.", value=name, remedy=remedy)


def masked(observation: Observation, clock: Clock, *, step: int, privileged: bool) -> Observation:
    """Returns what a policy may see: time as `clock` shows it, instance images only for the privileged."""
    time_s = {Clock.SECONDS: observation.time_s, Clock.KEYFRAMES: float(step), Clock.HIDDEN: None}[clock]
    shown = observation if privileged else without_instances(observation)
    return replace(shown, time_s=time_s)


def without_instances(observation: Observation) -> Observation:
    """Returns the observation without instance images, which only the privileged may see."""
    images = {name: replace(image, instance=None) for name, image in observation.images.items()}
    return replace(observation, images=images)


def _require_done(report: ControllerReport) -> None:
    if report.status is ControllerStatus.FAILED:
        raise _EndedError(Outcome.FAILURE, f"{CONTROLLER_FAILED}{report.reason}")
