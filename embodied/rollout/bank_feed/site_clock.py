"""Places the episodes of a run on the site clock: one after another, after all earlier events.

Episodes are played at the same time by several workers, and yet each is a separate world: at one time of the site clock
there must be one world only, or `as_of_s` would mix them. So each has a slot, which depends on its position in the run
alone, and not on the worker, the time or the number of attempts. The start of a run is stored only in its
`episode_begun` events, which determine where the remaining episodes belong after a kill.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from embodied.memory import EpisodeBegun, Event, require_resolution

SLOT_S = 100.0
RUN_S = 1000.0


class ClockSource(Protocol):
    """The queries of the site clock; `Bank` and `BankClient` have them."""

    def history(self, *, kinds: Sequence[str] = ()) -> list[Event]:
        """Returns the timeline of the site, restricted to these kinds."""
        ...

    def latest_s(self) -> float | None:
        """Returns the newest valid time, None in an empty bank."""
        ...


def slot_length_s(time_limit_s: float) -> float:
    """Returns the length of the slot of an episode with this time limit: the next larger multiple of 100 s."""
    return _above(time_limit_s, SLOT_S)


def run_start_s(bank: ClockSource, offset_s: Mapping[str, float]) -> float:
    """Returns the start of a run on the site clock, seconds; `offset_s` gives the offset of each of its episodes.

    A run of which the bank knows an episode keeps its start. Another one begins at the first multiple of 1,000 s after
    everything in the bank, at 0 in an empty bank. Raises `MemoryBankError` where its times would be too large for a
    float of seconds to resolve a microsecond, such as in a bank with times in nanoseconds.
    """
    for event in bank.history(kinds=("episode_begun",)):
        # Attempts that start again are called `<name>#<attempt>`, and take place in the same slot.
        name = event.payload.episode.partition("#")[0] if isinstance(event.payload, EpisodeBegun) else ""
        if name in offset_s:
            return event.valid_time_s - offset_s[name]
    latest_s = bank.latest_s()
    start_s = 0.0 if latest_s is None else max(0.0, _above(latest_s, RUN_S))
    require_resolution(start_s + max(offset_s.values(), default=0.0))
    return start_s


def _above(time_s: float, step_s: float) -> float:
    return (math.floor(time_s / step_s) + 1) * step_s
