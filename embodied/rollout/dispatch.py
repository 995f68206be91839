"""The dispatcher's part of the loop: it receives a snapshot of the team, and assigns or cancels instructions."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from embodied.errors import unknown_name
from embodied.protocols import Dispatcher
from embodied.rollout.latency import Latency
from embodied.rollout.limits import TIME_SLACK_S
from embodied.rollout.team import RobotSlot
from embodied.types import Assignment, Cancel, Clock, Episode, IntentFeedback, TeamSnapshot, WorldState

DECIDER = "dispatcher"


class Dispatch:
    """Calls a dispatcher when there is `news` or at its rate, and carries out its assignments.

    `publish(robot, feedback)` is called for every intent that an assignment has cancelled.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        episode: Episode,
        slots: Mapping[str, RobotSlot],
        publish: Callable[[str, IntentFeedback], None],
        *,
        latency: Latency | None = None,
    ) -> None:
        self.news = True
        self._dispatcher = dispatcher
        self._episode = episode
        self._slots = slots
        self._publish = publish
        self._latency = latency
        self._pending: tuple[float, Mapping[str, Assignment | Cancel]] | None = None
        self._count = 0
        self._polls = 0

    def advance(self, state: WorldState) -> None:
        """Calls the dispatcher at the beginning of a control period. Raises `UnknownNameError` for an unknown robot."""
        if self._pending is None and (self._is_due(state.time_s) or self.news):
            self.news = False
            answer = self._dispatcher.assign(self._snapshot(state))
            delay_s = 0.0 if self._latency is None else self._latency.seconds(self._episode.seed, DECIDER, self._count)
            self._pending = (state.time_s + delay_s, answer)
            self._count += 1
        if self._pending is not None and state.time_s >= self._pending[0] - TIME_SLACK_S:
            (_, answer), self._pending = self._pending, None
            for robot, assignment in answer.items():
                self._assign(robot, assignment)

    def _is_due(self, time_s: float) -> bool:
        rate_hz = self._dispatcher.rate_hz
        if rate_hz is None or time_s * rate_hz < self._polls - TIME_SLACK_S:
            return False
        self._polls = int(time_s * rate_hz + TIME_SLACK_S) + 1
        return True

    def _snapshot(self, state: WorldState) -> TeamSnapshot:
        time_s = state.time_s if self._episode.clock is Clock.SECONDS else None
        robots = {name: slot.status for name, slot in self._slots.items()}
        return TeamSnapshot(self._episode.instruction, time_s, robots)

    def _assign(self, robot: str, assignment: Assignment | Cancel) -> None:
        if robot not in self._slots:
            raise unknown_name("robot of the scene", robot, self._slots)
        slot = self._slots[robot]
        if assignment == slot.assignment and slot.report is None:
            return
        cancelled = slot.take_up(assignment if isinstance(assignment, Assignment) else None)
        if cancelled is not None:
            reason = assignment.reason if isinstance(assignment, Cancel) else f"replaced by {assignment.instruction!r}"
            slot.feedback = replace(cancelled, reason=reason)
            self._publish(robot, slot.feedback)
