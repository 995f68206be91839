"""How many rows one commit may write, so that those who wait for it do not wait for long."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


@dataclass
class RowBudget:
    """A commit ends after the batch with which `most` rows are written; `written` are those of each batch so far.

    Rows of a batch that was refused count too: they took as long.
    """

    most: float
    written: list[int] = field(default_factory=list)

    def spend(
        self, db: sqlite3.Connection, batches: Iterable[Batch], append: Callable[[Batch], Answer]
    ) -> list[Answer]:
        """Returns what `append` returns for each of the `batches`, up to the one with which the budget is spent.

        The rows are those that the connection `db` has written.
        """
        answers = []
        for batch in batches:
            before = db.total_changes
            answers.append(append(batch))
            self.written.append(db.total_changes - before)
            if sum(self.written) >= self.most:
                break
        return answers
