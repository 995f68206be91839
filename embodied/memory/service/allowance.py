"""How much work one client may cause: bursts are free, and a steady flood is slowed down before it delays others."""

import asyncio

EVENTS_PER_CALL = 10.0  # A call costs the owner about as much as ten events in one.
BYTES_PER_EVENT = 4096.0  # So many bytes cost it as much as an event.
EVENTS_PER_REFUSAL = 50.0  # A robot that works has none; one that is refused again and again is slowed down.
LARGE_APPEND = 50  # Events of one append that other clients do not notice.
LONGEST_DELAY_S = 5.0  # Half of the time for which a link waits for an answer.


def weight(events: float) -> float:
    """Returns how many events an append with so many counts as: more than they are for a large one.

    An append is committed as a whole, so twice as many events let twice as many calls of others wait for twice as long.
    """
    return events * max(1.0, events / LARGE_APPEND)


class Allowance:
    """A store of events that fills at `per_s` up to `most` (a token bucket); it may be overdrawn by one call.

    `now_s` is the time of a clock that is never set, at which it is full. The commit that is in progress holds `turn`:
    further ones of the same client wait, so that what it has cost is known before the next.
    """

    def __init__(self, *, per_s: float, most: float, now_s: float) -> None:
        self._per_s = per_s
        self._most = most
        self._left = most
        self._now_s = now_s
        self.turn = asyncio.Lock()

    def wait_s(self, now_s: float) -> float:
        """Returns how long the next call has to wait, from `now_s` on, until nothing is overdrawn; at most 5 s."""
        self._left = min(self._most, self._left + (now_s - self._now_s) * self._per_s)
        self._now_s = now_s
        return max(0.0, -self._left / self._per_s)

    def take(self, *, events: float, size_bytes: int, refused: int = 0) -> None:
        """Takes what a call with so many `events` (see `weight`), `size_bytes` and `refused` appends has cost."""
        self._left -= EVENTS_PER_CALL + events + size_bytes / BYTES_PER_EVENT + refused * EVENTS_PER_REFUSAL
        self._left = max(self._left, -LONGEST_DELAY_S * self._per_s)
