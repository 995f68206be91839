"""The robots of an episode: the policy of each, its assignment, and its state in the loop."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from embodied.errors import ConfigError, unknown_name
from embodied.protocols import Controller, Policy
from embodied.rollout.intent_outcomes import IntentOutcome, outcome_of
from embodied.rollout.requests import ObservationHistory
from embodied.types import (
    Assignment,
    Carry,
    ControllerReport,
    ControllerStatus,
    Decision,
    Episode,
    Intent,
    IntentFeedback,
    Request,
    RobotRecord,
    RobotStatus,
)


@dataclass(frozen=True, eq=False)
class Agent:
    """One robot's policy. `name` stands in the record; `cameras` and `instruction` replace those of policy and episode.

    `cameras` None leaves the choice to the policy, `instruction` None to the episode.
    """

    policy: Policy
    name: str = ""
    cameras: tuple[str, ...] | None = None
    instruction: str | None = None

    @property
    def wanted_cameras(self) -> Sequence[str] | None:
        """The cameras that it asks for: None for all that no other robot carries."""
        return self.policy.observation_spec.cameras if self.cameras is None else self.cameras


@dataclass(kw_only=True)
class AgentConfig:
    """How one robot of a team is played: by `policy`, a name among the policies of the run; "" for the run's own.

    `cameras` and `instruction` replace those of the policy and of the episode; null leaves them.
    """

    policy: str = ""
    cameras: list[str] | None = None
    instruction: str | None = None


@dataclass(eq=False)
class RobotSlot:
    """One robot's state in the loop. A decision that takes time is `pending` until `due_s`.

    `intents` counts those begun; `running` is the intent that its controller executes, `ended` are those before it.
    """

    robot: str
    agent: Agent
    controller: Controller
    assignment: Assignment | None
    history: ObservationHistory
    queue: deque[Intent] = field(default_factory=deque)
    running: Intent | None = None
    pending: tuple[float, Request, Decision] | None = None
    carry: Carry | None = None
    feedback: IntentFeedback | None = None
    report: ControllerReport | None = None
    decisions: int = 0
    intents: int = 0
    failed: int = 0
    cancelled: int = 0
    ended: list[IntentOutcome] = field(default_factory=list)

    @property
    def outcomes(self) -> tuple[IntentOutcome, ...]:
        """Its intents so far and how each ended, the running one included."""
        running = [] if self.running is None else [outcome_of(self.robot, self.running, None)]
        return (*self.ended, *running)

    @property
    def busy(self) -> bool:
        """Whether it has an intent to run."""
        return self.running is not None or bool(self.queue) or self.pending is not None

    @property
    def asks(self) -> bool:
        """Whether its policy must decide now."""
        return self.assignment is not None and self.report is None and not self.busy

    @property
    def record(self) -> RobotRecord:
        """The robot's entry in the record of the episode."""
        return RobotRecord(self.agent.name, self.decisions, self.intents, self.failed, self.cancelled)

    @property
    def status(self) -> RobotStatus:
        """The robot's entry in a dispatcher's snapshot."""
        return RobotStatus(self.assignment, self.busy, self.decisions, self.intents, self.feedback, self.report)

    def end_intent(self, report: ControllerReport) -> IntentFeedback:
        """Ends the running intent; after a failure or a cancellation the queued ones are dropped too."""
        feedback = IntentFeedback(type(self.running).__name__, report.status, report.reason)
        if self.running is not None:
            self.ended.append(outcome_of(self.robot, self.running, report))
        self.running, self.feedback = None, feedback
        if report.status is not ControllerStatus.DONE:
            self.queue.clear()
        self.failed += report.status is ControllerStatus.FAILED
        self.cancelled += report.status is ControllerStatus.CANCELLED
        return feedback

    def take_up(self, assignment: Assignment | None) -> IntentFeedback | None:
        """Replaces the assignment. Returns how a running intent ended by it, None where there was none.

        Queued intents and a pending decision are dropped; what the policy carries is kept, since it is its memory.
        """
        self.assignment, self.report, self.pending = assignment, None, None
        self.queue.clear()
        return None if self.running is None else self.end_intent(self.controller.cancel())


def team_agents(team: Mapping[str, AgentConfig], policies: Mapping[str, Policy]) -> dict[str, Agent]:
    """Returns the agents of the robots that `team` names; `policies` by name, the run's own as ""."""
    return {
        robot: Agent(
            policies[one.policy],
            one.policy,
            cameras=None if one.cameras is None else tuple(one.cameras),
            instruction=one.instruction,
        )
        for robot, one in team.items()
    }


def agents_of(episode: Episode, policy: Policy, special: Mapping[str, Agent]) -> dict[str, Agent]:
    """Returns the agent of every robot: its own where `special` has one, else `policy` as it is.

    The robots are those of the scene of `episode`. Raises `ConfigError` for an agent of a robot that the scene lacks.
    """
    robots = [robot.name for robot in episode.scene.robots]
    for name in special:
        if name not in robots:
            remedy = unknown_name("robot", name, robots).remedy
            raise ConfigError(
                f"A team must consist of robots of scene {episode.scene.name!r}.", value=name, remedy=remedy
            )
    return {name: special.get(name) or Agent(policy) for name in robots}
