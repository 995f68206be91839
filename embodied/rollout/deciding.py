"""The policies' part of the loop.

Idle robots request decisions together, and decisions are delivered when they are due.
"""

from collections.abc import Iterator, Mapping, Sequence

from embodied.errors import PolicyFaultError
from embodied.protocols import Simulator
from embodied.rollout.latency import Latency
from embodied.rollout.limits import TIME_SLACK_S, require_decisions_left
from embodied.rollout.policy_calls import decisions_of, labelled
from embodied.rollout.requests import as_seen, masked, policy_cameras
from embodied.rollout.team import RobotSlot
from embodied.seeding import derive_seed, salted_seed
from embodied.tasks.expert import RobotExpert
from embodied.types import Clock, Decision, Episode, Observation, Progress, Request, Truth, WorldState


class Decisions:
    """Requests decisions for an episode's robots, one batch per policy, and queues the intents that they contain."""

    def __init__(  # noqa: PLR0913 - all that requests are made of
        self,
        episode: Episode,
        simulator: Simulator,
        slots: Mapping[str, RobotSlot],
        *,
        expert: RobotExpert | None = None,
        latency: Latency | None = None,
        visualisations: bool = False,
        salt: str = "",
        policy_name: str = "",
    ) -> None:
        self._episode = episode
        self._simulator = simulator
        self._slots = slots
        self._expert = expert
        self._latency = latency
        self._visualisations = visualisations
        self._salt = salt
        self._policy_name = policy_name  # Of robots whose agent has no name of its own.

    def observe(self, slot: RobotSlot, state: WorldState) -> Observation:
        """Returns what a robot perceives now; an observation just taken for its history is reused."""
        kept = slot.history.at(state.time_s)
        cameras = policy_cameras(self._episode.scene, slot.robot, slot.agent.wanted_cameras)
        return self._simulator.observe(slot.robot, cameras) if kept is None else kept

    def decide(self, robots: Sequence[str], state: WorldState, progress: Progress) -> None:
        """Requests decisions for the idle robots among `robots` in `state`.

        One policy decides for all of its robots at once. `progress` is the episode's, for privileged policies. Raises
        `EndedError` where a limit of the episode is reached, and `PolicyFaultError` for a policy that raises an
        exception or returns what are no decisions.
        """
        for robot in robots:
            require_decisions_left(self._episode.limits, self._slots[robot])
        by_policy: dict[int, list[RobotSlot]] = {}
        for robot in robots:
            slot = self._slots[robot]
            by_policy.setdefault(id(slot.agent.policy), []).append(slot)
        for group in by_policy.values():
            requests = [self._request(slot, state, progress) for slot in group]
            decisions = self._decisions_for(group, requests)
            for slot, request, decision in zip(group, requests, decisions, strict=True):
                due_s = state.time_s + self._delay_s(slot.robot, slot.decisions)
                slot.decisions += 1
                slot.pending = (due_s, request, decision)

    def _decisions_for(self, group: Sequence[RobotSlot], requests: Sequence[Request]) -> list[Decision]:
        """Returns the decisions of the policy that the robots in `group` share."""
        policy, label = group[0].agent.policy, group[0].agent.name or self._policy_name
        try:
            return decisions_of(policy, [as_seen(request, policy) for request in requests])
        except PolicyFaultError as error:
            steps = " and ".join(f"step {slot.intents} of {slot.robot}" for slot in group)
            raise labelled(error, label, where=f", at {steps}") from error.__cause__

    def deliver(self, robots: Sequence[str], time_s: float) -> Iterator[tuple[Request, Decision]]:
        """Queues the decisions that are due by simulated time `time_s`, and yields each with its request."""
        for name in robots:
            slot = self._slots[name]
            if slot.pending is not None and time_s >= slot.pending[0] - TIME_SLACK_S:
                (_, request, decision), slot.pending = slot.pending, None
                _accept(slot, decision)
                yield request, decision

    def _request(self, slot: RobotSlot, state: WorldState, progress: Progress) -> Request:
        episode, policy, assignment = self._episode, slot.agent.policy, slot.assignment
        past_clock = Clock.HIDDEN if episode.clock is Clock.KEYFRAMES else episode.clock
        seen = masked(self.observe(slot, state), episode.clock, step=slot.intents, privileged=policy.privileged)
        past = [
            masked(observation, past_clock, step=slot.intents, privileged=policy.privileged)
            for observation in slot.history.before(state.time_s)
        ]
        return Request(
            observation=seen,
            history=(*past, seen) if policy.observation_spec.history > 1 else (),
            clock=episode.clock,
            instruction=episode.instruction_of(slot.robot) if assignment is None else assignment.instruction,
            step=slot.intents,
            seed=self._seed(slot),
            carry=slot.carry,
            feedback=slot.feedback,
            truth=Truth(episode, state, progress, self._expert) if policy.privileged else None,
            visualisations=self._visualisations,
        )

    def _seed(self, slot: RobotSlot) -> int:
        """Returns the seed of a robot's next request, which must not name the episode to a policy that knows tables."""
        if not self._salt:
            return derive_seed(self._episode.seed, "policy", slot.robot, slot.intents)
        return salted_seed(self._salt, "policy", self._episode.id, slot.robot, slot.intents)

    def _delay_s(self, robot: str, count: int) -> float:
        return 0.0 if self._latency is None else self._latency.seconds(self._episode.seed, robot, count)


def _accept(slot: RobotSlot, decision: Decision) -> None:
    slot.queue.extend(decision.intents)
    slot.carry = decision.carry
    if decision.report is not None:
        slot.report = decision.report
