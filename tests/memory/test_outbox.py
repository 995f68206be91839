"""The outbox: durable before a call returns, ordered, numbered, bounded, and with damage reported."""

import math
import random
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from embodied.errors import ConfigError, DataError, EmbodiedError, MemoryBankError, StorageError
from embodied.geometry import Pose
from embodied.memory import (
    EntitySeen,
    Event,
    Observed,
    Outbox,
    OutboxConfig,
    RelationSet,
    SimulatedClock,
    decode_events,
    open_bank,
)
from embodied.memory.service.parcels import is_readdressed, readdressed


def sighting(text, writer="arm", number=0):
    return Event(writer, number, 0.0, RelationSet(text, "on", "table"))


@pytest.fixture
def outbox(tmp_path):
    made = Outbox(tmp_path / "outbox.db")
    made.adopt("arm", 0)
    yield made
    made.close()


def waiting(outbox):
    return [(event.writer_seq, event.payload.subject) for parcel in outbox.waiting() for event in decode(parcel)]


def decode(parcel):
    return decode_events(parcel.content)


def test_parcels_keep_their_order_their_numbers_and_what_was_sent_together(outbox):
    first, second = outbox.add([sighting("a"), sighting("b")]), outbox.add([sighting("c")])
    assert [parcel.number for parcel in outbox.waiting()] == [first.number, second.number]
    assert [event.writer_seq for event in decode(first)] == [1, 2]
    assert waiting(outbox) == [(1, "a"), (2, "b"), (3, "c")]
    assert outbox.events == 3
    outbox.remove([first])
    assert waiting(outbox) == [(3, "c")]
    assert outbox.events == 1


def test_numbers_go_on_after_all_was_answered_and_the_outbox_was_opened_again(tmp_path):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    outbox.adopt("arm", 41)
    outbox.remove([outbox.add([sighting("a")])])
    outbox.close()
    again = Outbox(path)
    assert again.knows("arm")
    assert not again.knows("leg")
    assert decode(again.add([sighting("b")]))[0].writer_seq == 43
    again.close()


def test_a_number_that_the_caller_gave_is_kept_and_counted_from(outbox):
    assert decode(outbox.add([sighting("a", number=7)]))[0].writer_seq == 7
    assert decode(outbox.add([sighting("b")]))[0].writer_seq == 8


def test_a_writer_without_numbers_is_refused_and_nothing_kept(outbox):
    with pytest.raises(MemoryBankError, match="adopt"):
        outbox.add([sighting("a"), sighting("b", writer="leg")])
    assert waiting(outbox) == []
    assert decode(outbox.add([sighting("c")]))[0].writer_seq == 1


def test_a_full_outbox_refuses_with_rule_value_and_remedy_and_takes_again_once_there_is_room(tmp_path):
    outbox = OutboxConfig(path=str(tmp_path / "outbox.db"), limit=3).build()
    outbox.adopt("arm", 0)
    parcel = outbox.add([sighting("a"), sighting("b")])
    with pytest.raises(MemoryBankError, match=r"more events than its limit. Got 4. 2 of 3 wait"):
        outbox.add([sighting("c"), sighting("d")])
    assert len(waiting(outbox)) == 2
    outbox.remove([parcel])
    outbox.add([sighting("c"), sighting("d")])
    assert waiting(outbox) == [(3, "c"), (4, "d")]
    outbox.close()
    with pytest.raises(ConfigError):
        OutboxConfig(limit=0).build()


@pytest.mark.parametrize(
    "wrong",
    [
        Event("arm", 0, 0.0, "no payload"),
        Event("arm", 0, "now", RelationSet("a", "on", "b")),
        Event("arm", 0, 0.0, EntitySeen("a", "b", Pose(), confidence="high")),
    ],
)
def test_what_no_bank_could_read_is_refused_before_it_blocks_what_comes_after(outbox, wrong):
    with pytest.raises(MemoryBankError):
        outbox.add([sighting("a"), wrong])
    assert waiting(outbox) == []
    outbox.add([sighting("b")])
    assert waiting(outbox) == [(1, "b")]


def alter(path, sql, *values):
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(sql, values).rowcount > 0


ALTERATIONS = {
    "a bit of the events": ("content", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
    "a bit of the first byte": ("content", lambda raw: bytes([raw[0] ^ 128]) + raw[1:]),
    "cut events": ("content", lambda raw: raw[: len(raw) // 2]),
    "no events": ("content", lambda _: b""),
    "text in place of bytes": ("content", lambda _: "text"),
    "a number in place of bytes": ("content", lambda _: 7),
    "a bit of the checksum": ("digest", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
    "no checksum": ("digest", lambda _: ""),
}


@pytest.mark.parametrize("case", ALTERATIONS)
@pytest.mark.parametrize("which", [0, 3, 9], ids=["first", "middle", "last"])
def test_a_parcel_that_was_altered_is_laid_aside_and_the_others_wait_as_before(tmp_path, case, which, caplog):
    path = tmp_path / "outbox.db"
    with closing(Outbox(path)) as outbox:
        outbox.adopt("arm", 0)
        numbers = [outbox.add([sighting(f"e{i}")]).number for i in range(10)]
    column, change = ALTERATIONS[case]
    with closing(sqlite3.connect(path)) as db:
        ((before,),) = db.execute(f"SELECT {column} FROM parcel WHERE number = ?", (numbers[which],))
    alter(path, f"UPDATE parcel SET {column} = ? WHERE number = ?", change(before), numbers[which])
    with closing(Outbox(path)) as again:
        assert again.events == 9
        ((number, _, reason),) = again.laid_aside()
        assert [name for _, name in waiting(again)] == [f"e{i}" for i in range(10) if i != which]
        assert (number, "checksum" in reason) == (numbers[which], True)
        assert f"Parcel {number}" in caplog.text
        assert decode(again.add([sighting("next")]))[0].writer_seq == 11
    with closing(Outbox(path)) as later:
        assert len(later.refused()) == 1
        assert later.events == 10


@pytest.mark.parametrize("count", [0, -5, "many", 10**12])
def test_a_count_that_was_altered_does_not_move_the_limit(tmp_path, count):
    path = tmp_path / "outbox.db"
    with closing(Outbox(path)) as outbox:
        outbox.adopt("arm", 0)
        outbox.add([sighting("a")])
    alter(path, "UPDATE parcel SET count = ?", count)
    with closing(Outbox(path, limit=3)) as again:
        assert again.events == 1
        assert waiting(again) == [(1, "a")]


@pytest.mark.parametrize("last", ["text", b"bytes", -1, 2.5])
def test_a_writers_number_that_was_altered_is_as_if_it_were_unknown(tmp_path, last):
    path = tmp_path / "outbox.db"
    with closing(Outbox(path)) as outbox:
        outbox.adopt("arm", 41)
    alter(path, "UPDATE writer SET last = ?", last)
    with closing(Outbox(path)) as again:
        assert not again.knows("arm")


def test_damage_anywhere_in_the_file_is_an_error_of_this_project_and_never_invents_events(tmp_path):
    path = tmp_path / "outbox.db"
    with closing(Outbox(path)) as outbox:
        outbox.adopt("arm", 0)
        for i in range(30):
            outbox.add([sighting(f"e{i}")])
        outbox.refuse(outbox.add([sighting("no")]), "refused")
    clean, choose, opened = path.read_bytes(), random.Random(3), 0
    names = {f"e{i}" for i in range(30)} | {"no"}
    for i in range(50):
        damaged = bytearray(clean)
        for _ in range(choose.choice((1, 1, 3, 50))):
            damaged[choose.randrange(len(damaged))] ^= 1 << choose.randrange(8)
        box = tmp_path / f"damaged{i}.db"
        box.write_bytes(damaged[: choose.choice((len(damaged), len(damaged), choose.randrange(len(damaged))))])
        try:
            with closing(Outbox(box)) as found:
                assert {name for _, name in waiting(found)} <= names
                found.refused()
                found.adopt("arm", 99)
                found.remove(found.waiting()[:3], at_once=True)
                found.add([sighting("more")])
                opened += 1
        except EmbodiedError as error:
            assert error.rule
        box.unlink()
    assert opened > 3


@pytest.mark.parametrize("raw", [b"\xcc\xcc", b"\xff", b"\xed\xa0\x80"])
def test_damaged_text_in_an_outbox_does_not_keep_it_from_starting(tmp_path, raw):
    path = tmp_path / "outbox.db"
    with closing(Outbox(path)) as outbox:
        outbox.adopt("arm", 0)
        outbox.refuse(outbox.add([sighting("no")]), "refused")
    for column in ("refused SET reason", "writer SET name"):
        alter(path, f"UPDATE {column} = CAST(? AS TEXT)", raw)
    with closing(Outbox(path)) as again:
        assert not again.knows("arm")
        assert waiting(again) == [(1, "no")]
        assert again.laid_aside()[0].events


def test_a_folder_and_a_path_that_does_not_exist_are_errors_of_this_project(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(EmbodiedError):
        Outbox(tmp_path / "folder")


def test_the_file_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="outbox"):
        Outbox(path)
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError):
        Outbox(path)


def test_one_process_owns_an_outbox(outbox, tmp_path):
    with pytest.raises(MemoryBankError, match="One process"):
        Outbox(tmp_path / "outbox.db")
    outbox.close()
    outbox.close()
    Outbox(tmp_path / "outbox.db").close()


def test_a_disk_that_is_full_refuses_the_parcel_and_keeps_the_others(outbox):
    outbox.add([sighting("a")])
    (pages,) = outbox._store.db.execute("PRAGMA page_count").fetchone()
    outbox._store.db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="Free space"):
        outbox.add([sighting("b" * 100_000)])
    assert waiting(outbox) == [(1, "a")]
    outbox._store.db.execute("PRAGMA max_page_count = 1000000")
    outbox.add([sighting("c")])
    assert waiting(outbox) == [(1, "a"), (2, "c")]


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from embodied.memory.service.outbox import Outbox\n"
        "from tests.memory.test_outbox import sighting\n"
        "outbox = Outbox(Path(sys.argv[1]))\n"
        "outbox.adopt('arm', 0)\n"
        "for i in range(20): outbox.add([sighting(f'{i}')])\n"
        "outbox.remove(outbox.waiting()[:5], at_once=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "outbox.db"
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    outbox = Outbox(path)
    assert waiting(outbox) == [(i + 1, f"{i}") for i in range(5, 20)]
    outbox.close()


def test_what_is_refused_without_anybody_waiting_is_laid_aside_with_its_reason(outbox):
    parcel = outbox.add([sighting("a")])
    outbox.refuse(parcel, "two parents")
    outbox.remove([parcel])
    ((events, reason),) = outbox.refused()
    assert (events[0].payload.subject, reason) == ("a", "two parents")
    assert outbox.waiting() == []


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_closed_outbox_takes_nothing_although_another_process_may_own_its_file(tmp_path, in_memory):
    path = None if in_memory else tmp_path / "box"
    closed = Outbox(path)
    closed.adopt("arm", 0)
    closed.close()
    with pytest.raises(MemoryBankError, match="must be open"):
        closed.add([Event("arm", 0, 0.0, Observed("x"))])
    with pytest.raises(MemoryBankError, match="must be open"):
        closed.adopt("arm", 7)
    closed.close()
    if path is not None:
        again = Outbox(path)
        assert again.add([Event("arm", 0, 0.0, Observed("x"))]).number == 1
        again.close()


@pytest.mark.parametrize("limits", [{"limit": "x"}, {"limit_mib": math.nan}, {"limit_mib": -1.0}])
def test_limits_that_are_no_numbers_are_refused(limits):
    with pytest.raises(MemoryBankError, match="limit"):
        Outbox(None, **limits)


@pytest.mark.parametrize("writer", ["site", "w" * 990, "arm"])
def test_the_writer_of_what_is_sent_again_is_one_that_a_robot_may_use(writer):
    before = Event(writer, 3, 1.0, Observed("x"))
    with open_bank(":memory:", clock=SimulatedClock(100.0)) as bank:
        for content in (b"1", b"2"):
            (again,) = readdressed([before], content)
            assert is_readdressed([again])
            assert bank.append(again) == bank.append(readdressed([again], content))
