"""Plays the events of an episode: which changes of the world are due in a control period."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

import msgspec

from embodied.geometry import Pose, interpolate
from embodied.protocols import Simulator
from embodied.rollout.limits import TIME_SLACK_S
from embodied.scenes.changes import check_effect, moved_bodies
from embodied.types import (
    AtTime,
    Command,
    Episode,
    MoveBody,
    PlaceBody,
    Progress,
    Waypoint,
    WorldChange,
    WorldEvent,
    WorldState,
)


@dataclass(frozen=True)
class DueChange:
    """What event number `event`, which begins at `first_s`, changes in a control period."""

    event: int
    first_s: float
    change: WorldChange


def changes_due(
    events: Sequence[WorldEvent],
    reached_s: Mapping[str, float],
    *,
    after_s: float,
    until_s: float,
    postponed_s: Mapping[int, float] = MappingProxyType({}),
) -> tuple[DueChange, ...]:
    """Returns what changes after simulated time `after_s` and not later than `until_s`, in the order of application.

    `reached_s` has the simulated time at which each phase was reached, `postponed_s` the seconds by which events are
    late, by their number. A body on its path is placed where it stands at `until_s`. Changes follow one another by the
    times of their triggers; those of one time by their content, so that the order of `events` does not matter.
    """
    due: list[tuple[float, bytes, DueChange]] = []
    for number, event in enumerate(events):
        trigger_s = _triggered_s(event, reached_s)
        if trigger_s is None:
            continue
        start_s = trigger_s + postponed_s.get(number, 0.0)
        first_s, last_s = _duration(event, start_s)
        if first_s <= until_s + TIME_SLACK_S and last_s > after_s + TIME_SLACK_S:
            change = _change(event, until_s - start_s)
            due.append((trigger_s, msgspec.msgpack.encode(change), DueChange(number, first_s, change)))
    return tuple(change for _, _, change in sorted(due, key=lambda one: one[:2]))


class EventPlayer:
    """The events of one episode in progress. What is due by the end of a control period is applied before it begins.

    The state at a time therefore shows all that was triggered up to it; a phase is noticed at the end of the period in
    which it is reached, and what follows it without delay happens in the next one. Events wait for bodies that robots
    hold, as documented at `WorldEvent`.
    """

    def __init__(self, episode: Episode) -> None:
        self._scene = episode.scene
        self._events = episode.events
        self._reached_s: dict[str, float] = {}  # As all times here, since the beginning of the episode.
        self._postponed_s: dict[int, float] = {}  # By number of the event; infinite where its path has ended.
        self._start_s = 0.0

    def reset(self, simulator: Simulator, *, continued: bool = False) -> None:
        """Resets the world, unless that of an earlier episode is `continued`, and applies what is due at the beginning.

        Where a world goes on, the times of triggers count from the beginning of this episode.
        Raises `UnknownNameError` and `EventError` for events that do not fit the scene, before the reset, and what
        the reset raises.
        """
        for event in self._events:
            check_effect(self._scene, event.effect)
        if not continued:
            simulator.reset(self._scene)
        if self._events:
            state = simulator.state()
            self._start_s = state.time_s if continued else 0.0
            self._apply(simulator, state, after_s=-inf, until_s=state.time_s)

    def advance(
        self, simulator: Simulator, commands: Mapping[str, Command], state: WorldState, progress: Progress
    ) -> None:
        """Applies what is due in the control period that begins in `state`, then runs the period.

        `simulator` runs it under `commands`; `progress` gives the phases reached. Raises what the simulator raises.
        """
        if self._events:
            for phase in progress.reached:
                self._reached_s.setdefault(phase, state.time_s - self._start_s)
            self._apply(simulator, state, after_s=state.time_s, until_s=state.time_s + simulator.control_period_s)
        simulator.advance(commands)

    def _apply(self, simulator: Simulator, state: WorldState, *, after_s: float, until_s: float) -> None:
        after_s, until_s = after_s - self._start_s, until_s - self._start_s
        due = changes_due(
            self._events, self._reached_s, after_s=after_s, until_s=until_s, postponed_s=self._postponed_s
        )
        changes: list[WorldChange] = []
        for one in due:
            if moved_bodies(one.change, self._scene).isdisjoint(state.held.values()):
                changes.append(one.change)
            elif one.first_s <= after_s + TIME_SLACK_S:
                self._postponed_s[one.event] = inf
            else:  # It begins in the next period, unless it must wait again.
                late_s = until_s + 2 * TIME_SLACK_S - one.first_s
                self._postponed_s[one.event] = self._postponed_s.get(one.event, 0.0) + late_s
        if changes:
            simulator.apply(changes)


def _triggered_s(event: WorldEvent, reached_s: Mapping[str, float]) -> float | None:
    """Returns when an event is triggered, None while that is not known."""
    trigger = event.trigger
    if isinstance(trigger, AtTime):
        return trigger.time_s
    # Without delay it is due in the period that follows, not in the one that has ended.
    reached = reached_s.get(trigger.phase)
    return None if reached is None else reached + max(trigger.delay_s, 2 * TIME_SLACK_S)


def _duration(event: WorldEvent, start_s: float) -> tuple[float, float]:
    """Returns from when to when an event that starts at `start_s` changes something."""
    effect = event.effect
    if isinstance(effect, MoveBody):
        return start_s + effect.path[0].time_s, start_s + effect.path[-1].time_s
    return start_s, start_s


def _change(event: WorldEvent, elapsed_s: float) -> WorldChange:
    """Returns what an event changes in a control period that ends `elapsed_s` after its start."""
    effect = event.effect
    return PlaceBody(effect.body, _pose_at(effect.path, elapsed_s)) if isinstance(effect, MoveBody) else effect


def _pose_at(path: tuple[Waypoint, ...], time_s: float) -> Pose:
    """Returns where a path is at `time_s` after its trigger; before and after it, its ends."""
    after = bisect_right(path, time_s, key=lambda waypoint: waypoint.time_s)
    if after in (0, len(path)):
        return path[max(after - 1, 0)].pose
    before, behind = path[after - 1], path[after]
    return interpolate(before.pose, behind.pose, (time_s - before.time_s) / (behind.time_s - before.time_s))
