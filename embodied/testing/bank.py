"""The contract of memory banks, of clients as well as of those that own the file: `check_bank`."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from embodied.errors import ConflictError, MemoryBankError
from embodied.geometry import Pose
from embodied.memory import EntitySeen, Event, EventFilter, LocationBelief, PlaceDefined, Reads, RelationSet
from embodied.testing.contract import Rule, leaves

NUMBERS = Rule("numbers", "`append` must number events 1, 2, ... in one total order, and `head` be the last.")
IDEMPOTENT = Rule("idempotent", "An event appended again must keep its number and change nothing.")
OWN_WRITES = Rule("read_your_writes", "What was appended must be read at once, as it was appended.")
REFUSALS = Rule("refusals", "What is malformed or stale must raise `MemoryBankError` or `ConflictError`.")
NOTHING_LEFT = Rule("refused_leaves_nothing", "Of a refused batch nothing must be written, and its numbers stay free.")
AS_OF = Rule("as_of", "Answers as of a time or a number must stay equal whatever is appended later.")
CLOCK = Rule("clock", "Valid times must come back exactly, and received times must never run backwards.")
SUBSCRIPTION = Rule("subscription", "A subscription must hand out each wanted event once, in order.")
RESULTS = Rule("results_stay", "Changing an answer must not change the next one.", "Return copies.")
CLOSE = Rule("close_twice", "Closing twice must be harmless; a closed bank must refuse to append.")
REOPEN = Rule("reopen", "What was acknowledged must be there when the bank is opened again.")


class AppendableBank(Protocol):
    """What banks and their clients have in common beside the queries of `Reads`; `head` is a property or a method."""

    head: Any

    def append(self, events: Event | Sequence[Event]) -> list[int]:
        """Returns the numbers of the events, all durable or none written."""
        ...

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time of a writer."""
        ...

    def snapshot(self, seq: int | None = None) -> Reads:
        """Returns reads as of a number."""
        ...

    def subscribe(self, wanted: EventFilter | None = None, *, after_seq: int | None = None) -> Any:
        """Returns what `poll` hands out wanted events of."""
        ...

    def where_is(self, entity: str, *, as_of_s: float | None = None) -> LocationBelief | None:
        """Returns where an entity is believed to be."""
        ...

    def event(self, seq: int) -> Event | None:
        """Returns one event."""
        ...

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after number `seq` that match `wanted`, at most `limit`."""
        ...

    def close(self) -> None:
        """Closes the bank."""
        ...


def check_bank(make: Callable[[], AppendableBank], *, reopen: Callable[[], AppendableBank] | None = None) -> None:
    """Raises `ContractError`, which names the first broken rule, unless `make()` opens a sound, empty bank.

    An outside package calls it in its tests::

        from embodied.testing import check_bank
        check_bank(lambda: open_my_bank(new_folder))

    `make` is called once. `reopen()` opens the same bank again after it was closed, where that is possible.
    """
    with NUMBERS:
        bank = make()
    try:
        _check_appends(bank)
        _check_refusals(bank)
        _check_reads(bank)
    finally:
        with CLOSE:
            held = leaves(_events(bank))
            bank.close()
            bank.close()
    CLOSE.require_refusal("an append to a closed bank", lambda: bank.append(_seen("late", 99, 99.0)), MemoryBankError)
    if reopen is not None:
        with REOPEN:
            again = reopen()
            try:
                REOPEN.require_same("events before and after", held, _events(again))
            finally:
                again.close()


def _seen(entity: str, number: int, time_s: float, *, x_m: float = 0.0, writer: str = "writer") -> Event:
    return Event(writer, number, time_s, EntitySeen(entity, "cup", Pose((x_m, 0.0, 0.0))))


def _head(bank: AppendableBank) -> int:
    return bank.head if isinstance(bank.head, int) else int(bank.head())


def _events(bank: AppendableBank) -> list[Event]:
    return bank.changes_since(0)


def _check_appends(bank: AppendableBank) -> None:
    first = [_seen("cup", 1, 1.0, x_m=1.0), Event("map", 1, 0.0, PlaceDefined("site", "site"))]
    with NUMBERS:
        numbers = [*bank.append(first), *bank.append(_seen("jug", 2, 2.0, x_m=2.0))]
        if numbers != [1, 2, 3] or _head(bank) != 3:
            raise NUMBERS.broken(f"numbers {numbers} and head {_head(bank)} of the first three events")
    with OWN_WRITES:
        event = bank.event(1)
        if event is None or event.payload != first[0].payload or event.writer != "writer":
            raise OWN_WRITES.broken(event)
        if [event.seq for event in _events(bank)] != numbers:
            raise OWN_WRITES.broken([event.seq for event in _events(bank)])
        found = bank.where_is("jug")
        if found is None or found.pose is None or abs(found.pose.position_m[0] - 2.0) > 1e-6:
            raise OWN_WRITES.broken(f"the jug is {found}")
        if bank.where_is("nothing of this name") is not None or bank.event(4) is not None:
            raise OWN_WRITES.broken("an answer about what was never appended")
        if tuple(bank.last_of_writer("writer")) != (2, 2.0) or bank.last_of_writer("nobody")[0] != 0:
            raise OWN_WRITES.broken(f"the last of the writer is {bank.last_of_writer('writer')}")
    with IDEMPOTENT:
        before = leaves(_events(bank))
        again = bank.append([first[1], first[0]])
        if again != [2, 1] or _head(bank) != 3:
            raise IDEMPOTENT.broken(f"numbers {again} and head {_head(bank)} after both were appended again")
        IDEMPOTENT.require_same("events before and after", before, _events(bank))
    with CLOCK:
        events = _events(bank)
        received = [event.received_time_s for event in events]
        if [event.valid_time_s for event in events] != [1.0, 0.0, 2.0] or received != sorted(received):
            raise CLOCK.broken([(event.valid_time_s, event.received_time_s) for event in events])


def _check_refusals(bank: AppendableBank) -> None:
    before = leaves(_events(bank))
    nowhere = Pose()
    msgspec.structs.force_setattr(nowhere, "position_m", (float("nan"), 0.0, 0.0))
    cases: list[tuple[str, Any]] = [
        ("a number used for another event", _seen("cup", 2, 2.0, x_m=9.0)),
        ("a time before the writer's last", _seen("cup", 3, 0.5)),
        ("a time that is NaN", _seen("cup", 3, float("nan"))),
        ("a pose that is NaN", Event("writer", 3, 3.0, EntitySeen("cup", "cup", nowhere))),
        ("an entity without a name", _seen("", 3, 3.0)),
        ("what is no event", "an event"),
        ("an unknown predicate", Event("writer", 3, 3.0, RelationSet("cup", "no predicate", "jug"))),
    ]
    for what, event in cases:
        REFUSALS.require_refusal(what, lambda sent=event: bank.append(sent), MemoryBankError)
        with NOTHING_LEFT:
            NOTHING_LEFT.require_same(f"events before and after {what}", before, _events(bank))
    stale = Event("other", 1, 3.0, RelationSet("cup", "in", "site", expected_version=77))
    REFUSALS.require_refusal("a stale version", lambda: bank.append(stale), ConflictError)
    mixed = [_seen("ghost", 3, 3.0), cases[3][1]]
    REFUSALS.require_refusal("a batch with one that is malformed", lambda: bank.append(mixed), MemoryBankError)
    with NOTHING_LEFT:
        NOTHING_LEFT.require_same("events before and after a refused batch", before, _events(bank))
        if bank.where_is("ghost") is not None or tuple(bank.last_of_writer("writer")) != (2, 2.0):
            raise NOTHING_LEFT.broken(f"the ghost is {bank.where_is('ghost')}")
        if bank.append(_seen("cup", 3, 3.0, x_m=3.0)) != [4]:
            raise NOTHING_LEFT.broken("the number after a refusal is not the next one")


def _check_reads(bank: AppendableBank) -> None:
    with AS_OF:
        subscription = bank.subscribe()
        past, then = bank.snapshot(), bank.where_is("cup", as_of_s=1.5)
        kept = leaves((then, past.where_is("cup"), past.changes_since(0), past.names()))
        bank.append([_seen("cup", 4, 4.0, x_m=4.0), _seen("bowl", 5, 5.0)])
        after = (bank.where_is("cup", as_of_s=1.5), past.where_is("cup"), past.changes_since(0), past.names())
        AS_OF.require_same("answers about the past before and after", kept, after)
        now = bank.where_is("cup")
        if then is None or then.pose is None or now is None or then.pose == now.pose:
            raise AS_OF.broken(f"the cup as of 1.5 s is {then}, the latest is {now}")
    with SUBSCRIPTION:
        polled = [event.seq for event in (*subscription.poll(), *subscription.poll())]
        wanted = [event.seq for event in bank.subscribe(EventFilter(entities=("bowl",)), after_seq=0).poll()]
        if polled != [5, 6] or wanted != [6]:
            raise SUBSCRIPTION.broken(f"events {polled} of [5, 6], and {wanted} of the bowl's [6]")
    with RESULTS:
        before = leaves(_events(bank))
        _events(bank).clear()
        RESULTS.require_same("events before and after an answer was changed", before, _events(bank))
