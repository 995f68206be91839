"""The limits of an episode, and the error that ends it for a reason other than the task's judgement."""

from embodied.rollout.team import RobotSlot
from embodied.types import Limits, Outcome

TIME_SLACK_S = 1e-9


class EndedError(Exception):
    """The episode has ended for a reason other than the task's judgement."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


def require_decisions_left(limits: Limits, slot: RobotSlot) -> None:
    """Raises `EndedError` (TIMEOUT) where a robot has used up its decisions or its intents."""
    require_intents_left(limits, slot)
    if limits.decisions is not None and slot.decisions >= limits.decisions:
        raise EndedError(Outcome.TIMEOUT, f"limit of {limits.decisions} decisions")


def require_intents_left(limits: Limits, slot: RobotSlot) -> None:
    """Raises `EndedError` (TIMEOUT) where a robot has begun as many intents as it may."""
    if limits.intents is not None and slot.intents >= limits.intents:
        raise EndedError(Outcome.TIMEOUT, f"limit of {limits.intents} intents")


def require_time_left(limits: Limits, elapsed_s: float) -> None:
    """Raises `EndedError` (TIMEOUT) where `elapsed_s` of simulated time have used up what the episode has."""
    if limits.sim_time_s is not None and elapsed_s >= limits.sim_time_s - TIME_SLACK_S:
        raise EndedError(Outcome.TIMEOUT, f"time limit of {limits.sim_time_s:g} s")
