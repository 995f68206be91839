"""Shared steps of judges: phases, choices, endings, and the effect of a failed intent."""

from dataclasses import replace
from enum import StrEnum

from embodied.types import IntentFeedback, Outcome, Progress

CONTROLLER_FAILED = "controller: "  # How the reason of a failure begins that a controller has reported.


class OnFailure(StrEnum):
    """What a failed intent leads to.

    `END`: the episode is a failure, as published. `CONTINUE`, for learners that may err: it is feedback for the policy,
    which goes on within the limits of the episode.
    """

    END = "end"
    CONTINUE = "continue"


def complete(progress: Progress, phase: str) -> Progress:
    """Returns the progress with `phase` completed; once is enough."""
    return progress if phase in progress.reached else replace(progress, reached=(*progress.reached, phase))


def choose(progress: Progress, name: str) -> Progress:
    """Returns the progress with `name` as the first choice, unless one was made before."""
    return progress if progress.choice is not None else replace(progress, choice=name)


def succeed(progress: Progress, phase: str) -> Progress:
    """Returns the progress that ends in success by completing `phase`."""
    return replace(complete(progress, phase), outcome=Outcome.SUCCESS)


def fail(progress: Progress, reason: str) -> Progress:
    """Returns the progress that ends in failure."""
    return replace(progress, outcome=Outcome.FAILURE, reason=reason)


def judge_failure(on_failure: OnFailure, progress: Progress, feedback: IntentFeedback) -> Progress:
    """Returns FAILURE after a failed intent with this `feedback`, or `progress` where the episode goes on.

    `on_failure` decides that.
    """
    if on_failure is OnFailure.CONTINUE:
        return progress
    return fail(progress, f"{CONTROLLER_FAILED}{feedback.reason}")
