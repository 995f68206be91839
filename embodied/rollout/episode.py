"""The episode loop: policies decide, controllers move, the task judges."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from embodied.errors import ConfigError, EmbodiedError, MissingDependencyError
from embodied.protocols import CommandObserver, Controller, Dispatcher, Observer, Policy, Simulator, Task
from embodied.rollout.chain import require_right_world
from embodied.rollout.deciding import Decisions
from embodied.rollout.dispatch import Dispatch
from embodied.rollout.intents import Intents
from embodied.rollout.job import EpisodeResult
from embodied.rollout.latency import Latency
from embodied.rollout.limits import EndedError, require_time_left
from embodied.rollout.policy_calls import full_traceback
from embodied.rollout.requests import ObservationHistory, check_policy_fits
from embodied.rollout.team import Agent, RobotSlot, agents_of
from embodied.rollout.world_events import EventPlayer
from embodied.tasks.expert import expert_of
from embodied.types import (
    Assignment,
    Command,
    ControllerStatus,
    Episode,
    IntentFeedback,
    Outcome,
    Progress,
    WorldState,
)

BEFORE_RESET = WorldState(time_s=0.0, pose={}, joint={}, contact=frozenset(), held={}, robots={})


@dataclass(frozen=True, eq=False)
class EpisodeContext:
    """The parts of an episode, alive in this process. `make_controllers` gives one controller per robot of an episode.

    `policy` decides for every robot without an agent of its own in `agents`. Without `make_dispatcher` every robot has
    the episode's instruction from the start; with one, robots wait for their assignments. With `latency` the world goes
    on while policies and the dispatcher decide. With `visualisations` policies are asked to show what they see. With
    `continue_world` the simulator is not reset, and the time limit counts from there. The seeds of requests are salted
    with `salt`; "" leaves them as they were before there were salts. `make_policy` returns an instance of `policy` that
    has seen nothing yet, for controls of memory; None where `policy` keeps nothing in itself.
    Errors call the policy `policy_name`.
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
    salt: str = ""
    policy_name: str = ""
    make_policy: Callable[[], Policy] | None = None

    def fresh_policy(self) -> Policy:
        """Returns a policy that has seen nothing yet."""
        return self.policy if self.make_policy is None else self.make_policy()


def play(episode: Episode, context: EpisodeContext, *, observers: Sequence[Observer] = ()) -> EpisodeResult:
    """Plays `episode` with the parts of `context` from its reset to its outcome; `observers` see every step.

    The task's judgement comes first; then TIMEOUT at a limit of the episode. A failed intent is feedback for the policy
    and the dispatcher; the task decides whether it ends the episode. Any other `EmbodiedError` of the episode's own
    parts makes it INVALID with the error as its reason, and so does any exception of a policy; the next reset puts the
    simulator into a valid state again. Raises `ConfigError` and `MissingDependencyError`, which would affect every
    other episode too, and what is raised outside of policies and is no `EmbodiedError`.
    """
    runner = EpisodeRunner(episode, context, observers)
    runner.begin()
    while not runner.progress.done:
        runner.advance()
    return runner.result()


class EpisodeRunner:
    """One episode in progress: `begin`, then `advance` until `progress.done`. See `play` for how it may end.

    `DecisionPendingError` passes through, and the next `advance` calls the policy again: this lets code outside the
    loop decide, as the Gymnasium environment does.
    """

    def __init__(self, episode: Episode, context: EpisodeContext, observers: Sequence[Observer] = ()) -> None:
        self.progress = Progress()
        self._episode = episode
        self._context = context
        self._observers = observers
        self._command_observers = [one for one in observers if isinstance(one, CommandObserver)]
        self._slots: dict[str, RobotSlot] = {}
        self._intents = Intents(episode, self._end_intent)
        self._decisions = Decisions(
            episode,
            context.simulator,
            self._slots,
            expert=expert_of(context.task),
            latency=context.latency,
            visualisations=context.visualisations,
            salt=context.salt,
            policy_name=context.policy_name,
        )
        self._events = EventPlayer(episode)
        self._state = BEFORE_RESET
        self._traceback = ""
        self._start_s = 0.0  # Of simulated time, at the beginning of the episode.
        self._dispatch: Dispatch | None = None

    def begin(self) -> None:
        """Resets the world and lets the task look at it."""
        with self._ends():
            self._begin()

    def advance(self) -> None:
        """Runs one control period.

        Idle robots request decisions, controllers command, the world moves, the task judges.
        """
        with self._ends():
            self._advance()

    def result(self) -> EpisodeResult:
        """Returns the result so far."""
        robots = {name: slot.record for name, slot in self._slots.items()}
        steps, sim_time_s = sum(one.intents for one in robots.values()), self._state.time_s - self._start_s
        intents = tuple(one for slot in self._slots.values() for one in slot.outcomes)
        return EpisodeResult(self.progress, steps, sim_time_s, robots, self._traceback, intents)

    @contextmanager
    def _ends(self) -> Iterator[None]:
        """Turns an error that ends an episode into its outcome; the phases reached are kept."""
        try:
            yield
        except EndedError as ended:
            self.progress = replace(self.progress, outcome=ended.outcome, reason=ended.reason)
        except (ConfigError, MissingDependencyError):
            raise
        except EmbodiedError as error:
            reason = f"{type(error).__name__}: {error}"
            self._traceback = full_traceback(error)
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
        if self.progress.done:  # A failed intent has ended the episode; the world is not advanced.
            return
        for observer in self._command_observers:
            observer.on_commands(commands)
        self._events.advance(self._context.simulator, commands, self._state, self.progress)
        state = self._see()
        self.progress = self._context.task.advance(self._episode, self.progress, state)
        for observer in self._observers:
            observer.on_step(state, self.progress)
        if not self.progress.done:
            require_time_left(self._episode.limits, state.time_s - self._start_s)

    def _see(self) -> WorldState:
        """Reads the state and counts new grasps of free bodies."""
        state = self._context.simulator.state()
        self._intents.count_grasps(self._state, state)
        self._state = state
        for slot in self._slots.values():
            if slot.history.is_due(state.time_s):
                slot.history.keep(state.time_s, self._decisions.observe(slot, state))
        return state

    def _commands(self) -> dict[str, Command]:
        """Returns the commands of this period; robots without intents request decisions together, one batch per policy.

        A robot whose intent has failed, or that waits for a decision or an assignment, holds still.
        """
        commands: dict[str, Command] = {}
        waiting = list(self._slots)
        while waiting and not self.progress.done:
            self._deliver(waiting)
            self._decisions.decide([name for name in waiting if self._slots[name].asks], self._state, self.progress)
            self._deliver(waiting)
            still = []
            for name in waiting:
                command = None if self.progress.done else self._intents.next_command(self._slots[name], self._state)
                if isinstance(command, Command):
                    commands[name] = command
                elif command is None and self._slots[name].asks:
                    still.append(name)
            waiting = still
        idle = {name: slot.controller.hold() for name, slot in self._slots.items() if name not in commands}
        return {**commands, **idle}

    def _deliver(self, robots: Sequence[str]) -> None:
        """Queues the decisions that are due by now, and publishes them."""
        for request, decision in self._decisions.deliver(robots, self._state.time_s):
            if decision.report is not None:
                self._note_news()
            for observer in self._observers:
                observer.on_decision(request, decision)

    def _end_intent(self, robot: str, feedback: IntentFeedback) -> None:
        self._publish(robot, feedback)
        if feedback.status is ControllerStatus.FAILED:
            self.progress = self._context.task.after_failure(self._episode, self.progress, feedback, robot)

    def _publish(self, robot: str, feedback: IntentFeedback) -> None:
        self._note_news()
        for observer in self._observers:
            observer.on_feedback(robot, feedback)

    def _note_news(self) -> None:
        if self._dispatch is not None:
            self._dispatch.news = True
