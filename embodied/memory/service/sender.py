"""The thread of a client that sends the parcels of its outbox until the bank has answered them."""

import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence, Set
from concurrent.futures import Future
from contextlib import suppress

from embodied.errors import (
    DataError,
    MemoryBankError,
    NumberTakenError,
    StorageError,
)
from embodied.memory.schema.codec import decode_events
from embodied.memory.schema.event import Event
from embodied.memory.service.commit_queue import Result, uncancellable
from embodied.memory.service.outbox import Outbox
from embodied.memory.service.parcels import Parcel, at_time, events_or_none, is_readdressed, readdressed
from embodied.memory.service.sending_size import SendingSize
from embodied.memory.service.service import Link, SlowDownError, UnreachableError
from embodied.memory.service.site_time import SiteTime
from embodied.memory.service.stamping import Stamping
from embodied.memory.service.waiting import Waiting, is_refusal

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
IDLE_S = 1.0
MOST_IN_MEMORY_BYTES = 16 * 2**20
EXPECTED = (UnreachableError, StorageError, DataError)


class Sender:
    """Sends what waits in an outbox over a `link`, in order, in a thread; safe to call from many threads.

    No error ends it: it keeps the events, waits, and tries again, longer each time up to one second, and for as long as
    the owner asks where it is to slow down. After an error it sends half as much at once (`SendingSize`), since that
    may have been too much for the link, or one of the parcels may be the cause. A writer's first events wait without
    numbers until the bank has answered which it used last; so a robot can start while the bank is away. Those that
    were stamped meanwhile get times of the bank's clock, by the `site` time, once that is known.
    `trouble` is the last problem, `open` is true until it is closed.
    """

    def __init__(self, link: Link, outbox: Outbox, *, writer: str, site: SiteTime) -> None:
        self._link = link
        self._outbox = outbox
        self._writer = writer
        self._site = site
        self._stamping = Stamping(site)
        self._last_s = self._stamping.last_s  # Of writers whose last number and time are known from the bank.
        self._writing = threading.Lock()
        self._changed = threading.Condition()
        self._in_memory_bytes = 0
        self.open = True
        self.trouble: Exception | None = None
        self._size = SendingSize()
        self._waiting = deque(
            Waiting(number, None, 0, None, counted=True, stamped=outbox.is_stamped(number))
            for number in outbox.numbers()
        )
        self._thread = threading.Thread(target=self._send_all, name=f"outbox of {writer}", daemon=True)
        self._thread.start()

    @property
    def events(self) -> int:
        """How many events wait."""
        return self._outbox.events

    def is_alive(self) -> bool:
        """Returns whether the thread runs: from the beginning until it is closed."""
        return self._thread.is_alive()

    def last_s(self, writer: str) -> float:
        """Returns the last time that the bank is known to have of a writer, seconds, -inf for none."""
        return self._last_s.get(writer, -math.inf)

    def post(self, events: Sequence[Event], *, stamped: bool = False, later: bool = False) -> Future[list[int]]:
        """Returns a future of the answer once the `events` are stored in the outbox.

        `stamped` and `later` are those of `Outbox.add`; their numbers also come later where that is necessary.
        """
        counted = all(not event.writer_seq for event in events)
        with self._writing:
            known = self._outbox.all_numbered and all(
                event.writer_seq or event.writer in self._last_s for event in events
            )
            later = later or not known
            parcel = self._outbox.add(events, later=later, stamped=stamped)
            if later:
                self._stamping.note_posted(parcel.number)
            else:  # What is stamped next must not lie before times that the caller has set.
                self._stamping.note_last(events)
            return self._add(parcel, counted=counted, stamped=stamped)

    def send_again(self, number: int) -> Future[list[int]]:
        """Returns a future of the answer for a parcel that was laid aside. Raises as `Outbox.send_again`."""
        with self._writing:
            return self._add(self._outbox.send_again(number), counted=True, kept=True)

    def abandon(self, answer: Future[list[int]]) -> None:
        """Notes that no caller waits any more: what the bank refuses is then laid aside."""
        with self._changed:
            for one in self._waiting:
                if one.answer is answer:
                    one.answer = None

    def wait_until_sent(self, timeout_s: float) -> bool:
        """Returns whether the bank has answered within `timeout_s` all that was written before."""
        with self._changed:
            last = self._waiting[-1].number if self._waiting else 0
            return self._changed.wait_for(lambda: not self._waiting or self._waiting[0].number > last, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Sends waiting events for at most `timeout_s`, and ends the thread; safe to call twice."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout_s if self.open else 0.0)
            self.open = False
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _add(self, parcel: Parcel, *, counted: bool, kept: bool = False, stamped: bool = False) -> Future[list[int]]:
        answer = uncancellable()
        with self._changed:
            room = self._in_memory_bytes + len(parcel.content) <= MOST_IN_MEMORY_BYTES
            content = parcel.content if room else None
            self._in_memory_bytes += len(content or b"")
            self._waiting.append(Waiting(parcel.number, content, parcel.count, answer, counted, kept, stamped))
            self._changed.notify_all()
        return answer

    def _send_all(self) -> None:
        pause_s = FIRST_PAUSE_S
        while waiting := self._next(self._size.parcels):
            parcels: list[Parcel] = []
            try:
                self._site.refresh()
                parcels = self._numbered(self._read(waiting))
                began_s = time.monotonic()
                results = self._link.commit([parcel.content for parcel in parcels]) if parcels else []
                self._size.note_success(parcels, time.monotonic() - began_s)
                self._deliver(parcels, results)
                pause_s = FIRST_PAUSE_S
            except SlowDownError as asked:
                self.trouble = asked
                self._pause(asked.wait_s)
            except Exception as error:
                self._size.note_failure(parcels or [Parcel(one.number, one.count, b"") for one in waiting])
                self._note_trouble(error)
                self._site.doubt()
                self._pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _pause(self, pause_s: float) -> None:
        """Waits so long, or until it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: not self.open, timeout=pause_s)

    def _note_trouble(self, error: Exception) -> None:
        """Keeps the last problem for messages, and logs an unexpected one once in a row."""
        if not isinstance(error, EXPECTED) and repr(error) != repr(self.trouble):
            logger.error("Events of %s could not be sent, and are sent again.", self._writer, exc_info=error)
        self.trouble = error

    def _next(self, most: int) -> list[Waiting]:
        """Returns what to send now, at most `most` parcels; nothing once it is closed.

        While nothing waits, what the bank has answered is deleted from the file too: those who read it beside this
        process (`outbox_status`) would count it.
        """
        with self._changed:
            found = self._changed.wait_for(lambda: self._waiting or not self.open, IDLE_S)
        if not found:
            with suppress(StorageError, DataError):  # It is deleted later, or sent once more, which is harmless.
                self._outbox.remove([], at_once=True)
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self.open)
            return list(itertools.islice(self._waiting, most)) if self.open else []

    def _read(self, waiting: Sequence[Waiting]) -> list[Parcel]:
        """Returns the first of the waiting parcels, from memory or the outbox, up to the largest sending.

        One that was altered on the disk has been laid aside, and is waited for no more.
        """
        found: list[Parcel] = []
        size = events = 0
        for one in waiting:
            content = one.content
            parcel = self._outbox.read([one.number])[0] if content is None else Parcel(one.number, one.count, content)
            if parcel is None:
                self._drop(one)
                continue
            size += len(parcel.content)
            events += parcel.count
            if not self._size.fits(len(found) + 1, events, size):
                break
            found.append(parcel)
        return found

    def _drop(self, one: Waiting) -> None:
        with self._changed:
            self._waiting.remove(one)
            self._changed.notify_all()
        if one.answer is not None:
            one.answer.set_exception(
                DataError(
                    "A parcel in an outbox must be as it was written.", value=one.number, remedy="It was laid aside."
                )
            )

    def _numbered(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Returns the parcels with numbers for all events, those of each writer above the last that the bank has."""
        if self._outbox.all_numbered:
            return list(parcels)
        found = []
        for parcel in parcels:
            events = events_or_none(parcel.content)
            if events and not self._outbox.is_numbered(parcel.number):
                try:
                    self._fetch_last({event.writer for event in events if not event.writer_seq})
                    changed = self._outbox.number(parcel, self._stamping.of_parcel(parcel.number))
                except (UnreachableError, StorageError):
                    raise
                except MemoryBankError as error:  # The others must not wait for it.
                    self._refuse(parcel, error)
                    continue
                found.append(self._changed_content(changed))
                events = decode_events(changed.content)
            else:
                found.append(parcel)
            self._stamping.note_last(events)
        return found

    def _refuse(self, parcel: Parcel, error: MemoryBankError) -> None:
        """Lays a parcel aside that can never be sent, unless its caller waits, who gets the error."""
        with self._changed:
            one = next(one for one in self._waiting if one.number == parcel.number)
        if one.answer is None or one.kept:
            logger.warning("Events of %s are refused and laid aside: %s", self._writer, error)
            self._outbox.refuse(parcel, str(error))
        self._outbox.remove([parcel], at_once=True)
        with self._changed:
            self._waiting.remove(one)
            self._in_memory_bytes -= len(one.content or b"")
            self._changed.notify_all()
        one.set_answer(error)

    def _fetch_last(self, writers: Set[str]) -> None:
        for writer in sorted(writers - self._last_s.keys()):
            last, last_s = self._link.last_of_writer(writer)
            self._outbox.adopt(writer, last)
            self._last_s[writer] = last_s

    def _changed_content(self, parcel: Parcel) -> Parcel:
        """Keeps the new content of a parcel, where its old one was kept in memory."""
        with self._changed:
            for one in self._waiting:
                if one.number == parcel.number:
                    if one.content is not None:
                        self._in_memory_bytes += len(parcel.content) - len(one.content)
                        one.content = parcel.content
                    break
        return parcel

    def _deliver(self, parcels: Sequence[Parcel], results: Sequence[Result]) -> None:
        """Sets results; events leave the outbox before their results are set. Raises for a disk that fails."""
        with self._changed:
            waiting = {one.number: one for one in itertools.islice(self._waiting, len(parcels))}
        answered: list[tuple[Waiting, Result]] = []
        for parcel, result in zip(parcels, results, strict=True):
            one = waiting[parcel.number]
            if (
                isinstance(result, StorageError)
                or one.is_ahead(result)
                or self._gets_other_numbers(one, parcel, result)
            ):
                break
            answered.append((one, result))
        for parcel, (one, result) in zip(parcels, answered, strict=False):
            if (one.answer is None or one.kept) and is_refusal(result):
                logger.warning("Events of %s are refused and laid aside: %s", self._writer, result)
                self._outbox.refuse(parcel, str(result))
        refused = any(is_refusal(result) for _, result in answered)
        # What was refused must not be sent again.
        self._outbox.remove(parcels[: len(answered)], at_once=refused)
        with self._changed:
            for one, _ in answered:
                self._waiting.popleft()
                self._in_memory_bytes -= len(one.content or b"")
            self._changed.notify_all()
        for one, result in answered:
            one.set_answer(result)
        self._try_again(parcels[len(answered) :], results[len(answered) :], waiting)

    def _gets_other_numbers(self, one: Waiting, parcel: Parcel, result: Result) -> bool:
        """Returns whether the bank has given a parcel's numbers to other events, such as after a disk was replaced."""
        taken = isinstance(result, NumberTakenError) and one.counted
        return taken and not is_readdressed(decode_events(parcel.content))

    def _try_again(self, parcels: Sequence[Parcel], results: Sequence[Result], waiting: dict[int, Waiting]) -> None:
        """Changes parcels whose numbers are taken, or that lie ahead of the bank's clock, so that they are sent again.

        Raises for a disk that fails.
        """
        for parcel, result in zip(parcels, results, strict=True):
            if self._gets_other_numbers(waiting[parcel.number], parcel, result):
                logger.info("Events of %s are sent under another writer: %s", self._writer, result)
                self._readdress(parcel)
            elif waiting[parcel.number].is_ahead(result):
                self._restamp(parcel, result)
        for result in results:
            if isinstance(result, StorageError):
                raise result

    def _readdress(self, parcel: Parcel) -> None:
        """Gives the events of a parcel a writer of their own, and numbers from 1.

        It is for events whose numbers the bank has given to others, such as after a disk was replaced. The writer's
        name follows from the content, so that the bank still recognises it where a copy of this outbox does the same.
        """
        events = readdressed(decode_events(parcel.content), parcel.content)
        self._changed_content(self._outbox.rewrite(parcel, events))

    def _restamp(self, parcel: Parcel, result: Result) -> None:
        """Changes the times of stamped events that lie beyond the bank's clock, such as after its owner was replaced.

        A writer whose own last time lies there, in an older bank, can never write again: its events get another one.
        """
        logger.info("Events of %s are stamped again: %s", self._writer, result)
        now_s = self._site.read().time_s
        events = decode_events(parcel.content)
        last_s = {event.writer: self._link.last_of_writer(event.writer)[1] for event in events}
        self._last_s.update({name: time_s for name, time_s in last_s.items() if name in self._last_s})
        if max(last_s.values()) > self._site.latest_s:
            self._readdress(self._outbox.rewrite(parcel, [at_time(event, now_s) for event in events]))
        else:
            events = list(map(self._stamping.stamped, events))
            self._changed_content(self._outbox.rewrite(parcel, events))
