"""Intents made of other intents: a routine begins one after another and decides from how each has ended."""

from collections.abc import Generator, Mapping
from typing import Any

from embodied.controllers.handler import Handler
from embodied.seeding import derive_seed
from embodied.types import Command, ControllerReport, ControllerStatus, WorldState

# A routine yields intents, receives the state after each and its report, and returns the final report.
Routine = Generator[Any, tuple[WorldState, ControllerReport], ControllerReport]
DONE = ControllerReport(ControllerStatus.DONE)


class RoutineFailedError(Exception):
    """Ends a routine with a FAILED report; the message is its reason."""


def perform(intent: Any) -> Generator[Any, tuple[WorldState, ControllerReport], WorldState]:
    """Runs one intent within a routine (`yield from`); returns the state after it, and ends the routine if it fails."""
    state, report = yield intent
    if report.status is not ControllerStatus.DONE:
        raise RoutineFailedError(report.reason)
    return state


def failed(reason: str) -> ControllerReport:
    """Returns a FAILED report."""
    return ControllerReport(ControllerStatus.FAILED, reason)


class RoutineRunner:
    """Runs one routine at a time with `handlers` by the type of what it yields."""

    def __init__(self, handlers: Mapping[type, Handler]) -> None:
        self._handlers = handlers

    def begin(self, routine: Routine, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts `routine` in `state`; returns a report at once where it ends before anything has moved, else None.

        `seed` decides random searches of its intents.
        """
        self._routine, self._seed, self._count = routine, seed, 0
        return self._advance(state, None)

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the next command of the present intent, or how the routine has ended."""
        while True:
            answer = self._active.tick(state)
            if isinstance(answer, Command):
                return answer
            report = self._advance(state, answer)
            if report is not None:
                return report

    def _advance(self, state: WorldState, report: ControllerReport | None) -> ControllerReport | None:
        """Begins intents until one is under way (None) or the routine has ended."""
        while True:
            try:
                intent = next(self._routine) if report is None else self._routine.send((state, report))
            except StopIteration as end:
                return end.value
            except RoutineFailedError as error:
                return failed(str(error))
            self._active = self._handlers[type(intent)]
            report = self._active.begin(intent, state, seed=derive_seed(self._seed, "routine", self._count))
            self._count += 1
            if report is None:
                return None
