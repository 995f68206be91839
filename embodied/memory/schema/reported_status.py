"""The states in which a robot can be, as it reports them itself."""

from enum import StrEnum


class ReportedStatus(StrEnum):
    """What a robot does, or why it does nothing. `STOPPED` is by an emergency stop or a person."""

    IDLE = "idle"
    BUSY = "busy"
    DRIVING = "driving"
    HOLDING = "holding"
    CHARGING = "charging"
    STOPPED = "stopped"
    ERROR = "error"
    OFFLINE = "offline"


def as_status(text: str) -> str:
    """Returns the status that a text means, in any case of letters and with spaces around it, or the text itself."""
    return _BY_TEXT.get(text) or _BY_TEXT.get(text.strip().casefold(), text)


_BY_TEXT = {str(status): status for status in ReportedStatus}
