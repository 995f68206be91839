"""A dispatcher that follows a written schedule: who is assigned or cancelled, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from embodied.errors import ConfigError, unknown_name
from embodied.types import Assignment, Cancel, Clock, ControllerStatus, Episode, TeamSnapshot


@dataclass(kw_only=True)
class ScheduledStep:
    """Assigns `instruction` to `robot`, or cancels what it does for the reason `cancel`; once per episode.

    It is due when all of its conditions hold, at once where it has none: `at_s` simulated seconds have passed, the last
    intent of robot `after_failure_of` has failed, the policy of robot `after_report_of` has reported that its
    assignment has ended.
    """

    robot: str = ""
    instruction: str = ""
    subtask: str = ""
    cancel: str = ""
    at_s: float | None = None
    after_failure_of: str = ""
    after_report_of: str = ""


@dataclass(kw_only=True)
class ScheduleConfig:
    """The steps of a schedule; of those for one robot that are due together, the last one counts.

    `rate_hz` is how often the schedule looks at the clock. Robots without an assignment hold still.
    """

    steps: list[ScheduledStep] = field(default_factory=list)
    rate_hz: float = 10.0

    def build(self, episode: Episode) -> "Schedule":
        """Returns the dispatcher of one episode. Raises `ConfigError`, and `UnknownNameError` for a robot not there."""
        if not (isfinite(self.rate_hz) and self.rate_hz > 0.0):
            raise ConfigError("dispatcher.rate_hz must be positive.", value=self.rate_hz)
        if not self.steps:
            raise ConfigError(
                "dispatcher.steps must hold at least one step.",
                value=self.steps,
                remedy="Write such as dispatcher.steps=[{robot: NAME, instruction: TEXT}].",
            )
        for step in self.steps:
            _check(step, episode)
        return Schedule(self.steps, self.rate_hz)


class Schedule:
    """Follows the steps of one episode; implements `protocols.Dispatcher`."""

    def __init__(self, steps: Sequence[ScheduledStep], rate_hz: float) -> None:
        self._waiting = list(steps)
        self._rate_hz = rate_hz

    @property
    def rate_hz(self) -> float | None:
        """How often it looks at the clock; None where no step waits for a time."""
        return self._rate_hz if any(step.at_s is not None for step in self._waiting) else None

    def assign(self, snapshot: TeamSnapshot) -> Mapping[str, Assignment | Cancel]:
        """Returns the steps that are due now, by robot."""
        due = [step for step in self._waiting if _is_due(step, snapshot)]
        self._waiting = [step for step in self._waiting if step not in due]
        return {
            step.robot: Assignment(step.instruction, step.subtask) if step.instruction else Cancel(step.cancel)
            for step in due
        }


def _is_due(step: ScheduledStep, snapshot: TeamSnapshot) -> bool:
    if step.at_s is not None and (snapshot.time_s is None or snapshot.time_s < step.at_s):
        return False
    if step.after_failure_of:
        feedback = snapshot.robots[step.after_failure_of].feedback
        if feedback is None or feedback.status is not ControllerStatus.FAILED:
            return False
    return not step.after_report_of or snapshot.robots[step.after_report_of].report is not None


def _check(step: ScheduledStep, episode: Episode) -> None:
    robots = [robot.name for robot in episode.scene.robots]
    for name in (step.robot, step.after_failure_of or step.robot, step.after_report_of or step.robot):
        if name not in robots:
            raise unknown_name("robot of a scheduled step", name, robots)
    if bool(step.instruction.strip()) == bool(step.cancel.strip()):
        raise ConfigError(
            "A scheduled step must either assign an instruction, or cancel for a reason.",
            value=step,
            remedy="Give it `instruction` or `cancel`, and not both.",
        )
    if step.at_s is None:
        return
    if not (isfinite(step.at_s) and step.at_s >= 0.0):
        raise ConfigError("`at_s` of a scheduled step must be 0 or more.", value=step.at_s)
    if episode.clock is not Clock.SECONDS:
        raise ConfigError(
            f"Steps of a schedule must not wait for a time where the clock shows none, as in {episode.task!r}.",
            value=step.at_s,
            remedy="Let the step wait for a failure or a report of a robot.",
        )
