"""A client's estimate of the clock of its bank: read from the owner now and then, and counted on in between."""

import math
import threading

from embodied.memory.service.service import Link, UnreachableError
from embodied.memory.storage.clock import ClockReading, SiteClock, steady_s

FRESH_S = 60.0  # Clocks of two machines differ by some milliseconds after that.


class SiteTime:
    """The time of the bank behind a `link`, as a client knows it; safe to call from many threads.

    The robot's `own` clock counts only until the owner has answered for the first time. From then on its answers count,
    and durations of a clock that cannot be set: whatever becomes of the robot's clock changes nothing. Simulated time
    stands still between two answers.
    """

    def __init__(self, link: Link, own: SiteClock) -> None:
        self._link = link
        self._own = own
        self._lock = threading.Lock()
        self._reading: ClockReading | None = None
        self._read_s = 0.0
        self._fresh = False

    @property
    def known(self) -> bool:
        """Whether the owner has answered at least once."""
        return self._reading is not None

    @property
    def latest_s(self) -> float:
        """The latest time that the owner accepts now, seconds; infinite while it has not answered."""
        return math.inf if self._reading is None else self.time_s() + self._reading.ahead_s

    def read(self) -> ClockReading:
        """Returns what the owner's clock shows. Raises as the link does.

        It is taken to be read in the middle of the round trip, after Cristian, "Probabilistic clock synchronization",
        Distributed Computing 3 (1989).
        """
        before_s = steady_s()
        reading = self._link.clock()
        after_s = steady_s()
        with self._lock:
            self._reading, self._read_s, self._fresh = reading, 0.5 * (before_s + after_s), True
        return reading

    def refresh(self) -> None:
        """Reads the owner's clock where the last answer is old or in doubt. Raises as the link does."""
        if not self._fresh or steady_s() - self._read_s > FRESH_S:
            self.read()

    def doubt(self) -> None:
        """Notes that the owner may be another one now, whose clock is read before anything is sent to it."""
        self._fresh = False

    def time_s(self, ago_s: float = 0.0) -> float:
        """Returns the time `ago_s` seconds ago, without a call to the owner."""
        with self._lock:
            reading, read_s = self._reading, self._read_s
        if reading is None:
            return self._own.time_s() - ago_s
        return reading.time_s if reading.simulated else reading.time_s + steady_s() - read_s - ago_s

    def stamp_s(self) -> float:
        """Returns the time for an event of now; simulated time is read from the owner while that can be reached."""
        reading = self._reading
        if reading is not None and reading.simulated:
            try:
                self.read()
            except UnreachableError:
                self.doubt()
        return self.time_s()
