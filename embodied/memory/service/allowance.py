"""How much work one client may cause: bursts are free, and a steady flood is slowed down before it delays others."""

EVENTS_PER_CALL = 10.0  # A call costs the owner about as much as ten events in one.
BYTES_PER_EVENT = 4096.0  # So many bytes cost it as much as an event.


class Allowance:
    """A store of events that fills at `per_s` up to `most` (a token bucket); it may be overdrawn by one call.

    `now_s` is the time of a clock that is never set, at which it is full.
    """

    def __init__(self, *, per_s: float, most: float, now_s: float) -> None:
        self._per_s = per_s
        self._most = most
        self._left = most
        self._now_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Returns how long the next call has to wait, from `now_s` on, until nothing is overdrawn."""
        self._left = min(self._most, self._left + (now_s - self._now_s) * self._per_s)
        self._now_s = now_s
        return max(0.0, -self._left / self._per_s)

    def take(self, *, events: int, size_bytes: int) -> None:
        """Takes what a call with so many events and bytes has cost."""
        self._left -= EVENTS_PER_CALL + events + size_bytes / BYTES_PER_EVENT
