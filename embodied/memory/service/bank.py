"""The memory bank: one log of events, and projections of it about space, time and robots."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from embodied.errors import MemoryBankError, PathError
from embodied.memory.projections import embodiment
from embodied.memory.projections.temporal import closed_before_s
from embodied.memory.queries import validation
from embodied.memory.queries.moment_search import MomentIndex
from embodied.memory.queries.view import BankView
from embodied.memory.schema.checks import as_events
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Payload
from embodied.memory.schema.query import EventFilter
from embodied.memory.service.bank_status import BankStatus, bank_status
from embodied.memory.storage import integrity, snapshots
from embodied.memory.storage.bank_file import PROJECTIONS, open_tables, outdated, require_database
from embodied.memory.storage.clock import ClockReading, SiteClock
from embodied.memory.storage.clock_kind import clock_of
from embodied.memory.storage.lock import Ownership
from embodied.memory.storage.log import EventLog
from embodied.memory.storage.row_budget import RowBudget
from embodied.memory.storage.session import end_note
from embodied.memory.storage.url import bank_path

ROUNDING_S = 0.001  # Received times are stored in whole milliseconds.


def open_bank(
    url: str,
    *,
    root: Path | None = None,
    clock: SiteClock | None = None,
    half_life_s: Mapping[str, float] | None = None,
    thorough: bool = True,
) -> "Bank":
    """Returns the bank at `url` (see `bank_path`), created where there is none; close it, or use it in `with`.

    `root` confines the file; `clock` is that of the site, of this bank alone: a `WallClock` or a `SimulatedClock`. None
    is a clock of the kind that the bank has had from its beginning, and a `WallClock` for a new one. Events further
    beyond it than its `ahead_s` are refused. `half_life_s` is by category the time after which the probability of an
    entity without new events has halved, "" for all other categories. Without it only observed absences lower the
    probability, not time alone. `thorough` refuses a damaged file: one that is, to the
    byte, as a thorough owner has closed it is only read through, which takes some tenths of a second per million
    events; of any other, such as after a kill, every event is checked, which takes some seconds per million. One that
    was closed, and copied or altered since, has its projections made again, which takes some ten seconds per million.

    Raises `MemoryBankError` where another process owns the file, and for a wall clock on simulated time; `DataError`
    for a file that is damaged, or of a newer version.
    """
    half_life_s = validation.half_lives(half_life_s)
    path = bank_path(url, root=root)
    if path is not None:
        require_database(path)
    owner = None if path is None else Ownership(path)
    try:
        altered = False
        if path is not None and owner is not None and thorough and path.exists() and path.stat().st_size:
            altered = integrity.require_sound(path, owner.note)
        log = _opened(path, owner, clock, rebuilt=altered)
        return Bank(log, path=path, owner=owner, half_life_s=half_life_s, sound=thorough)
    except BaseException:
        if owner is not None:
            owner.release()
        raise


def _opened(path: Path | None, owner: Ownership | None, clock: SiteClock | None, *, rebuilt: bool) -> EventLog:
    """Returns the log of a bank's file; its projections are `rebuilt` in any case, or where they are outdated."""
    tables = open_tables(path)
    try:
        log = EventLog(tables, PROJECTIONS, clock=clock_of(tables, clock))
        if owner is not None:
            owner.leave(end_note(*log.end))
        if rebuilt or outdated(tables):
            snapshots.rebuild(log, path)
        _resume_after_past(log)
    except BaseException:
        tables.close()
        raise
    return log


def _resume_after_past(log: EventLog) -> None:
    """Sets the clock of `log` to the end of a past that was closed up to its time, which the log rounds."""
    received_s, closed_s = log.received_s(log.head), closed_before_s(log.tables)
    if received_s < closed_s <= received_s + ROUNDING_S:
        log.clock.resume(closed_s)


def require_openable(url: str, *, root: Path | None = None) -> None:
    """Raises the error that `open_bank` would raise at once, and changes nothing.

    That is `MemoryBankError` for a URL that names no file, `PathError` for a folder that cannot be written, `DataError`
    for a file of another kind, and `OwnedError` where another process owns the bank.
    """
    path = bank_path(url, root=root)
    if path is None:
        return
    require_database(path)
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise PathError(
            "A bank must lie in a folder that can be written.",
            value=f"{path}: {error.strerror}",
            remedy="Choose another folder.",
        ) from error
    if path.exists():
        Ownership(path).release()


class Bank(BankView):
    """The memory bank, returned by `open_bank`. Reads see the newest state; `snapshot` gives a fixed state.

    It is safe to call from several threads of the owning process, one at a time.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        path: Path | None = None,
        owner: Ownership | None = None,
        half_life_s: Mapping[str, float] | None = None,
        sound: bool = False,
    ) -> None:
        super().__init__(log, self._index, half_life_s=half_life_s)
        self.path = path
        self._sound = sound
        self._owner = owner
        self._first = log.head
        self._snapshots = None if path is None else snapshots.SnapshotWriter(path)
        if path is not None:
            log.tables.file.inspect_with(lambda: integrity.holds_beside(path, log.head))
        self._indexed: MomentIndex | None = None
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, events: Event | Sequence[Event], *, as_site: bool = False) -> list[int]:
        """Returns the sequence numbers of the events, once they are durable: all of them, or an error and none.

        An event that is sent again keeps its first number (0 where it was removed since). Raises `MemoryBankError` for
        invalid events, `ConflictError` for those that depend on a state that has changed, `StorageError` for a disk
        that is full or fails; nothing is written then. Raises `StaleLeaseError` where effects came under a stale lease:
        then all events are durable, these as claims. Raises `NotPermittedError` for writers and kinds that are reserved
        for the site (`schema.reserved`), unless they are written `as_site`, as leases and retention do.
        """
        (result,) = self.append_batches([as_events(events)], as_site=as_site)
        if isinstance(result, MemoryBankError):
            raise result
        return result

    def append_next(self, writer: str, time_s: float, payload: Payload) -> int:
        """Returns the number of an event of `payload` that a `writer` of the site appends, with its next number.

        Its time is `time_s`, or the writer's last one where that is later. Raises as `append`.
        """
        with self._log.tables.lock:  # Else two threads would give the same number.
            number, last_s = self.last_of_writer(writer)
            event = Event(writer, number + 1, max(time_s, last_s), payload)
            return self.append(event, as_site=True)[0]

    def append_batches(
        self, batches: Sequence[Sequence[Event]], *, as_site: bool = False, budget: RowBudget | None = None
    ) -> list[list[int] | MemoryBankError]:
        """Returns, for each of the `batches`, its sequence numbers or the error that refused it, in one commit.

        Each batch is appended wholly or not at all, independently of the others; one with a `StaleLeaseError` is
        appended. `as_site` is as in `append`; raises `StorageError` as it does. Where the `budget` of rows is spent the
        commit ends, and returns the results of the batches so far.
        """
        if isinstance(batches, Event | str | bytes | Mapping) or not isinstance(batches, Iterable):
            raise MemoryBankError(
                "Batches must be a sequence of sequences of events.", value=batches, remedy="Use `append` for one."
            )
        with self._log.tables.writing(), self._log.tables.lock:
            results = self._log.append_batches(batches, as_site=as_site, budget=budget)
            if self._owner is not None:
                self._owner.leave(end_note(*self._log.end))
        if self._snapshots is not None:
            self._snapshots.note(self._log.head)
        return results

    def clock(self) -> ClockReading:
        """Returns what the site's clock shows now."""
        self._log.tables.require_open()
        return ClockReading(self._log.clock.time_s(), self._log.clock.ahead_s, self._log.clock.simulated)

    def advance(self, to_s: float) -> float:
        """Moves a simulated clock to `to_s`, seconds, and returns its time then; only the driver of a run calls it.

        An earlier time changes nothing. Raises `MemoryBankError` for a wall clock, and for a time that is too large.
        """
        self._log.tables.require_open()
        return self._log.clock.advance(validation.number("to_s", to_s))

    def give_way(self) -> None:
        """Waits while another thread appends, at most a tenth of a second; for long work in the background."""
        self._log.tables.give_way()

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time (seconds) of a writer, (0, -inf) for an unknown one."""
        validation.text("writer", writer)
        with self._log.tables.lock:
            self._log.tables.require_open()  # The log caches this in memory.
            return self._log.last_of_writer(writer)

    def newest_lease(self, subtask: str) -> tuple[int, str, float]:
        """Returns epoch, robot and end (seconds) of a subtask's newest lease; epoch 0 where it was never leased."""
        validation.text("subtask", subtask)
        with self._log.tables.lock:
            epoch, robot, expires_s, _ = embodiment.newest_lease(self._log.tables, subtask)
            return epoch, robot, expires_s

    def snapshot(self, seq: int | None = None) -> BankView:
        """Returns a view of everything up to `seq` (None: now).

        Its answers never change, unless retention removes events on which they rest: then `removed` of the view grows.
        """
        held = validation.past_seq(seq, self.head)
        return BankView(self._log, self._index, seq=held, half_life_s=self._view.half_life_s)

    def subscribe(self, wanted: EventFilter | None = None, *, after_seq: int | None = None) -> "Subscription":
        """Returns a subscription to the wanted events after `after_seq` (None: future ones), a number that exists."""
        return Subscription(self, validation.event_filter(wanted), validation.start_seq(after_seq, self.head))

    def status(self, *, now_s: float | None = None) -> BankStatus:
        """Returns the state of the bank for those who operate it; `now_s` is by default the time of this machine."""
        now_s = self._log.clock.time_s() if now_s is None else now_s
        return bank_status(self._log, self.path, owned=True, now_s=now_s)

    def verify(self) -> integrity.Damage:
        """Returns the damage: in pages of the file, events of the log, and projections that differ from it."""
        with self._log.tables.lock:
            damage = integrity.inspect_tables(self._log.tables.db)
            if damage.problems:
                return damage
            return integrity.Damage(tuple(integrity.inspect_projections(self._log)), damage.sound_seq)

    def rebuild(self) -> int:
        """Makes all projections again, from the newest valid snapshot and the log after it; returns its number."""
        start = snapshots.rebuild(self._log, self.path)
        self._indexed = None
        return start

    def write_snapshot(self) -> Path | None:
        """Returns a new file with the current projections, None for a bank in memory."""
        self._log.tables.require_open()
        return None if self.path is None else snapshots.write_snapshot(self.path)

    def close(self) -> None:
        """Closes the file and lets others open it; safe to call twice."""
        if not self._open:
            return
        self._open = False
        if self._snapshots is not None:
            self._snapshots.close()
        untouched, same = self._log.tables.file.untouched, self._log.end[0] == self._first
        self._log.tables.close()
        if self._owner is not None and self.path is not None:
            sealed = integrity.seal(self.path) if self._sound and untouched else ""
            self._owner.release(sealed or (self._owner.note if untouched and same else None))

    def _index(self) -> MomentIndex:
        """Returns the index of moments, created on first use; it follows the log by itself."""
        with self._log.tables.lock:
            if self._indexed is None:
                self._indexed = MomentIndex(self._log.tables)
            return self._indexed


class Subscription:
    """Returns wanted events, each once, in order. It polls the bank, so it works across processes too."""

    def __init__(self, bank: Bank, wanted: EventFilter, after_seq: int) -> None:
        self._bank = bank
        self._wanted = wanted
        self.seq = after_seq

    @property
    def head(self) -> int:
        """The newest number of the bank."""
        return self._bank.head

    def poll(self, *, limit: int = 1000) -> list[Event]:
        """Returns the wanted events since the last call, at most `limit`."""
        validation.whole("limit", limit, least=1)
        head = self._bank.head
        found = self._bank.snapshot(head).changes_since(self.seq, wanted=self._wanted, limit=limit)
        self.seq = found[-1].seq if len(found) == limit else head
        return found
