"""The open file of an outbox: its connection, and its transactions while nothing else has changed it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from embodied.errors import MemoryBankError, StorageError
from embodied.memory.service.outbox_file import transaction
from embodied.memory.service.outbox_rescue import is_whole, open_whole
from embodied.memory.storage.open_file import OpenFile

logger = logging.getLogger(__name__)


class OutboxStore:
    """A connection (`db`) to the outbox at `path` (None: in memory); `durable` as in `open_file`.

    A write-ahead log that is deleted while it is open loses nothing: the file is then opened again.
    """

    def __init__(self, path: Path | None, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._open = True
        self._connect()

    def _connect(self) -> None:
        self.db = open_whole(self._path, durable=self._durable)
        self._file = OpenFile(self._path)
        if self._path is not None:
            self._file.inspect_with(partial(is_whole, self._path))

    def require_owner(self) -> None:
        """Raises `StorageError` in a forked process, `MemoryBankError` once it is closed: others may own the file."""
        self._file.require_owner()
        if not self._open:
            raise MemoryBankError(
                "An outbox must be open to take events.", value="a closed outbox", remedy="Make a new `Outbox`."
            )

    def close(self) -> None:
        """Closes the connection; safe to call twice."""
        self._open = False
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits what is written inside, or nothing of it where anything fails.

        Raises `StorageError` where the files are not as this process left them, and as `require_owner` and `open_file`.
        """
        self.require_owner()
        try:
            self._file.require_unchanged()
        except StorageError:
            if not self._file.log_gone:
                raise
            logger.warning("The write-ahead log of %s was deleted: its content is in the file now.", self._path)
            self.db.close()  # SQLite still has the log open, and writes it into the file.
            self._connect()
        with transaction(self.db):
            yield
        self._file.note_commit()
