"""Ten robots that write poison, each of another kind, until a time; run by `memory_poison` only.

Whatever the bank answers, they go on: what counts is that other robots do not notice.
"""

import itertools
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from embodied.errors import EmbodiedError
from embodied.geometry import Pose
from embodied.memory import (
    AbsenceSeen,
    BankClient,
    EntitySeen,
    Event,
    Link,
    Observed,
    Outbox,
    Payload,
    RelationSet,
    SubtaskEnded,
    ToolCalled,
    Watermark,
    encode_events,
)
from embodied.seeding import stream

DEEP = 5_000
LARGE_BYTES = 6 * 2**20  # Within the limit of an event.
TOO_LARGE_BYTES = 50 * 2**20
FLOOD = 200
PAUSE_S = 0.05
YEAR_S = 365 * 86_400.0


@dataclass(frozen=True)
class Poisoner:
    """One of the ten: its name, its link, its folder, whose names it misuses, and when it ends (`time.monotonic`)."""

    name: str
    link: Link
    folder: Path
    victim: str
    end_s: float

    def goes_on(self, pause_s: float = PAUSE_S) -> bool:
        """Waits `pause_s`; returns whether it is not yet over."""
        time.sleep(pause_s)
        return time.monotonic() < self.end_s

    def client(self) -> BankClient:
        """Returns a client of this robot with a fresh outbox in memory."""
        return BankClient(self.link, Outbox(None), writer=self.name, timeout_s=1.0)


def write_each(poisoner: Poisoner, payloads: Iterator[Payload]) -> None:
    """Logs one payload after another, whether or not the bank refuses them."""
    with poisoner.client() as client:
        while poisoner.goes_on():
            try:
                client.log(next(payloads), robot=poisoner.name)
            except EmbodiedError:
                continue


def send_each(poisoner: Poisoner, groups: Iterator[bytes], pause_s: float = PAUSE_S) -> None:
    """Sends the encoded `groups` of a `poisoner` one by one, with a pause of `pause_s`, past a client's checks."""
    while poisoner.goes_on(pause_s):
        try:
            poisoner.link.commit([next(groups)])
        except EmbodiedError:
            continue


def deep_json(poisoner: Poisoner) -> None:
    """Arguments of a tool that nest deeper than any parser follows."""
    deep = ToolCalled("t", '{"a":' * DEEP + "1" + "}" * DEEP)
    send_each(poisoner, (encode_events([poison(poisoner, number, deep)]) for number in itertools.count(1)))


def huge_payloads(poisoner: Poisoner) -> None:
    """Texts beyond the limit, and some just within it."""
    sizes = itertools.cycle((TOO_LARGE_BYTES, LARGE_BYTES))
    groups = (
        encode_events([poison(poisoner, number, Observed("x" * size))])
        for number, size in zip(itertools.count(1), sizes, strict=False)
    )
    send_each(poisoner, groups, pause_s=1.0)


def wrong_clocks(poisoner: Poisoner) -> None:
    """Times a year ahead, in nanoseconds, before the epoch, and back again."""
    now_s = time.time()
    times_s = itertools.cycle((now_s + YEAR_S, now_s * 1e9, -1.0, now_s, 0.0))
    groups = (
        encode_events([Event(poisoner.name, number, time_s, sighting(number), robot=poisoner.name)])
        for number, time_s in zip(itertools.count(1), times_s, strict=False)
    )
    send_each(poisoner, groups)


def wrong_epochs(poisoner: Poisoner) -> None:
    """Outcomes of subtasks that others have, under epochs that were never granted."""
    payloads = (SubtaskEnded(f"task_of_{poisoner.victim}", "done", epoch=number % 7) for number in itertools.count())
    write_each(poisoner, payloads)


def foreign_names(poisoner: Poisoner) -> None:
    """Events signed by another robot, and by the site itself, the closing of the past included."""
    names = itertools.cycle((poisoner.victim, "site/leases", "retention", "site"))
    payloads = itertools.cycle((sighting(1), Watermark(1e12), RelationSet("cup_1", "in", "pocket")))
    groups = (
        encode_events([Event(name, 10**6 + number, time.time(), payload, robot=poisoner.victim)])
        for number, name, payload in zip(itertools.count(1), names, payloads, strict=False)
    )
    send_each(poisoner, groups)


def not_numbers(poisoner: Poisoner) -> None:
    """Poses, times and probabilities that are no finite numbers."""
    nan = math.nan
    payloads = itertools.cycle(
        (
            EntitySeen("cup_1", "cup", Pose((0.0, 0.0, 0.0)), confidence=nan),
            EntitySeen("cup_1", "cup", Pose((0.0, 0.0, 0.0)), size_m=(math.inf, 1.0, 1.0)),
            AbsenceSeen("cup_1", nan),
            AbsenceSeen("cup_1", -math.inf),
        )
    )
    send_each(
        poisoner,
        (
            encode_events([Event(poisoner.name, number, time_s, payload)])
            for number, payload, time_s in zip(itertools.count(1), payloads, itertools.cycle((nan, 1.0)), strict=False)
        ),
    )


def flipped_outboxes(poisoner: Poisoner) -> None:
    """Outboxes whose parcels are altered on the disk, a bit each, before they are opened again and sent."""
    draw = stream(0, "memory_poison", "flips")
    for number in itertools.count():
        if not poisoner.goes_on():
            return
        path = poisoner.folder / f"flipped_{number}.outbox"
        outbox = Outbox(path, durable=False)
        outbox.add([poison(poisoner, 0, sighting(one)) for one in range(5)], later=True)
        outbox.close()
        flip_a_bit_of_each_parcel(path, [int(bit) for bit in draw.integers(0, 2**20, 5)])
        client = BankClient(poisoner.link, Outbox(path), writer=poisoner.name, timeout_s=1.0)
        with client, suppress(EmbodiedError):
            client.flush()


def floods(poisoner: Poisoner) -> None:
    """Sightings as fast as the bank takes them."""
    with poisoner.client() as client:
        while poisoner.goes_on(pause_s=0.0):
            try:
                events = [Event("", 0, time.time(), sighting(number), robot=poisoner.name) for number in range(FLOOD)]
                client.append(events)
            except EmbodiedError:
                continue


def duplicates(poisoner: Poisoner) -> None:
    """The same events again and again."""
    group = encode_events([poison(poisoner, number, sighting(number)) for number in range(1, 6)])
    send_each(poisoner, itertools.repeat(group), pause_s=0.0)


def numbers_of_another(poisoner: Poisoner) -> None:
    """The next numbers of another writer, and the highest numbers that there are, which would silence it."""
    numbers = itertools.cycle((1, 2, 3, 100, 2**63 - 1, 2**62))
    names = itertools.cycle((poisoner.victim, poisoner.name, "site/leases"))
    groups = (
        encode_events([Event(name, number, time.time(), sighting(number % 7))])
        for name, number in zip(names, numbers, strict=False)
    )
    send_each(poisoner, groups)


KINDS: tuple[Callable[[Poisoner], None], ...] = (
    deep_json,
    huge_payloads,
    wrong_clocks,
    wrong_epochs,
    foreign_names,
    not_numbers,
    flipped_outboxes,
    floods,
    duplicates,
    numbers_of_another,
)


def poison(poisoner: Poisoner, number: int, payload: Payload) -> Event:
    """Returns event `number` of a `poisoner` with a `payload`, as of now."""
    return Event(poisoner.name, number, time.time(), payload, robot=poisoner.name)


def sighting(number: int) -> EntitySeen:
    """Returns a sighting of one of seven cups."""
    return EntitySeen(f"poison_cup_{number % 7}", "cup", Pose((0.01 * (number % 100), 0.0, 0.0)))


def flip_a_bit_of_each_parcel(path: Path, bits: list[int]) -> None:
    """Flips one of `bits`, counted around, in each parcel of the closed outbox at `path`."""
    with sqlite3.connect(path) as db:
        parcels = db.execute("SELECT number, content FROM parcel").fetchall()
        for (number, content), bit in zip(parcels, bits, strict=False):
            altered = bytearray(content)
            altered[bit // 8 % len(altered)] ^= 1 << bit % 8
            db.execute("UPDATE parcel SET content = ? WHERE number = ?", (bytes(altered), number))
    db.close()
