"""How much a client sends in one call: less after a call that failed or was slow, and more again after each success.

Additive increase and multiplicative decrease; source: D. Chiu and R. Jain, Analysis of the Increase and Decrease
Algorithms for Congestion Avoidance in Computer Networks, 1989.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from embodied.memory.service.parcels import Parcel

LARGEST = (1_000, 400, 2**20)  # Parcels, events and bytes, unless one parcel alone is larger.
STEPS = 8  # Successes from almost nothing to the largest.
SLOW_S = 2.0  # A fifth of a link's usual time limit: other calls and pings wait behind what is on its way.


@dataclass
class SendingSize:
    """The most `parcels`, `events` and bytes (`size`) of the next call; a single parcel may always be sent."""

    parcels: int = LARGEST[0]
    events: int = LARGEST[1]
    size: int = LARGEST[2]

    def fits(self, parcels: int, events: int, size: int) -> bool:
        """Returns whether a call may have so many `parcels` and `events`, and bytes (`size`)."""
        return parcels <= 1 or (parcels <= self.parcels and events <= self.events and size <= self.size)

    def note_success(self, sent: Sequence[Parcel], duration_s: float) -> None:
        """Grows by an eighth of the largest, or halves where the call took longer than two seconds."""
        if duration_s > SLOW_S:
            self.note_failure(sent)
            return
        self.parcels, self.events, self.size = (
            min(most, now + max(1, most // STEPS))
            for now, most in zip((self.parcels, self.events, self.size), LARGEST, strict=True)
        )

    def note_failure(self, sent: Sequence[Parcel]) -> None:
        """Halves: the next call has at most half of what was `sent`, which may have been too much for the link."""
        if sent:
            self.parcels = max(1, len(sent) // 2)
            self.events = max(1, sum(one.count for one in sent) // 2)
            self.size = max(1, sum(len(one.content) for one in sent) // 2)
