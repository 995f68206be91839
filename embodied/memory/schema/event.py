"""The event: its writer, payload, times, order, and causes."""

import msgspec

from embodied.memory.schema.kinds import Payload, PlaceDefined

SCHEMA_VERSION = 2
MAPS_VERSION = 2  # Before it the `map_id` of a place was a label without an effect.
LogPosition = tuple[float, int]  # Valid time, seconds, and sequence number: the order of valid times.


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One entry of the log, from which everything else in the bank is derived.

    `writer` and `writer_seq` make an append idempotent: the same pair again is the same event, sent again.
    `valid_time_s` is the time to which it refers, on the site clock (seconds); `received_time_s` is when the bank
    received it, set by the bank, as is `seq`, its position in the total order from 1 (both 0 before the append).
    `cause` are the `seq` of the events that led to this one. The valid times of one writer never decrease; a report on
    the past comes from a separate writer (such as `panda/late`).

    What a robot writes while it executes a leased subtask names `subtask` and the `epoch` of the lease ("" and 0
    otherwise). The bank sets `claimed` on effects (`embodiment.EFFECTS`) of a lease that was stale or had ended when
    they arrived: they stay in the log and in histories, and no belief counts them.
    """

    writer: str
    writer_seq: int
    valid_time_s: float
    payload: Payload
    robot: str = ""
    task: str = ""
    cause: tuple[int, ...] = ()
    seq: int = 0
    received_time_s: float = 0.0
    schema_version: int = SCHEMA_VERSION
    subtask: str = ""
    epoch: int = 0
    claimed: bool = False

    @property
    def kind(self) -> str:
        """The name of the kind of event: the payload's tag."""
        return str(type(self.payload).__struct_config__.tag)

    @property
    def position(self) -> LogPosition:
        """The position of the event in the order of valid times."""
        return self.valid_time_s, self.seq


def map_of(event: Event) -> str:
    """Returns the map in whose frame the payload of an event is given, "" for the site frame."""
    if isinstance(event.payload, PlaceDefined) and event.schema_version < MAPS_VERSION:
        return ""
    return str(getattr(event.payload, "map_id", ""))
