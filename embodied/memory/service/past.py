"""Closing the past of a bank, and opening it again: the site alone does both, by events that say so."""

from embodied.memory.schema.kinds import Reopened, Watermark
from embodied.memory.service.bank import Bank

WRITER = "site/past"


def close_past(bank: Bank, before_s: float | None = None) -> int:
    """Returns the number of the event after which `bank` accepts nothing earlier than `before_s` (seconds; None: now).

    Raises `MemoryBankError` for a time beyond the clock of the bank.
    """
    now_s = bank.clock().time_s
    return _append(bank, Watermark(now_s if before_s is None else before_s), now_s)


def reopen_past(bank: Bank, before_s: float | None = None) -> int:
    """Returns the number of the event after which only what is earlier than `before_s` (seconds) stays closed.

    With None nothing of the past of `bank` is closed any more.
    """
    return _append(bank, Reopened(before_s), bank.clock().time_s)


def _append(bank: Bank, payload: Watermark | Reopened, now_s: float) -> int:
    return bank.append_next(WRITER, now_s, payload)
