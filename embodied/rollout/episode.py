"""The one loop: policies decide, controllers move, the task judges."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from embodied.errors import ConfigError, EmbodiedError, IntentError, MissingDependencyError
from embodied.protocols import CommandObserver, Controller, Dispatcher, Observer, Policy, Simulator, Task
from embodied.rollout.action_noise import moved_holder, release_errors, with_action_noise
from embodied.rollout.chain import require_right_world
from embodied.rollout.dispatch import TIME_SLACK_S, Dispatch
from embodied.rollout.job import EpisodeResult
from embodied.rollout.latency import Latency
from embodied.rollout.requests import ObservationHistory, as_seen, check_policy_fits, masked, policy_cameras
from embodied.rollout.team import Agent, RobotSlot, agents_of
from embodied.rollout.world_events import EventPlayer
from embodied.seeding import derive_seed
from embodied.types import (
    Assignment,
    Clock,
    Command,
    ControllerReport,
    ControllerStatus,
    Decision,
    Episode,
    IntentFeedback,
    MoveTo,
    Observation,
    Outcome,
    Progress,
    Request,
    Truth,
    WorldState,
    holder_name,
)

BEFORE_RESET = WorldState(time_s=0.0, pose={}, joint={}, contact=frozenset(), held={}, robots={})


@dataclass(frozen=True, eq=False)
class EpisodeContext:
    """Who takes part, alive in this process. `make_controllers` gives one controller per robot of an episode.

    `policy` decides for every robot without an agent of its own in `agents`. Without `make_dispatcher` every robot has
    the episode's instruction from the start; with one, robots wait for their assignments. With `latency` the world
    goes on while policies and the dispatcher decide. With `visualisations` policies are asked to show what they see.
    With `continue_world` the simulator is not reset; the limit of time counts from there.
    """

    simulator: Simulator
    task: Task
    policy: Policy
    make_controllers: Callable[[Episode], Mapping[str, Controller]]
    visualisations: bool = False
    continue_world: bool = False
    agents: Mapping[str, Agent] = field(default_factory=dict)
    make_dispatcher: Callable[[Episode], Dispatcher] | None = None
    latency: Latency | None = None


def play(episode: Episode, context: EpisodeContext, *, observers: Sequence[Observer] = ()) -> EpisodeResult:
    """Plays `episode` from its reset to its outcome.

    The task's judgement comes first; then TIMEOUT at a limit of the episode. A failed intent is feedback for the
    policy and the dispatcher; the task decides whether it ends the episode. Whatever else the episode's own parts raise
    (`EmbodiedError`) makes it INVALID with the error as its reason; the simulator is as good as new after its next
    reset. Raises `ConfigError` and `MissingDependencyError`, which no other episode would escape.
    """
    runner = EpisodeRunner(episode, context, observers)
    runner.begin()
    while not runner.progress.done:
        runner.advance()
    return runner.result()


class _EndedError(Exception):
    """The episode is over for a reason that the task does not judge."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class EpisodeRunner:
    """One episode in progress: `begin`, then `advance` until `progress.done`. See `play` for how it may end.

    Whatever else a policy raises passes through, and `advance` then asks it again: so an outsider can decide.
    """

    def __init__(self, episode: Episode, context: EpisodeContext, observers: Sequence[Observer] = ()) -> None:
        self.progress = Progress()
        self._episode = episode
        self._context = context
        self._observers = observers
        self._command_observers = [one for one in observers if isinstance(one, CommandObserver)]
        self._jointed = frozenset(joint.child for joint in episode.scene.joints)
        self._slots: dict[str, RobotSlot] = {}
        self._events = EventPlayer(episode)
        self._state = BEFORE_RESET
        self._start_s = 0.0  # Of simulated time, at the beginning of the episode.
        self._grasps: Counter[str] = Counter()  # Of free bodies, by holder.
        self._dispatch: Dispatch | None = None

    def begin(self) -> None:
        """Resets the world and lets the task look at it."""
        with self._ends():
            self._begin()

    def advance(self) -> None:
        """Runs one control period: idle robots ask, controllers command, the world moves, the task judges."""
        with self._ends():
            self._advance()

    def result(self) -> EpisodeResult:
        """Returns how it stands."""
        robots = {name: slot.record for name, slot in self._slots.items()}
        steps = sum(one.intents for one in robots.values())
        return EpisodeResult(self.progress, steps, self._state.time_s - self._start_s, robots)

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
        context, episode = self._context, self._episode
        agents = agents_of(episode, context.policy, context.agents)
        period_s = context.simulator.control_period_s
        for agent in agents.values():
            check_policy_fits(episode.scene, agent.policy, cameras=agent.wanted_cameras, period_s=period_s)
        require_right_world(episode, continued=context.continue_world)
        self._events.reset(context.simulator, continued=context.continue_world)
        controllers = context.make_controllers(episode)
        for name, agent in agents.items():
            own = episode.instruction_of(name) if agent.instruction is None else agent.instruction
            assignment = Assignment(own) if context.make_dispatcher is None else None
            history = ObservationHistory(agent.policy.observation_spec, period_s)
            self._slots[name] = RobotSlot(name, agent, controllers[name], assignment, history)
        if context.make_dispatcher is not None:
            self._dispatch = Dispatch(
                context.make_dispatcher(episode), episode, self._slots, self._publish, latency=context.latency
            )
        state = self._see()
        self._start_s = state.time_s
        self.progress = context.task.begin(episode, state)
        for observer in self._observers:
            observer.on_begin(episode, context.simulator)

    def _advance(self) -> None:
        if self._dispatch is not None:
            self._dispatch.advance(self._state)
        commands = self._commands()
        if self.progress.done:  # A failed intent has ended it; nothing moves any more.
            return
        for observer in self._command_observers:
            observer.on_commands(commands)
        self._events.advance(self._context.simulator, commands, self._state, self.progress)
        state = self._see()
        self.progress = self._context.task.advance(self._episode, self.progress, state)
        for observer in self._observers:
            observer.on_step(state, self.progress)
        limit_s = self._episode.limits.sim_time_s
        if limit_s is not None and not self.progress.done and state.time_s - self._start_s >= limit_s - TIME_SLACK_S:
            raise _EndedError(Outcome.TIMEOUT, f"time limit of {limit_s:g} s")

    def _see(self) -> WorldState:
        """Reads the state and counts new grasps of free bodies."""
        state = self._context.simulator.state()
        for holder, body in state.held.items():
            if body != self._state.held.get(holder) and self._is_free(body):
                self._grasps[holder] += 1
        self._state = state
        for slot in self._slots.values():
            if slot.history.is_due(state.time_s):
                slot.history.keep(state.time_s, self._observe(slot))
        return state

    def _observe(self, slot: RobotSlot) -> Observation:
        """Returns what a robot perceives now; an observation that its history has just taken serves again."""
        kept = slot.history.at(self._state.time_s)
        cameras = policy_cameras(self._episode.scene, slot.robot, slot.agent.wanted_cameras)
        return self._context.simulator.observe(slot.robot, cameras) if kept is None else kept

    def _is_free(self, body: str | None) -> bool:
        return body is not None and body not in self._jointed

    def _commands(self) -> dict[str, Command]:
        """Returns the commands of this period; robots that run out of intents ask together, one batch per policy.

        A robot whose intent has failed, or that waits for a decision or an assignment, holds still.
        """
        commands: dict[str, Command] = {}
        waiting = list(self._slots)
        while waiting and not self.progress.done:
            self._deliver(waiting)
            self._decide([name for name in waiting if self._slots[name].asks])
            self._deliver(waiting)
            still = []
            for name in waiting:
                command = None if self.progress.done else self._next_command(name)
                if isinstance(command, Command):
                    commands[name] = command
                elif command is None and self._slots[name].asks:
                    still.append(name)
            waiting = still
        idle = {name: slot.controller.hold() for name, slot in self._slots.items() if name not in commands}
        return {**commands, **idle}

    def _decide(self, robots: Sequence[str]) -> None:
        """Asks the policies of idle robots; the same policy answers for all of its robots at once."""
        for robot in robots:
            self._require_decisions_left(robot)
        by_policy: dict[int, list[str]] = {}
        for robot in robots:
            by_policy.setdefault(id(self._slots[robot].agent.policy), []).append(robot)
        for group in by_policy.values():
            requests = [self._request(robot) for robot in group]
            policy = self._slots[group[0]].agent.policy
            decisions = policy.act([as_seen(request, policy) for request in requests])
            if len(decisions) != len(requests):
                raise IntentError(f"A policy must answer all {len(requests)} requests.", value=len(decisions))
            for request, decision in zip(requests, decisions, strict=True):
                slot = self._slots[request.observation.robot]
                due_s = self._state.time_s + self._delay_s(slot.robot, slot.decisions)
                slot.decisions += 1
                slot.pending = (due_s, request, decision)

    def _deliver(self, robots: Sequence[str]) -> None:
        """Hands over the decisions that are due by now."""
        for name in robots:
            slot = self._slots[name]
            if slot.pending is not None and self._state.time_s >= slot.pending[0] - TIME_SLACK_S:
                (_, request, decision), slot.pending = slot.pending, None
                self._accept(slot, request, decision)

    def _accept(self, slot: RobotSlot, request: Request, decision: Decision) -> None:
        if not decision.intents and decision.report is None:
            raise IntentError(
                "A decision must hold at least one intent.",
                value=slot.robot,
                remedy="Return `Wait` to hold still, or report that the assignment has ended.",
            )
        slot.queue.extend(decision.intents)
        slot.carry = decision.carry
        if decision.report is not None:
            slot.report = decision.report
            self._note_news()
        for observer in self._observers:
            observer.on_decision(request, decision)

    def _request(self, robot: str) -> Request:
        slot, episode = self._slots[robot], self._episode
        policy, assignment = slot.agent.policy, slot.assignment
        past_clock = Clock.HIDDEN if episode.clock is Clock.KEYFRAMES else episode.clock
        seen = masked(self._observe(slot), episode.clock, step=slot.intents, privileged=policy.privileged)
        past = [
            masked(observation, past_clock, step=slot.intents, privileged=policy.privileged)
            for observation in slot.history.before(self._state.time_s)
        ]
        return Request(
            observation=seen,
            history=(*past, seen) if policy.observation_spec.history > 1 else (),
            clock=episode.clock,
            instruction=episode.instruction_of(robot) if assignment is None else assignment.instruction,
            step=slot.intents,
            seed=derive_seed(episode.seed, "policy", robot, slot.intents),
            carry=slot.carry,
            feedback=slot.feedback,
            truth=Truth(episode, self._state, self.progress) if policy.privileged else None,
            visualisations=self._context.visualisations,
        )

    def _next_command(self, robot: str) -> Command | IntentFeedback | None:
        """Returns the robot's command; the feedback of an intent that has failed; None once it has no intents left."""
        slot = self._slots[robot]
        while slot.running is not None or slot.queue:
            answer = self._start(slot) if slot.running is None else None
            answer = slot.controller.tick(self._state) if answer is None else answer
            if isinstance(answer, Command):
                return answer if isinstance(slot.running, MoveTo) else self._with_release_error(slot, answer)
            feedback = self._end_intent(slot, answer)
            if feedback.status is not ControllerStatus.DONE:
                return feedback
        return None

    def _with_release_error(self, slot: RobotSlot, command: Command) -> Command:
        """Adds the placement error of free bodies that this command may release; a `MoveTo` carries its own."""
        state, robot = self._state, slot.robot
        only = len(state.robots[robot].end_effectors) < 2
        names = {holder_name(robot, name, only=only): name for name in state.robots[robot].end_effectors}
        held = {holder: self._grasps[holder] for holder in names if self._is_free(state.held.get(holder))}
        errors = release_errors(self._episode, held) if held and command.gripper is not None else {}
        if not errors:
            return command
        return replace(command, release_error={names[holder]: error for holder, error in errors.items()})

    def _start(self, slot: RobotSlot) -> ControllerReport | None:
        self._require_intents_left(slot.robot)
        intent = slot.queue.popleft()
        holder = moved_holder(self._state, slot.robot, intent)
        if self._is_free(self._state.held.get(holder)):
            intent = with_action_noise(self._episode, holder, grasp_count=self._grasps[holder], intent=intent)
        seed = derive_seed(self._episode.seed, "controller", slot.robot, slot.intents)
        slot.intents += 1
        slot.running = intent
        return slot.controller.begin(intent, self._state, seed=seed)

    def _end_intent(self, slot: RobotSlot, report: ControllerReport) -> IntentFeedback:
        feedback = slot.end_intent(report)
        self._publish(slot.robot, feedback)
        if feedback.status is ControllerStatus.FAILED:
            self.progress = self._context.task.after_failure(self._episode, self.progress, feedback, slot.robot)
        return feedback

    def _publish(self, robot: str, feedback: IntentFeedback) -> None:
        self._note_news()
        for observer in self._observers:
            observer.on_feedback(robot, feedback)

    def _note_news(self) -> None:
        if self._dispatch is not None:
            self._dispatch.news = True

    def _delay_s(self, decider: str, count: int) -> float:
        latency = self._context.latency
        return 0.0 if latency is None else latency.seconds(self._episode.seed, decider, count)

    def _require_decisions_left(self, robot: str) -> None:
        self._require_intents_left(robot)
        limit = self._episode.limits.decisions
        if limit is not None and self._slots[robot].decisions >= limit:
            raise _EndedError(Outcome.TIMEOUT, f"limit of {limit} decisions")

    def _require_intents_left(self, robot: str) -> None:
        limit = self._episode.limits.intents
        if limit is not None and self._slots[robot].intents >= limit:
            raise _EndedError(Outcome.TIMEOUT, f"limit of {limit} intents")
