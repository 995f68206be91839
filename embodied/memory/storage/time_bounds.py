"""The bounds on an event's times: it may not lie far beyond the clock of the bank, nor close a past that is to come."""

from embodied.errors import AheadOfClockError
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Interaction, Watermark

UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}


def check_times(event: Event, now_s: float, ahead_s: float) -> None:
    """Raises `AheadOfClockError` where an `event` lies over `ahead_s` beyond the clock, which shows `now_s`.

    A past may be closed up to the clock, and no further.
    """
    payload = event.payload
    latest_s = max(event.valid_time_s, payload.place_end_s if isinstance(payload, Interaction) else event.valid_time_s)
    if latest_s > now_s + ahead_s:
        raise AheadOfClockError(
            f"The times of an event must lie at most {ahead_s:g} s beyond the clock of the bank.",
            value=f"{latest_s} s of {event.writer!r} while the clock of the bank shows {now_s:.3f} s",
            remedy=_remedy(latest_s, now_s),
        )
    if isinstance(payload, Watermark) and payload.before_s > now_s:
        raise AheadOfClockError(
            "A past must be closed no further than the clock of the bank.",
            value=f"{payload.before_s} s while the clock of the bank shows {now_s:.3f} s",
            remedy="Only the past can be closed.",
        )


def _remedy(time_s: float, now_s: float) -> str:
    for unit, each in UNITS.items():
        if now_s > 0.0 and 0.5 < time_s / each / now_s < 2.0:
            return f"This looks like {unit}: times are in seconds."
    return AheadOfClockError.usual_remedy
