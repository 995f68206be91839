"""The outbox of one robot: events that the bank has not answered yet, stored on the robot's own disk."""

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from embodied.errors import DataError, MemoryBankError, StorageError, UnknownNameError
from embodied.memory.schema.codec import decode_events, encode_events
from embodied.memory.schema.event import Event
from embodied.memory.schema.limits import LARGEST_NUMBER, MOST_SKIPPED, check_append_count, check_append_size
from embodied.memory.service.laid_aside import keep, listed
from embodied.memory.service.outbox_file import select, synchronise, translated
from embodied.memory.service.outbox_store import OutboxStore
from embodied.memory.service.parcels import (
    LaidAside,
    Parcel,
    digest_of,
    is_sound,
    numbered,
    readdressed,
    require_room,
)
from embodied.memory.storage.lock import Ownership

logger = logging.getLogger(__name__)

MEBIBYTE = 2**20
LAID_ASIDE_SHARE = 4  # What is laid aside takes at most a quarter of the limit in bytes.
SET_LAST = "INSERT INTO writer VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET last = excluded.last"
ALTERED = "The parcel does not match its checksum: the file was altered."


class Outbox:
    """Parcels in the order in which they were written, and the last number that each writer has used.

    A parcel whose writers' last numbers are not known yet waits without numbers (`add` with `later`). One that was
    altered on the disk is laid aside, with a warning, and the others are sent. A damaged file is kept beside a new one
    with all that can be read of it. It is safe to call from several threads; one process owns the file (None: in
    memory). Raises `DataError` for a file of another program, and `StorageError` where the disk fails.
    """

    def __init__(
        self, path: Path | None, *, limit: int = 100_000, limit_mib: float = 256.0, durable: bool = True
    ) -> None:
        for name, value in (("limit", limit), ("limit_mib", limit_mib)):
            if not isinstance(value, float | int) or not value >= 0:
                raise MemoryBankError(f"{name} of an outbox must be a number that is not negative.", value=value)
        self._limit = limit
        self._limit_bytes = limit_mib * MEBIBYTE
        self._room_aside = self._limit_bytes / LAID_ASIDE_SHARE
        self._durable = durable
        self._lock = threading.RLock()
        self._owner = None if path is None else Ownership(path)
        try:
            self._store = OutboxStore(path, durable=durable)
            try:
                self._load()
            except BaseException:
                self._store.db.close()
                raise
        except BaseException:
            self._release()
            raise
        self._open = True

    @property
    def events(self) -> int:
        """How many events wait in it."""
        return self._events

    @property
    def size_bytes(self) -> int:
        """How many bytes of events wait in it."""
        return self._bytes

    def knows(self, writer: str) -> bool:
        """Returns whether a writer's numbers are kept here."""
        return writer in self._last

    def adopt(self, writer: str, last: int) -> None:
        """Counts a writer's numbers from `last` on, or the own last one where that is higher, and plausible."""
        with self._lock:
            if not last <= self._last.get(writer, -1) <= last + MOST_SKIPPED:
                with self._store.transaction():
                    self._store.db.execute(SET_LAST, (writer, last))
                self._last[writer] = last

    def add(self, events: Sequence[Event], *, later: bool = False, stamped: bool = False) -> Parcel:
        """Returns the parcel of `events` once it is stored; those with `writer_seq` 0 get their writer's next numbers.

        With `later` they get them from `number`, for all parcels that wait without numbers in order; `stamped` says
        that their times are those of the robot's clock, which may have been set back. Raises
        `MemoryBankError`, and keeps nothing, for events that no bank could read, for a full outbox, and otherwise for a
        writer without numbers; `StorageError` where the file was deleted, and in a forked process.
        """
        with self._lock:
            self._store.require_owner()
            last = dict(self._last)
            content = encode_events(events if later else [numbered(event, last) for event in events])
            decode_events(content)  # An unreadable parcel would block all later ones.
            self._require_room(len(events), len(content))
            with self._store.transaction():
                number = self._insert(len(events), content, stamped=stamped)
                if later:
                    self._store.db.execute("INSERT OR REPLACE INTO unnumbered VALUES (?, ?)", (number, int(stamped)))
                self._keep_last(last)
                self._delete(self._answered)
            self._answered.clear()
            self._note(number, len(events), len(content))
            self._last = last
            if later:
                self._unnumbered[number] = stamped
            return Parcel(number, len(events), content)

    def is_numbered(self, number: int) -> bool:
        """Returns whether the events of a parcel have their numbers."""
        return number not in self._unnumbered

    def is_stamped(self, number: int) -> bool:
        """Returns whether the client of an earlier process gave the events of a parcel their times."""
        return number in self._stamped

    @property
    def all_numbered(self) -> bool:
        """Whether no parcel waits without numbers."""
        return not self._unnumbered

    def number(self, parcel: Parcel, stamp: Callable[[Event], Event]) -> Parcel:
        """Returns a parcel with numbers for its events, once it is stored. Raises as `add`.

        Stamped events get the time that `stamp` gives them.
        """
        with self._lock:
            last = dict(self._last)
            events = [numbered(event, last) for event in decode_events(parcel.content)]
            if self._unnumbered.get(parcel.number):
                events = [stamp(event) for event in events]
            found = self._replace(parcel, events, last)
            self._unnumbered.pop(parcel.number, None)
            return found

    def rewrite(self, parcel: Parcel, events: Sequence[Event]) -> Parcel:
        """Returns a parcel with these events in place of its own, once it is stored.

        They are its own under another writer, or at other times: see `Sender`.
        """
        with self._lock:
            return self._replace(parcel, events, self._last)

    def waiting(self) -> list[Parcel]:
        """Returns all parcels, oldest first, without any that was altered: that is laid aside."""
        with self._lock:
            return [parcel for parcel in self.read(list(self._sizes)) if parcel is not None]

    def numbers(self) -> list[int]:
        """Returns the numbers of all parcels, oldest first."""
        with self._lock:
            return list(self._sizes)

    def read(self, numbers: Sequence[int], *, most_bytes: float = float("inf")) -> list[Parcel | None]:
        """Returns the first of the parcels with these `numbers`: `most_bytes` bytes of them, but at least one.

        None stands for one that is not there any more, or was altered: that is laid aside.
        """
        found: list[Parcel | None] = []
        with self._lock:
            for number in numbers:
                most_bytes -= self._sizes.get(number, (0, 0))[1]
                if most_bytes < 0 and found:
                    break
                rows = list(
                    select(self._store.db, "SELECT count, content, digest FROM parcel WHERE number = ?", (number,))
                )
                if rows and number in self._sizes and not is_sound(*rows[0][1:]):
                    self._lay_aside([number])
                known = self._sizes.get(number)
                found.append(Parcel(number, known[0], rows[0][1]) if rows and known else None)
        return found

    def remove(self, parcels: Sequence[Parcel], *, at_once: bool = False) -> None:
        """Removes parcels that the bank has answered; on disk with the next parcel, unless `at_once`.

        A kill in between sends them again, which is harmless where the bank has accepted them. Where `at_once` fails
        it has changed nothing.
        """
        with self._lock:
            numbers = {parcel.number for parcel in parcels} & self._sizes.keys()
            if at_once:
                self._delete_now(numbers)
            else:
                self._answered |= numbers
            for number in numbers:
                self._forget(number)

    def refuse(self, parcel: Parcel, reason: str) -> None:
        """Keeps a copy of a parcel that the bank refuses and for which no caller waits."""
        with self._lock, self._store.transaction():
            keep(self._store.db, parcel.number, parcel.content, reason, room_bytes=self._room_aside)

    def refused(self) -> list[tuple[list[Event], str]]:
        """Returns the events of all parcels that were laid aside, and the reasons."""
        return [(one.events, one.reason) for one in self.laid_aside()]

    def laid_aside(self) -> list[LaidAside]:
        """Returns the parcels that were laid aside: those that the bank refused, and those that were altered."""
        with self._lock:
            return listed(self._store.db)

    def send_again(self, number: int) -> Parcel:
        """Puts a parcel that was laid aside at the end of those that wait, and returns it once it is stored.

        Its events get a writer of their own, as in `readdress`: in the meantime its writer has used later numbers and
        times. Raises `UnknownNameError` for a number that is not among `laid_aside`, `DataError` for one that cannot be
        decoded.
        """
        with self._lock:
            found = {one.number: one for one in self.laid_aside()}
            if number not in found:
                known = ", ".join(map(str, found)) or "none"
                remedy = f"Laid aside: {known}."
                raise UnknownNameError("A parcel must be laid aside to be sent again.", value=number, remedy=remedy)
            if not found[number].events:
                raise DataError("Only a readable parcel can be sent again.", value=number, remedy=found[number].reason)
            ((raw,),) = select(self._store.db, "SELECT content FROM refused WHERE number = ?", (number,))
            events = readdressed(found[number].events, raw)
            content = encode_events(events)
            self._require_room(len(events), len(content))
            with self._store.transaction():
                again = self._insert(len(events), content)
                self._store.db.execute("DELETE FROM refused WHERE number = ?", (number,))
            self._note(again, len(events), len(content))
            return Parcel(again, len(events), content)

    def close(self) -> None:
        """Closes the file; safe to call twice. Waiting events are sent when it is opened again."""
        with self._lock:
            try:
                if self._open:
                    self._delete_now(set())
            except (StorageError, DataError) as error:
                logger.warning("Events that the bank has answered are sent once more next time: %s", error)
            finally:
                self._open = False
                self._store.close()
                self._release()

    def _load(self) -> None:
        """Reads what the file contains, apart from the events themselves, and lays altered parcels aside."""
        self._sizes: dict[int, tuple[int, int]] = {}
        self._events = self._bytes = 0
        self._answered: set[int] = set()
        self._stamped: set[int] = set()
        altered = []
        rows = select(self._store.db, "SELECT number, count, content, digest, stamped FROM parcel ORDER BY number")
        for number, count, content, digest, stamped in rows:
            if is_sound(content, digest):
                plausible = type(count) is int and 0 < count <= len(content)
                self._stamped |= {number} if stamped else set()
                self._note(number, count if plausible else 1, len(content))
            else:
                altered.append(number)
        self._last: dict[str, int] = {
            name: last
            for name, last in select(self._store.db, "SELECT name, last FROM writer")
            if isinstance(name, str) and type(last) is int and 0 <= last <= LARGEST_NUMBER
        }
        self._unnumbered: dict[int, bool] = {
            number: bool(stamped)
            for number, stamped in select(self._store.db, "SELECT number, stamped FROM unnumbered")
            if number in self._sizes
        }
        self._lay_aside(altered)

    def _require_room(self, count: int, size: int) -> None:
        check_append_count(count)
        check_append_size(size)
        require_room("events", self._events, count, self._limit)
        require_room("bytes", self._bytes, size, int(self._limit_bytes))

    def _insert(self, count: int, content: bytes, *, stamped: bool = False) -> int:
        columns = "count, content, digest, stamped, stored_s"
        sql = f"INSERT INTO parcel ({columns}) VALUES (?, ?, ?, ?, strftime('%s', 'now'))"  # noqa: S608
        return int(self._store.db.execute(sql, (count, content, digest_of(content), int(stamped))).lastrowid or 0)

    def _replace(self, parcel: Parcel, events: Sequence[Event], last: dict[str, int]) -> Parcel:
        """Stores other events in place of those of a parcel, with the `last` numbers of their writers."""
        content = encode_events(events)
        with self._store.transaction():
            changed = content, digest_of(content), parcel.number
            self._store.db.execute("UPDATE parcel SET content = ?, digest = ? WHERE number = ?", changed)
            self._store.db.execute("DELETE FROM unnumbered WHERE number = ?", (parcel.number,))
            self._keep_last(last)
        self._last = last
        count, size = self._sizes[parcel.number]
        self._note(parcel.number, len(events), len(content))  # It keeps its place among the others.
        self._events -= count
        self._bytes -= size
        return Parcel(parcel.number, len(events), content)

    def _keep_last(self, last: Mapping[str, int]) -> None:
        for writer, value in last.items():
            if self._last.get(writer) != value:
                self._store.db.execute(SET_LAST, (writer, value))

    def _delete(self, numbers: Collection[int]) -> None:
        self._store.db.executemany("DELETE FROM parcel WHERE number = ?", [(number,) for number in numbers])

    def _delete_now(self, numbers: set[int]) -> None:
        """Deletes answered parcels; this need not reach the disk, since the bank recognises repeated events."""
        with translated():
            synchronise(self._store.db, durable=False)
        try:
            with self._store.transaction():
                self._delete(self._answered | numbers)
        finally:
            with translated():
                synchronise(self._store.db, durable=self._durable)
        self._answered.clear()

    def _lay_aside(self, numbers: Sequence[int]) -> None:
        """Moves altered parcels to those that were refused; where the disk fails, this is tried again next time."""
        for number in numbers:
            logger.warning("Parcel %d of an outbox was laid aside, and the others are sent: %s", number, ALTERED)
            self._forget(number)
            self._unnumbered.pop(number, None)
            try:
                with self._store.transaction():
                    for (found,) in self._store.db.execute("SELECT content FROM parcel WHERE number = ?", (number,)):
                        content = found if isinstance(found, bytes) else b""
                        keep(self._store.db, number, content, ALTERED, room_bytes=self._room_aside)
                    self._delete([number])
            except StorageError as error:
                logger.warning("Parcel %d stays where it is: %s", number, error)

    def _note(self, number: int, count: int, size: int) -> None:
        self._sizes[number] = (count, size)
        self._events += count
        self._bytes += size

    def _forget(self, number: int) -> None:
        """Counts a parcel no more; once, however often it is called."""
        count, size = self._sizes.pop(number, (0, 0))
        self._events -= count
        self._bytes -= size

    def _release(self) -> None:
        if self._owner is not None:
            self._owner.release()
