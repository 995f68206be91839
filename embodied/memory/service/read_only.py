"""Reads a bank's file at one instant, also while another process owns and writes it."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from embodied.errors import MemoryBankError, PathError
from embodied.memory.queries import validation
from embodied.memory.queries.moment_search import MomentIndex
from embodied.memory.queries.view import BankView
from embodied.memory.service.bank_status import BankStatus, bank_status
from embodied.memory.storage.bank_file import PROJECTIONS, outdated, read_only_tables, require_database
from embodied.memory.storage.integrity import Damage, inspect_tables
from embodied.memory.storage.log import EventLog
from embodied.memory.storage.url import bank_path


def open_read_only(
    url: str, *, root: Path | None = None, half_life_s: Mapping[str, float] | None = None
) -> "ReadOnlyBank":
    """Returns what the bank at `url` holds now; close it, or use it in `with`.

    Nothing is locked or written, so another process may own the bank and go on writing. Log and projections are read in
    one transaction: the answers are those of `Bank.snapshot` at the event that was the newest when it was opened, and
    never change. Digests are not checked, which takes time by events: `ReadOnlyBank.verify` does it. `root` and
    `half_life_s` are as in `open_bank`. Keep it open for as long as the questions take: meanwhile the owner's
    write-ahead log grows.

    Raises:
        PathError: Where there is no file.
        MemoryBankError: For a bank in memory, or with projections of another version.
        DataError: For a file that is no bank, is empty, or is of a newer version.
    """
    half_life_s = validation.half_lives(half_life_s)
    path = bank_path(url, root=root)
    if path is None:
        raise MemoryBankError("A bank that is read beside its owner must lie in a file.", value=url)
    if not path.is_file():
        raise PathError("A bank to read must be a file that exists.", value=url)
    require_database(path)
    log = EventLog(read_only_tables(path), PROJECTIONS)
    if outdated(log.tables):
        log.tables.close()
        raise MemoryBankError(
            "The projections of a bank must be of this version to be read beside its owner.",
            value=path.name,
            remedy="Open it with this version once no other process has it open, which makes them again.",
        )
    return ReadOnlyBank(log, half_life_s, path)


class ReadOnlyBank(BankView):
    """A bank as it was when it was opened, returned by `open_read_only`; safe to call from several threads."""

    def __init__(self, log: EventLog, half_life_s: Mapping[str, float], path: Path) -> None:
        super().__init__(log, self._index, seq=log.head, half_life_s=half_life_s)
        self.path = path
        self._indexed: MomentIndex | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def status(self, *, now_s: float | None = None) -> BankStatus:
        """Returns the state of the bank for those who operate it; `now_s` is by default the time of this machine."""
        return bank_status(self._log, self.path, owned=False, now_s=now_s)

    def verify(self) -> Damage:
        """Returns the damage of the pages and of the chain of events, as they were when the bank was opened.

        It reads the whole file, some seconds per million events. Projections, which have no digests, are not compared
        with the log: `Bank.verify` does that, without an owner.
        """
        with self._log.tables.lock:
            return inspect_tables(self._log.tables.db)

    def close(self) -> None:
        """Ends the reading; safe to call twice."""
        self._log.tables.close()

    def _index(self) -> MomentIndex:
        if self._indexed is None:
            self._indexed = MomentIndex(self._log.tables)
        return self._indexed
