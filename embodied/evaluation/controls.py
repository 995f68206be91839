"""Controls of memory: the policy's memory is off, wiped, exchanged with another episode's, or replaced by hints."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from embodied.errors import ConfigError
from embodied.protocols import ChoiceTask, HintConditioned, Policy, ResettableMemory, Simulator, Task
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.episode import EpisodeContext, EpisodeRunner
from embodied.rollout.policy_calls import decisions_of
from embodied.rollout.requests import as_seen, without_instances
from embodied.rollout.worker import Control, Controlled
from embodied.tasks.expert import ExpertState, expert_of, keyframe_expert
from embodied.types import (
    Carry,
    Decision,
    Episode,
    EpisodeRecord,
    IntentFeedback,
    MemoryContext,
    MoveTo,
    Progress,
    Request,
    Truth,
    WorldState,
)

OFF, WIPED, SWAPPED, ORACLE = "off", "wiped", "swapped", "oracle"
NO_MEMORY = "no memory"
NO_HINTS = "takes no hints"


@dataclass(kw_only=True)
class Off:
    """The memory is empty at every decision: the carry is wiped, and the policy is built anew."""

    def obstacle(self, policy: Policy) -> str:
        """Returns that the policy has no memory, if that is so."""
        return "" if isinstance(policy, ResettableMemory) else NO_MEMORY

    def prepare(self, episode: Episode, context: EpisodeContext) -> Controlled:
        """Returns the policy without its memory. Raises `ConfigError` if it has none."""
        del episode
        return Controlled(_Off(context))


@dataclass(kw_only=True)
class Wiped(Off):
    """The memory is emptied once, at the first decision of the open choice, and continues from there."""

    def prepare(self, episode: Episode, context: EpisodeContext) -> Controlled:
        """Returns the policy whose memory will be emptied. Raises `ConfigError` if it has no memory."""
        del episode
        return Controlled(_Wiped(context))


@dataclass(kw_only=True)
class Swapped(Off):
    """The memory is replaced by that of a donor, at the first decision of the open choice, and continues from there.

    The donor is the same policy in the episode's counterfactual (the same layout, the next variant), played up to the
    moment at which its own choice opens. It is not logged to a memory bank and gets no moments from one. From then on
    the state that the policy object itself keeps is the donor's as well.
    """

    def prepare(self, episode: Episode, context: EpisodeContext) -> Controlled:
        """Plays the donor, and returns the policy with the donor's memory; unplayable without a donor.

        Raises `ConfigError` if the policy has no memory.
        """
        task = choice_task(context.task)
        _memory_of(context.policy)
        counterfactual = task.counterfactual(episode)
        donor = context.fresh_policy()
        memory = memory_at_choice(counterfactual, replace(context, policy=donor))
        if isinstance(memory, str):
            return Controlled(context.policy, unplayable=f"no donor: {memory}")
        return Controlled(_Swapped(context, donor, memory), donor=counterfactual.choice_goal.target)


@dataclass(kw_only=True)
class Oracle:
    """Upper bound with oracle targets: at every decision of the open choice the policy gets the expert's next keyframe.

    The expert's plan is taken to be just after its cue when the choice opens, and to advance by one keyframe per
    decision. A policy that needs more or fewer keyframes than the expert from there on gets wrong hints, as does one
    that failed to grasp: the expert does not go back.
    """

    def obstacle(self, policy: Policy) -> str:
        """Returns that the policy takes no hints, if that is so."""
        return "" if isinstance(policy, HintConditioned) and policy.takes_hints else NO_HINTS

    def prepare(self, episode: Episode, context: EpisodeContext) -> Controlled:
        """Returns the policy with hints.

        Raises `ConfigError` if it takes no hints, and for a task without an expert for one arm.
        """
        keyframe_expert(expert_of(context.task), episode.task)
        if self.obstacle(context.policy):
            raise ConfigError(
                f"A policy under control {ORACLE!r} must take hints.",
                value=type(context.policy).__name__,
                remedy="Give it `takes_hints` (`protocols.HintConditioned`), or leave the control out.",
            )
        return Controlled(_WithHint(context.policy, choice_task(context.task)))


CONTROLS: dict[str, type[Control]] = {OFF: Off, WIPED: Wiped, SWAPPED: Swapped, ORACLE: Oracle}


def choice_task(task: Task) -> ChoiceTask:
    """Returns `task` as one that has a choice. Raises `ConfigError` if it does not define when its choice is open."""
    if isinstance(task, ChoiceTask):
        return task
    raise ConfigError(
        "A task under a control of memory must say when its choice is open.",
        value=task.name,
        remedy="Give it `choice_open` and `counterfactual` (`protocols.ChoiceTask`), or play controls=[normal].",
    )


def refuse_resuming(feed: MemoryFeedConfig | None) -> None:
    """Raises `ConfigError` if killed episodes resume from a bank, which does not record the state of a control."""
    if feed is not None and feed.resume:
        raise ConfigError(
            "Episodes under a control of memory must be played from their beginning.",
            value="memory.resume=true",
            remedy="Set memory.resume=false, or controls=[normal].",
        )


def memory_at_choice(episode: Episode, context: EpisodeContext) -> Mapping[str, Any] | str:
    """Returns the carry of each robot when the choice of `episode` opens, or a text that explains why it did not."""
    carries = _Carries()
    runner = EpisodeRunner(episode, context, [carries])
    runner.begin()
    task = choice_task(context.task)
    while not runner.progress.done:
        if task.choice_open(runner.progress) and carries.newest:
            return carries.newest
        runner.advance()
    progress = runner.progress
    return (
        f"its counterfactual ended before the choice, {progress.outcome.value}: {progress.reason or 'no reason given'}"
    )


class _Carries:
    """An observer that keeps the newest carry of each robot."""

    def __init__(self) -> None:
        self.newest: dict[str, Any] = {}

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """There are no carries yet."""

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Keeps the carry of the decision."""
        self.newest[request.observation.robot] = decision.carry

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Carries change at decisions alone."""

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Carries change at decisions alone."""

    def on_end(self, record: EpisodeRecord) -> None:
        """The carries are kept."""


def _memory_of(policy: Policy) -> ResettableMemory:
    if isinstance(policy, ResettableMemory):
        return policy
    raise ConfigError(
        "A policy under a control of memory must have a memory that can be changed.",
        value=type(policy).__name__,
        remedy="Give it `wiped` and `swapped` (`protocols.ResettableMemory`), or leave the control out.",
    )


@dataclass(frozen=True, eq=False)
class _ControlState:
    """The state of a control in the carry, beside the policy's own `carry`.

    `open` is whether a decision of the open choice has been made, `stored` the number of moments since then,
    `expert_state` the state that the expert would have.
    """

    carry: Carry | None = None
    open: bool = False
    stored: int = 0
    expert_state: ExpertState | None = None

    @classmethod
    def of(cls, carry: Carry | None) -> "_ControlState":
        """Returns the state in the carry of a controlled policy, the first one for None."""
        return cls() if carry is None else cls(**carry)

    def carried(self) -> Carry:
        """Returns the state as the carry of a controlled policy."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class _ControlledPolicy(ABC):
    """A policy whose memory or hints are modified by a control.

    It is privileged, since it must know the progress of the episode; the inner policy sees what it would see anyway.
    """

    privileged = True

    def __init__(self, policy: Policy, task: ChoiceTask) -> None:
        self.inner = policy
        self._task = task
        self.observation_spec = policy.observation_spec
        self.action_spec = policy.action_spec

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request, calling the inner policy once for all of them."""
        asked = [self._prepared(request) for request in requests]
        decisions = decisions_of(self.inner, [as_seen(request, self.inner) for request, _ in asked])
        return [
            replace(decision, carry=_after(control, decision).carried())
            for (_, control), decision in zip(asked, decisions, strict=True)
        ]

    def _prepared(self, request: Request) -> tuple[Request, _ControlState]:
        """Returns the request for the inner policy, and the state of the control at this decision."""
        truth, control = request.truth, _ControlState.of(request.carry)
        if truth is None:
            raise ConfigError(
                "A control of memory must be shown the truth.",
                remedy="Give it requests of a loop that respects `privileged`.",
            )
        # A policy that has not decided yet has no carry that could be changed.
        first = not control.open and request.carry is not None and self._task.choice_open(truth.progress)
        control = replace(control, open=control.open or first)
        plain = replace(request, carry=control.carry)
        if not self.inner.privileged:
            plain = replace(plain, truth=None, observation=without_instances(request.observation))
        return self._changed(plain, control, truth, first=first)

    @abstractmethod
    def _changed(
        self, request: Request, control: _ControlState, truth: Truth, *, first: bool
    ) -> tuple[Request, _ControlState]:
        """Returns the request as modified by the control; `first` at the first decision of the open choice."""


def _after(control: _ControlState, decision: Decision) -> _ControlState:
    stored = control.stored + len(decision.moments) if control.open else 0
    return replace(control, carry=decision.carry, stored=stored)


def _moments_since(request: Request, control: _ControlState) -> MemoryContext:
    """Returns the moments that were stored since the choice opened: older ones from the bank are memory too."""
    if not control.open:
        return request.memory
    moments = request.memory.moments
    return MemoryContext(moments[max(0, len(moments) - control.stored) :])


class _Off(_ControlledPolicy):
    def __init__(self, context: EpisodeContext) -> None:
        super().__init__(context.policy, choice_task(context.task))
        self._memory = _memory_of(context.policy)
        self._fresh_policy = context.fresh_policy

    def _changed(
        self, request: Request, control: _ControlState, truth: Truth, *, first: bool
    ) -> tuple[Request, _ControlState]:
        del truth, first
        self.inner = self._fresh_policy()
        carry = None if request.carry is None else self._memory.wiped(request.carry)
        return replace(request, carry=carry, memory=MemoryContext()), control


class _Wiped(_Off):
    def _changed(
        self, request: Request, control: _ControlState, truth: Truth, *, first: bool
    ) -> tuple[Request, _ControlState]:
        del truth
        if first:
            self.inner = self._fresh_policy()
        if first and request.carry is not None:
            request = replace(request, carry=self._memory.wiped(request.carry))
        return replace(request, memory=_moments_since(request, control)), control


class _Swapped(_Off):
    def __init__(self, context: EpisodeContext, donor: Policy, memory: Mapping[str, Any]) -> None:
        super().__init__(context)
        self._donor = donor
        self._donor_carries = memory

    def _changed(
        self, request: Request, control: _ControlState, truth: Truth, *, first: bool
    ) -> tuple[Request, _ControlState]:
        del truth
        if first:
            self.inner = self._donor
        if first and request.carry is not None:
            carry = self._donor_carries[request.observation.robot]
            request = replace(request, carry=self._memory.swapped(request.carry, carry))
        return replace(request, memory=_moments_since(request, control)), control


class _WithHint(_ControlledPolicy):
    def _changed(
        self, request: Request, control: _ControlState, truth: Truth, *, first: bool
    ) -> tuple[Request, _ControlState]:
        del first
        if not control.open:
            return request, control
        episode, state, expert = truth.episode, truth.state, keyframe_expert(truth.expert, truth.episode.task)
        expert_state = control.expert_state or expert.at_choice(episode, state, episode.choice_goal.target)
        intent, expert_state = expert.next_keyframe(episode, truth.progress, state, expert_state)
        hint = intent if isinstance(intent, MoveTo) else None  # After its last keyframe the expert does not move.
        return replace(request, hint=hint), replace(control, expert_state=expert_state)
