"""The clock of a bank: its owner has one, chosen when the bank is opened, and every bound, lease and age uses it.

A `WallClock` belongs to a deployment: it takes the time of the system once, and counts on by a clock that cannot be
set, so that a step of the system's clock changes no duration. A `SimulatedClock` belongs to simulated time: it stands
still until the driver of the run advances it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from embodied.errors import MemoryBankError

AHEAD_S = 60.0  # The clocks of robots that follow a time server differ by far less.
FINEST_S = 1e-6
LATEST_S = 2.0**33  # From here on (the year 2242) a float of seconds no longer resolves `FINEST_S`.


def steady_s() -> float:
    """Returns seconds of a clock that cannot be set, and, where the system has one, counts on while it sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True)
class ClockReading:
    """What the clock of a bank shows: `time_s`, how far beyond it valid times may lie, and whether it is simulated."""

    time_s: float
    ahead_s: float
    simulated: bool


class SiteClock(Protocol):
    """The clock of one bank, in seconds. It never runs backwards. Events may lie `ahead_s` beyond it."""

    simulated: bool
    ahead_s: float

    def time_s(self) -> float:
        """Returns the time now."""
        ...

    def resume(self, newest_s: float) -> None:
        """Sets the clock to `newest_s`, the newest received time of a bank that is opened, where it shows less."""
        ...

    def advance(self, to_s: float) -> float:
        """Moves simulated time to `to_s`, and returns the time then. Raises `MemoryBankError` for a wall clock."""
        ...


class WallClock:
    """UTC as the system shows it when the clock is made, and from then on durations of a clock that cannot be set.

    `wall` gives seconds of UTC, `steady` those of a clock that is never set; tests give their own. `ahead_s` is how far
    beyond it events may lie.
    """

    simulated = False

    def __init__(
        self,
        *,
        ahead_s: float = AHEAD_S,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady_s,
    ) -> None:
        self.ahead_s = _tolerance_s(ahead_s)
        self._steady = steady
        now_s = wall()
        require_resolution(now_s)
        self._offset_s = now_s - steady()

    def time_s(self) -> float:
        """Returns the time now."""
        return self._steady() + self._offset_s

    def resume(self, newest_s: float) -> None:
        """As `SiteClock.resume`; it runs on from there."""
        self._offset_s = max(self._offset_s, newest_s - self._steady())

    def advance(self, to_s: float) -> float:
        """Raises `MemoryBankError`: it runs by itself."""
        raise MemoryBankError(
            "Only a simulated clock can be advanced.",
            value=f"{to_s} s for a wall clock",
            remedy="Open the bank of a simulated world with `clock=SimulatedClock()`.",
        )


class StoppedClock:
    """A clock that stands at the newest time of its bank, for commands that are not a part of the site's time."""

    simulated = True
    ahead_s = AHEAD_S

    def __init__(self) -> None:
        self._time_s = 0.0

    def time_s(self) -> float:
        """Returns the newest time of the bank."""
        return self._time_s

    def resume(self, newest_s: float) -> None:
        """As `SiteClock.resume`."""
        self._time_s = max(self._time_s, newest_s)

    def advance(self, to_s: float) -> float:
        """Raises `MemoryBankError`: it never moves."""
        raise MemoryBankError(
            "The clock of a command stands still.", value=to_s, remedy="The owner of the bank advances it."
        )


class SimulatedClock:
    """A clock that stands still until `advance` moves it; it starts at `start_s`, or at the newest time of its bank.

    Events may lie `ahead_s` beyond it.
    """

    simulated = True

    def __init__(self, start_s: float = 0.0, *, ahead_s: float = AHEAD_S) -> None:
        require_resolution(start_s)
        self.ahead_s = _tolerance_s(ahead_s)
        self._time_s = float(start_s)

    def time_s(self) -> float:
        """Returns the time to which it was advanced."""
        return self._time_s

    def resume(self, newest_s: float) -> None:
        """As `SiteClock.resume`."""
        self._time_s = max(self._time_s, newest_s)

    def advance(self, to_s: float) -> float:
        """Moves the time to `to_s`, and returns the time then; an earlier time changes nothing.

        So several episodes of one run can be played at the same time. Raises `MemoryBankError` for a time at which a
        float of seconds no longer resolves a microsecond.
        """
        require_resolution(to_s)
        self._time_s = max(self._time_s, float(to_s))
        return self._time_s


def _tolerance_s(ahead_s: float) -> float:
    if not isinstance(ahead_s, float | int) or not 0.0 <= ahead_s < math.inf:
        raise MemoryBankError("How far events may lie beyond a clock must be finite and not negative.", value=ahead_s)
    return float(ahead_s)


def require_resolution(time_s: float) -> None:
    """Raises `MemoryBankError` for a `time_s` at which microseconds can no longer be distinguished, or no number."""
    if not (isinstance(time_s, float | int) and math.isfinite(time_s) and abs(time_s) < LATEST_S):
        raise MemoryBankError(
            f"The time of a bank must stay below {LATEST_S:.0f} s, where a float still resolves a microsecond.",
            value=time_s,
            remedy="Give seconds. A bank with times in milliseconds or nanoseconds cannot be continued: use a new one.",
        )
