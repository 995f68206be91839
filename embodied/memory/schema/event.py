"""The event: who wrote it, what happened, when, in what order, and because of which events."""

import msgspec

from embodied.memory.schema.kinds import Payload

SCHEMA_VERSION = 1
LogPosition = tuple[float, int]  # Valid time, seconds, and sequence number: the order in which things were so.


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One entry of the log, from which all else in the bank follows.

    `writer` and `writer_seq` make an append idempotent: the same pair again is the same event, sent again.
    `valid_time_s` is when it was so, on the site clock (seconds); `received_time_s` when the bank took it, set by the
    bank, as is `seq`, its place in the one total order from 1 (both 0 before the append). `cause` are the `seq` of the
    events that led to this one. The valid times of one writer never run backwards; a report on the past comes from a
    writer of its own (say `panda/late`).
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

    @property
    def kind(self) -> str:
        """The name of what happened: the payload's tag."""
        return str(type(self.payload).__struct_config__.tag)

    @property
    def position(self) -> LogPosition:
        """Where the event stands in the order of what was so."""
        return self.valid_time_s, self.seq
