"""Plays the events of an episode: which changes of the world are due in a control period."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from math import inf

import msgspec

from embodied.geometry import Pose, interpolate
from embodied.protocols import Simulator
from embodied.rollout.limits import TIME_SLACK_S
from embodied.scenes.changes import check_effect, check_not_held
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


def changes_due(
    events: Iterable[WorldEvent], reached_s: Mapping[str, float], *, after_s: float, until_s: float
) -> tuple[WorldChange, ...]:
    """Returns what changes after simulated time `after_s` and not later than `until_s`, in the order of application.

    `reached_s` has the simulated time at which each phase was reached. A body on its path is placed where it stands at
    `until_s`. Changes follow one another by the times of their triggers; those of one time by their content, so that
    the order of `events` does not matter.
    """
    due: list[tuple[float, bytes, WorldChange]] = []
    for event in events:
        start_s = _triggered_s(event, reached_s)
        if start_s is None:
            continue
        change = _change(event, start_s, after_s=after_s, until_s=until_s)
        if change is not None:
            due.append((start_s, msgspec.msgpack.encode(change), change))
    return tuple(change for _, _, change in sorted(due, key=lambda one: one[:2]))


class EventPlayer:
    """The events of one episode in progress. What is due by the end of a control period is applied before it begins.

    The state at a time therefore shows all that was triggered up to it; a phase is noticed at the end of the period in
    which it is reached, and what follows it without delay happens in the next one.
    """

    def __init__(self, episode: Episode) -> None:
        self._scene = episode.scene
        self._events = episode.events
        self._reached_s: dict[str, float] = {}  # As all times here, since the beginning of the episode.
        self._start_s = 0.0

    def reset(self, simulator: Simulator, *, continued: bool = False) -> None:
        """Resets the world, unless that of an earlier episode is `continued`, and applies what is due at the beginning.

        Where a world goes on, the times of triggers count from the beginning of this episode.
        Raises `UnknownNameError` and `EventError` for events that do not fit the scene, before the reset, and
        `EventError` where an event would move a body that a robot holds from the start; and what the reset raises.
        """
        for event in self._events:
            check_effect(self._scene, event.effect)
        if not continued:
            simulator.reset(self._scene)
        if self._events:
            state = simulator.state()
            self._start_s = state.time_s if continued else 0.0
            for event in self._events:
                check_not_held(event.effect, self._scene, state.held.values())
            self._apply(simulator, after_s=-inf, until_s=state.time_s)

    def advance(
        self, simulator: Simulator, commands: Mapping[str, Command], state: WorldState, progress: Progress
    ) -> None:
        """Applies what is due in the control period that begins in `state`, then runs that period under `commands`.

        Raises `EventError` where an event would move a body that a robot holds; and what the simulator raises.
        """
        if self._events:
            for phase in progress.reached:
                self._reached_s.setdefault(phase, state.time_s - self._start_s)
            self._apply(simulator, after_s=state.time_s, until_s=state.time_s + simulator.control_period_s)
        simulator.advance(commands)

    def _apply(self, simulator: Simulator, *, after_s: float, until_s: float) -> None:
        changes = changes_due(
            self._events, self._reached_s, after_s=after_s - self._start_s, until_s=until_s - self._start_s
        )
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


def _change(event: WorldEvent, start_s: float, *, after_s: float, until_s: float) -> WorldChange | None:
    """Returns what an event that is triggered at `start_s` changes in a period, None for nothing."""
    effect = event.effect
    first_s = last_s = start_s
    if isinstance(effect, MoveBody):
        first_s, last_s = start_s + effect.path[0].time_s, start_s + effect.path[-1].time_s
    if first_s > until_s + TIME_SLACK_S or last_s <= after_s + TIME_SLACK_S:
        return None
    if isinstance(effect, MoveBody):
        return PlaceBody(effect.body, _pose_at(effect.path, until_s - start_s))
    return effect


def _pose_at(path: tuple[Waypoint, ...], time_s: float) -> Pose:
    """Returns where a path is at `time_s` after its trigger; before and after it, its ends."""
    after = bisect_right(path, time_s, key=lambda waypoint: waypoint.time_s)
    if after in (0, len(path)):
        return path[max(after - 1, 0)].pose
    before, behind = path[after - 1], path[after]
    return interpolate(before.pose, behind.pose, (time_s - before.time_s) / (behind.time_s - before.time_s))
