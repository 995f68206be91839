"""Withdraws wrong events of a bank for an operator of the site."""

from collections.abc import Sequence

from embodied.memory.schema.kinds import Withdrawn
from embodied.memory.service.bank import Bank

OPERATOR = "site/operator"


def withdraw(bank: Bank, seqs: Sequence[int], reason: str) -> int:
    """Withdraws the events `seqs` of a `bank`, as the writer `site/operator`; returns the number of the new event.

    `reason` is kept in it. Its time is that of the newest event, or of the bank's clock where that is earlier. Raises
    `MemoryBankError` as `Bank.append`.
    """
    clock_s, newest_s = bank.clock().time_s, bank.latest_s()
    time_s = clock_s if newest_s is None else min(newest_s, clock_s)
    return bank.append_next(OPERATOR, time_s, Withdrawn(tuple(seqs), reason))
