"""Scripted experts: pure functions of the true state and of the number of keyframes so far.

An expert belongs to its task, which returns it as its property `expert`. The loop shows it to privileged policies and
to controls as `Truth.expert`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from embodied.errors import ConfigError
from embodied.protocols import Task
from embodied.types import Episode, Intent, Progress, Truth, Wait, WorldState

REST = Wait(0.5)
Keyframes = tuple[Callable[[], Intent], ...]


class RobotExpert(Protocol):
    """A scripted solution of a task for each robot, without state of its own."""

    def begin(self, episode: Episode, state: WorldState, choice: str) -> Any:
        """Returns what one robot carries, in an episode that begins in `state`; `choice` is believed to be right.

        The scene and its robots are those of `episode`. It is "" where the goal of the episode is no choice.
        """
        ...

    def next_intent(
        self, robot: str, episode: Episode, progress: Progress, state: WorldState, expert_state: Any
    ) -> tuple[Intent, Any]:
        """Returns the next intent of `robot` in `state` of an `episode`, and the state for the one after that.

        `progress` is the episode's, `expert_state` what was returned before.
        """
        ...


class ExpertState(TypedDict):
    """The state of an expert between keyframes.

    `choice` is the candidate that it believes to be right, unused before memory is needed; `first` the body that it
    handles before that, as seen at the start; `step` the index of the next keyframe.
    """

    choice: str
    first: str
    step: int


@dataclass(frozen=True)
class ExpertCourse:
    """The keyframes of an expert, in order.

    `cue` leads up to the one that opens the choice, `choice` begins with the first that depends on
    the `choice` of its `ExpertState`, and `between` lies between these.
    """

    cue: Keyframes
    choice: Keyframes
    between: Keyframes = ()

    @property
    def decision(self) -> int:
        """The step of the first keyframe that needs memory; nothing earlier may reveal the target."""
        return len(self.cue) + len(self.between)


@dataclass(frozen=True)
class TaskExpert:
    """A scripted solution of a task for one arm; implements `RobotExpert`.

    `first` is the body that is handled first, `course` the keyframes from true poses now.

    With `repeat_until` the last keyframe of the cue and the first after it are repeated until the task has counted that
    phase.
    """

    first: Callable[[Episode, WorldState], str]
    course: Callable[[Episode, WorldState, ExpertState], ExpertCourse]
    repeat_until: str = ""

    def begin(self, episode: Episode, state: WorldState, choice: str) -> ExpertState:
        """Returns the expert's state in an `episode` that begins in `state`, with `choice` as its target."""
        return ExpertState(choice=choice, first=self.first(episode, state), step=0)

    def at_choice(self, episode: Episode, state: WorldState, choice: str) -> ExpertState:
        """Returns the state of an expert that has just opened the `choice` in `state` of an `episode`.

        The keyframe after the cue is next.
        """
        begun = self.begin(episode, state, choice)
        return {**begun, "step": len(self.course(episode, state, begun).cue)}

    def next_keyframe(
        self, episode: Episode, progress: Progress, state: WorldState, expert_state: ExpertState
    ) -> tuple[Intent, ExpertState]:
        """Returns the keyframe of `expert_state.step` in `state` of an `episode`, and the next expert state.

        `progress` is the episode's. After the last keyframe the arm rests.
        """
        course = self.course(episode, state, expert_state)
        last, step = len(course.cue) - 1, expert_state["step"]
        if self.repeat_until and step == last + 2 < course.decision and self.repeat_until not in progress.reached:
            step = last
        keyframes = (*course.cue, *course.between, *course.choice)
        intent = keyframes[step]() if step < len(keyframes) else REST
        return intent, {**expert_state, "step": step + 1}

    def next_intent(
        self, robot: str, episode: Episode, progress: Progress, state: WorldState, expert_state: ExpertState
    ) -> tuple[Intent, ExpertState]:
        """Returns `next_keyframe`, which is the same for every robot."""
        del robot
        return self.next_keyframe(episode, progress, state, expert_state)


def expert_of(task: Task) -> RobotExpert | None:
    """Returns the expert that `task` names as its property `expert`, None where it names none."""
    return getattr(task, "expert", None)


def shown_expert(truth: Truth) -> RobotExpert:
    """Returns the expert of the episode's task. Raises `ConfigError` where the task has none."""
    if truth.expert is None:
        raise ConfigError(
            "A task must have an expert here.",
            value=truth.episode.task,
            remedy="Give the task a property `expert` (`tasks.expert.RobotExpert`), or choose another policy.",
        )
    return truth.expert


def keyframe_expert(expert: RobotExpert | None, task: str) -> TaskExpert:
    """Returns `expert`, that of the task called `task`. Raises `ConfigError` unless it moves one arm by keyframes."""
    if not isinstance(expert, TaskExpert):
        raise ConfigError(
            "A task must have an expert that moves one arm by keyframes here.",
            value=task,
            remedy="Give the task a property `expert` (`tasks.expert.TaskExpert`), or leave the control out.",
        )
    return expert
