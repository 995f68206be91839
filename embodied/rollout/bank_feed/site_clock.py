"""Places the episodes of a run on the site clock: one after another, after all earlier events.

Episodes are played at the same time by several workers, and yet each is a world of its own: at one time of the site
clock there must be one world only, or `as_of_s` would mix them. So each has a slot, which follows from its place in
the run alone, and not from who plays it, when, or how often. Where a run starts is not written anywhere but in its
`episode_begun` events: the events before a kill determine where the rest belongs.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from embodied.memory import EpisodeBegun, Event

SLOT_S = 100.0
RUN_S = 1000.0


class ClockSource(Protocol):
    """The queries that the site clock needs; `Bank` and `BankClient` have them."""

    def history(self, *, kinds: Sequence[str] = ()) -> list[Event]:
        """Returns the timeline of the site, of these kinds."""
        ...

    def latest_s(self) -> float | None:
        """Returns the newest valid time, None in an empty bank."""
        ...


def slot_length_s(time_limit_s: float) -> float:
    """Returns how long the slot of an episode is that may last `time_limit_s`: a multiple of 100 s, and longer."""
    return _above(time_limit_s, SLOT_S)


def run_start_s(bank: ClockSource, offset_s: Mapping[str, float]) -> float:
    """Returns where a run starts on the site clock, seconds; `offset_s` says when each of its episodes follows.

    A run of which the bank knows an episode keeps its start. Another one begins at the first multiple of 1,000 s after
    everything that the bank holds, at 0 in an empty bank.
    """
    for event in bank.history(kinds=("episode_begun",)):
        # Attempts that begin anew are called `<name>#<attempt>`, and take place in the same slot.
        name = event.payload.episode.partition("#")[0] if isinstance(event.payload, EpisodeBegun) else ""
        if name in offset_s:
            return event.valid_time_s - offset_s[name]
    latest_s = bank.latest_s()
    return 0.0 if latest_s is None else max(0.0, _above(latest_s, RUN_S))


def _above(time_s: float, step_s: float) -> float:
    return (math.floor(time_s / step_s) + 1) * step_s
