"""The valid times that a client gives to its events, by the clock of the bank and in the order of each writer."""

import math
from collections.abc import Sequence
from functools import partial

from embodied.memory.schema.event import Event
from embodied.memory.service.parcels import at_time
from embodied.memory.service.site_time import SiteTime
from embodied.memory.storage.clock import steady_s


class Stamping:
    """Stamps events by the `site` time, no earlier than the last ones of their writers.

    `last_s` is the last time of each writer of which the bank was asked, seconds.
    """

    def __init__(self, site: SiteTime) -> None:
        self.site = site
        self.last_s: dict[str, float] = {}
        self._stamped_s: dict[str, float] = {}  # The last time that this client gave to an event of each writer.
        self._posted_s: dict[int, float] = {}  # Of parcels of this process that wait without numbers, by `steady_s`.

    def note_posted(self, number: int) -> None:
        """Notes that the parcel of this number was written now, and is stamped later."""
        self._posted_s[number] = steady_s()

    def note_last(self, events: Sequence[Event]) -> None:
        """Notes the times of events that the bank will accept, so that later ones are stamped no earlier."""
        for event in events:
            if event.writer in self.last_s and event.valid_time_s <= self.site.latest_s:
                self.last_s[event.writer] = max(event.valid_time_s, self.last_s[event.writer])

    def of_parcel(self, number: int) -> "partial[Event]":
        """Returns a function that gives an event of this parcel its time by the bank's clock.

        Of a parcel of an earlier process only its own time is known, which may lie ahead of the bank's clock.
        """
        posted_s = self._posted_s.pop(number, None)
        return partial(self.stamped, ago_s=None if posted_s is None else steady_s() - posted_s)

    def stamped(self, event: Event, *, ago_s: float | None = None) -> Event:
        """Returns an event of `ago_s` seconds ago (None: unknown) at its time by the bank's clock."""
        now_s = self.site.time_s()
        time_s = min(event.valid_time_s, now_s) if ago_s is None else self.site.time_s(ago_s)
        earlier_s = self._stamped_s.get(event.writer, -math.inf)
        if earlier_s <= self.site.latest_s:  # Else the owner was replaced by one whose clock shows less.
            time_s = max(time_s, earlier_s)
        time_s = self._stamped_s[event.writer] = max(time_s, self.last_s.get(event.writer, -math.inf))
        return at_time(event, time_s)
