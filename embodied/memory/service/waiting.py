"""Parcels of an outbox that wait for their answers."""

from concurrent.futures import Future
from dataclasses import dataclass

from embodied.errors import AheadOfClockError, MemoryBankError, StaleLeaseError
from embodied.memory.service.commit_queue import Result


@dataclass(eq=False)
class Waiting:
    """A parcel that waits for its answer.

    `content` is None where it is to be read from the outbox, `answer` where no caller waits for it. The outbox gave
    the numbers of `counted` ones, and may give others. Where `kept` it is laid aside again if it is refused. `stamped`
    ones have times of this client's making, which it may change.
    """

    number: int
    content: bytes | None
    count: int
    answer: Future[list[int]] | None
    counted: bool
    kept: bool = False
    stamped: bool = False

    def is_ahead(self, result: Result) -> bool:
        """Returns whether the bank has refused it for times that its client may change."""
        return self.stamped and isinstance(result, AheadOfClockError)

    def set_answer(self, result: Result) -> None:
        """Gives the caller the result, where one waits."""
        if self.answer is None:
            return
        if isinstance(result, MemoryBankError):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


def is_refusal(result: Result) -> bool:
    """Returns whether nothing of a parcel was written: claims are in the log."""
    return isinstance(result, MemoryBankError) and not isinstance(result, StaleLeaseError)
