"""Outboxes that always start: away banks, replaced and restored disks, full disks, refusals, and limits in bytes."""

import shutil
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from embodied.errors import ConfigError, DataError, EmbodiedError, MemoryBankError, StorageError, UnknownNameError
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    Event,
    MomentStored,
    Observed,
    Outbox,
    OutboxConfig,
    RelationSet,
    UnreachableError,
    WallClock,
    decode_events,
    open_bank,
    read_laid_aside,
)
from embodied.memory.service import sender
from tests.memory.clocks import Machine
from tests.memory.test_isolation import every_change
from tests.memory.test_service import Fault
from tests.memory.writers import unit


@pytest.fixture
def service():
    with BankService(open_bank(":memory:", clock=WallClock(ahead_s=1e10))) as made:
        yield made


@contextmanager
def client_of(link, path, writer="arm", timeout_s=10.0, **settings):
    with BankClient(link, Outbox(path, **settings), writer=writer, timeout_s=timeout_s) as client:
        yield client


def observed(name, time_s=4e9, number=0):
    return Event("", number, time_s, Observed(name))


def logged(service):
    return [event.payload.evidence for event in service.read(every_change()) if isinstance(event.payload, Observed)]


def leave_waiting(link, path, count=10, prefix="e"):
    """Leaves a closed outbox with parcels that no bank has answered."""
    with BankClient(link, Outbox(path), writer="arm") as client:
        client.log(Observed("first"))
        link.down = True
        for i in range(count):
            client.post(observed(f"{prefix}{i}", 4e9 + i))
        client.close(timeout_s=0.1)
    link.down = False


# --- The bank is away -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [0, 7], ids=["a new robot", "a robot that the bank knows"])
@pytest.mark.parametrize("restarts", [0, 2])
def test_a_robot_with_a_new_outbox_starts_and_writes_while_the_bank_is_away(service, tmp_path, known, restarts):
    for i in range(known):
        service._bank.append(Event("arm", i + 1, 0.0, Observed(f"before {i}")))
    link = Fault(service)
    link.down = True
    names = []
    for life in range(restarts + 1):
        client = BankClient(link, Outbox(tmp_path / "box"), writer="arm")
        started_s = time.monotonic()
        for i in range(5):
            names.append(f"{life}.{i}")
            client.post(observed(names[-1], 4e9 + len(names)))
        assert time.monotonic() - started_s < 1.0, "a robot must not wait for a bank that is away"
        client.close(timeout_s=0.0)
    link.down = False
    with client_of(link, tmp_path / "box") as client:
        client.append(observed("online", 5e9))
        client.flush()
    assert logged(service) == [*(f"before {i}" for i in range(known)), *names, "online"]
    assert service.last_of_writer("arm")[0] == known + len(names) + 1


def test_a_write_while_the_bank_is_away_says_after_its_time_that_it_waits(service, tmp_path):
    link = Fault(service)
    link.down = True
    with client_of(link, tmp_path / "box", timeout_s=0.2) as client:
        with pytest.raises(UnreachableError, match="1 events of 'arm' wait"):
            client.log(Observed("a"))
        link.down = False
        client.flush(timeout_s=10.0)
    assert logged(service) == ["a"]


def stamped(client, name):
    """Logs as `log` does, without waiting for the bank."""
    later = not client._site.known
    return client._post([client._event(Observed(name), "", "", ())], stamped=True, later=later)


@pytest.mark.parametrize("away", [False, True], ids=["bank there", "bank away at first"])
@pytest.mark.parametrize("back_s", [1.0, 3600.0, 1e9])
def test_a_robot_whose_clock_is_set_back_while_it_is_switched_off_goes_on(service, tmp_path, back_s, away):
    link, machine, begun_s = Fault(service), Machine(2e9), service.clock().time_s
    for life in range(3):
        with BankClient(link, Outbox(tmp_path / "box"), writer="arm", clock=machine.clock()) as client:
            link.down = away
            answers = [stamped(client, f"{life}.{i}") for i in range(2)]
            link.down = False
            assert [answer.result(10.0) for answer in answers] == [[2 * life + 1], [2 * life + 2]]
            client.log(Observed(f"{life}")) if life == 2 else None
        machine.steps(-back_s)
    times_s = [event.valid_time_s for event in service.read(every_change())]
    assert times_s == sorted(times_s), "its times do not run backwards"
    assert begun_s <= times_s[0] and times_s[-1] <= service.clock().time_s, "and are those of the bank's clock"


def test_waiting_events_are_not_overtaken_by_those_after_the_clock_was_set_back(service, tmp_path):
    link, machine = Fault(service), Machine(2e9)
    link.down = True
    for life in range(3):
        client = BankClient(link, Outbox(tmp_path / "box"), writer="arm", clock=machine.clock())
        stamped(client, f"{life}")
        client.close(timeout_s=0.0)
        machine.steps(-3600.0)
    link.down = False
    with client_of(link, tmp_path / "box") as client:
        client.flush()
        assert client.laid_aside() == []
    assert logged(service) == ["0", "1", "2"]


def test_a_time_that_the_caller_chose_is_not_changed(service, tmp_path):
    with client_of(service, tmp_path / "box") as client:
        client.append(observed("a", 5.0))
    with client_of(service, tmp_path / "box") as client, pytest.raises(MemoryBankError, match="run backwards"):
        client.append(observed("b", 4.0))


# --- Disks that are replaced, copied and restored ---------------------------------------------------------------------


def test_a_robot_whose_outbox_comes_from_a_backup_goes_on(service, tmp_path):
    with client_of(service, tmp_path / "box") as client:
        client.log(Observed("one"))
    shutil.copyfile(tmp_path / "box", tmp_path / "backup")
    with client_of(service, tmp_path / "box") as client:
        for i in range(5):
            client.log(Observed(f"later {i}"))
    with client_of(service, tmp_path / "backup") as client:
        client.log(Observed("restored"))
        assert client.last_of_writer("arm")[0] == 7
    assert logged(service) == ["one", *(f"later {i}" for i in range(5)), "restored"]


def test_a_backup_with_waiting_parcels_neither_doubles_nor_loses_them(service, tmp_path):
    link = Fault(service)
    leave_waiting(link, tmp_path / "box", 3)
    shutil.copyfile(tmp_path / "box", tmp_path / "backup")
    with client_of(link, tmp_path / "box") as client:
        client.append(observed("later", 5e9))
    with client_of(link, tmp_path / "backup") as client:
        client.append(observed("restored", 6e9))
    assert logged(service) == ["first", "e0", "e1", "e2", "later", "restored"]


@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize("copies", [1, 2])
def test_what_a_replaced_disk_still_holds_reaches_the_bank_once_although_its_numbers_are_taken(
    service, tmp_path, count, copies
):
    link = Fault(service)
    leave_waiting(link, tmp_path / "box", count)
    with client_of(link, tmp_path / "new") as client:
        for i in range(count):
            client.append(observed(f"new {i}", 3e9))
    for copy in range(copies):
        shutil.copyfile(tmp_path / "box", tmp_path / f"copy{copy}")
        with client_of(link, tmp_path / f"copy{copy}") as client:
            client.flush()
            assert client.laid_aside() == []
    assert sorted(logged(service)) == sorted(["first", *(f"{word}{i}" for word in ("e", "new ") for i in range(count))])
    assert [event.payload.evidence for event in service.read(every_change()) if "/again-" in event.writer] == [
        f"e{i}" for i in range(count)
    ]


def test_two_clients_under_one_name_lose_nothing(service, tmp_path):
    with client_of(service, tmp_path / "a") as one, client_of(service, tmp_path / "b") as other:
        for i in range(20):
            (one, other)[i % 2].append(observed(f"{i}"))
    assert sorted(logged(service), key=int) == [str(i) for i in range(20)]


def test_a_number_that_the_caller_chose_is_not_changed(service, tmp_path):
    with client_of(service, tmp_path / "box") as client:
        client.append(observed("a", number=5))
        with pytest.raises(MemoryBankError, match="number twice"):
            client.append(observed("b", number=5))
        with pytest.raises(MemoryBankError, match="order of their numbers"):
            client.append(observed("c", number=4))
    assert logged(service) == ["a"]


# --- Refusals, and what is laid aside ---------------------------------------------------------------------------------


def alter_one(path, position):
    with closing(sqlite3.connect(path)) as db, db:
        number, raw = db.execute("SELECT number, content FROM parcel ORDER BY number").fetchall()[position]
        altered = raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:]
        db.execute("UPDATE parcel SET content = ? WHERE number = ?", (altered, number))


@pytest.mark.parametrize("position", [0, 3, 9])
def test_one_altered_parcel_does_not_keep_the_others_from_the_bank(service, tmp_path, position):
    link = Fault(service)
    leave_waiting(link, tmp_path / "box")
    alter_one(tmp_path / "box", position)
    with client_of(link, tmp_path / "box") as client:
        client.append(observed("after", 5e9))
        (aside,) = client.laid_aside()
    assert logged(service) == ["first", *(f"e{i}" for i in range(10) if i != position), "after"]
    assert "checksum" in aside.reason


def test_a_parcel_that_is_altered_while_it_waits_is_laid_aside_and_its_caller_hears_of_it(
    service, tmp_path, monkeypatch
):
    monkeypatch.setattr(sender, "MOST_IN_MEMORY_BYTES", 0)  # So that it is read from the disk again.
    link = Fault(service)
    with client_of(link, tmp_path / "box") as client:
        client.log(Observed("first"))
        link.down = True
        answers = [client.post(observed(f"e{i}", 4e9 + i)) for i in range(3)]
        with closing(sqlite3.connect(tmp_path / "box")) as db, db:
            db.execute("UPDATE parcel SET content = x'00' WHERE number = (SELECT MAX(number) - 1 FROM parcel)")
        link.down = False
        assert answers[2].result(10.0) == [3]
        with pytest.raises(DataError, match="laid aside"):
            answers[1].result(10.0)
    assert logged(service) == ["first", "e0", "e2"]


def test_what_is_refused_after_its_caller_stopped_waiting_is_laid_aside_and_can_be_sent_again(service, tmp_path):
    link = Fault(service)
    with client_of(link, tmp_path / "box", timeout_s=0.3) as client:
        client.move("cup", "in", "sink")
        link.down = True
        with pytest.raises(UnreachableError):
            client.append([observed("with it"), Event("", 0, 4e9, RelationSet("cup", "in", "shelf"))])
        link.down = False
        client.flush(timeout_s=10.0)
        ((number, events, reason),) = client.laid_aside()
        assert [event.kind for event in events] == ["observed", "relation_set"]
        assert "two parents" in reason
        assert read_laid_aside(tmp_path / "box") == client.laid_aside(), "also beside the running client"
        with pytest.raises(MemoryBankError, match="two parents"):
            client.send_again(number)
        (again,) = client.laid_aside()
        assert again.number != number
        with pytest.raises(UnknownNameError, match=f"Laid aside: {again.number}"):
            client.send_again(number)
    assert logged(service) == []


def test_what_was_laid_aside_is_sent_again_once_under_a_writer_of_its_own(service, tmp_path):
    with closing(Outbox(tmp_path / "box")) as outbox:
        outbox.adopt("arm", 0)
        late = Event("arm", 0, 1.0, RelationSet("cup", "in", "box", expected_version=1))
        parcel = outbox.add([Event("arm", 0, 1.0, Observed("kept")), late])
        outbox.refuse(parcel, "version")
        outbox.remove([parcel], at_once=True)
    shutil.copyfile(tmp_path / "box", tmp_path / "copy")
    with client_of(service, tmp_path / "box") as client:
        client.move("cup", "in", "sink")
        client.append(observed("now"))
        ((number, _, _),) = client.laid_aside()
        assert len(client.send_again(number)) == 2
        assert client.laid_aside() == []
    with client_of(service, tmp_path / "copy") as client:
        assert client.send_again(number) == [3, 4], "the bank recognises it"
    assert logged(service) == ["now", "kept"]


def test_what_is_laid_aside_is_bounded_and_the_oldest_is_dropped(tmp_path, caplog):
    with closing(OutboxConfig(path=str(tmp_path / "box"), limit_mib=1.0).build()) as outbox:
        outbox.adopt("arm", 0)
        for i in range(10):
            parcel = outbox.add([Event("arm", 0, 1.0, Observed(f"{i}" + "x" * 60_000))])
            outbox.refuse(parcel, "no")
            outbox.remove([parcel], at_once=True)
        kept = [one.events[0].payload.evidence[0] for one in outbox.laid_aside()]
    assert kept == ["6", "7", "8", "9"]
    assert "is dropped" in caplog.text


# --- Limits in bytes --------------------------------------------------------------------------------------------------


def moment(megabytes):
    return Event("", 0, 4e9, MomentStored("e", "m", unit(4), (0.0, 0.0, 0.0), bytes(megabytes * 2**20), 1), robot="arm")


def test_an_outbox_is_bounded_in_bytes_and_accepts_again_once_there_is_room(service, tmp_path):
    link = Fault(service)
    link.down = True
    with client_of(link, tmp_path / "box", limit_mib=10.0, timeout_s=20.0) as client:
        answers = [client.post(moment(3)) for _ in range(3)]
        with pytest.raises(MemoryBankError, match=r"more bytes than its limit.*of 10485760 wait"):
            client.post(moment(3))
        link.down = False
        assert [len(answer.result(20.0)) for answer in answers] == [1, 1, 1]
        assert len(client.append(moment(3))) == 1
    with pytest.raises(ConfigError, match="limit_mib"):
        OutboxConfig(limit_mib=0.0).build()


def test_an_append_that_no_bank_takes_is_refused_before_it_is_stored(service, tmp_path):
    with client_of(service, tmp_path / "box") as client:
        with pytest.raises(MemoryBankError, match="33554432 bytes together"):
            client.post([moment(7)] * 5)
        assert client.append(observed("after")) == [1]


def test_of_many_large_parcels_few_are_in_memory_and_in_one_call(service, tmp_path):
    class Measured(Fault):
        calls = ()

        def commit(self, groups):
            if not self.down:
                self.calls = (*self.calls, sum(map(len, groups)))
            return super().commit(groups)

    link = Measured(service)
    link.down = True
    with client_of(link, tmp_path / "box", timeout_s=30.0) as client:
        answers = [client.post(moment(4)) for _ in range(12)]
        held = [len(one.content) for one in client._sender._waiting if one.content is not None]
        assert sum(held) <= 16 * 2**20
        link.down = False
        assert [answer.result(30.0) for answer in answers] == [[i + 1] for i in range(12)]
    assert max(link.calls) < 9 * 2**20


# --- Full disks -------------------------------------------------------------------------------------------------------


def fail_deletions(outbox):
    """Makes each deletion of a parcel fail as on a full disk, until the returned call."""
    outbox._store.db.execute(
        "CREATE TEMP TRIGGER full BEFORE DELETE ON main.parcel BEGIN SELECT RAISE(ABORT, 'database is full'); END"
    )
    return lambda: outbox._store.db.execute("DROP TRIGGER full")


def test_a_removal_that_fails_is_counted_once_and_rolled_back(tmp_path):
    with closing(Outbox(tmp_path / "box", limit=5)) as outbox:
        outbox.adopt("arm", 0)
        parcels = [outbox.add([Event("arm", 0, 1.0, Observed(f"{i}"))] * 2) for i in range(2)]
        repair = fail_deletions(outbox)
        for _ in range(5):
            with pytest.raises(EmbodiedError):
                outbox.remove(parcels[:1], at_once=True)
            assert outbox.events == 4
            assert not outbox._store.db.in_transaction
            assert outbox._store.db.execute("PRAGMA synchronous").fetchone() == (2,), (
                "later appends must be durable again"
            )
        repair()
        for _ in range(3):
            outbox.remove(parcels[:1], at_once=True)
            outbox.remove(parcels[:1])
            assert outbox.events == 2
        assert [parcel.number for parcel in outbox.waiting()] == [parcels[1].number]
        with pytest.raises(MemoryBankError, match="Got 6"):
            outbox.add([Event("arm", 0, 1.0, Observed("x"))] * 4)


def test_a_disk_that_is_full_when_a_refusal_is_noted_stops_nothing_once_there_is_room(service, tmp_path):
    with client_of(service, tmp_path / "box", timeout_s=0.5) as client:
        client.append(observed("first"))
        client._outbox.remove([], at_once=True)
        repair = fail_deletions(client._outbox)
        with pytest.raises(UnreachableError, match="full"):
            client.append(observed("runs backwards", 1.0))
        repair()
        client.flush(timeout_s=10.0)
        assert client.append(observed("after", 5e9)) == [2]
        assert client._outbox.events == 0
    assert logged(service) == ["first", "after"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_full_disk_under_a_new_parcel_keeps_nothing_of_it(tmp_path, count):
    with closing(Outbox(tmp_path / "box")) as outbox:
        outbox.adopt("arm", 0)
        first = outbox.add([Event("arm", 0, 1.0, Observed("a"))])
        (pages,) = outbox._store.db.execute("PRAGMA page_count").fetchone()
        outbox._store.db.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(count):
            with pytest.raises(StorageError, match="Free space"):
                outbox.add([Event("arm", 0, 1.0, Observed("x" * 50_000))])
        assert outbox.events == 1
        assert outbox.size_bytes == len(first.content)
        outbox._store.db.execute("PRAGMA max_page_count = 1000000")
        assert decode_events(outbox.add([Event("arm", 0, 1.0, Observed("b"))]).content)[0].writer_seq == 2


def test_an_old_disk_full_of_sightings_is_sent_by_a_client_with_little_memory(service, tmp_path, monkeypatch):
    monkeypatch.setattr(sender, "MOST_IN_MEMORY_BYTES", 0)
    link = Fault(service)
    link.down = True
    with client_of(link, tmp_path / "box", timeout_s=30.0) as client:
        for i in range(300):
            client.post(Event("", 0, 4e9 + i, EntitySeen(f"e{i}", "cube", Pose())))
        link.down = False
        client.flush(timeout_s=30.0)
    assert service.head() == 300


def test_an_outbox_is_private_and_a_deleted_one_accepts_nothing_more(tmp_path):
    with closing(Outbox(tmp_path / "box")) as outbox:
        outbox.adopt("arm", 0)
        outbox.add([Event("arm", 0, 1.0, Observed("a"))])
        assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
        (tmp_path / "box").unlink()
        with pytest.raises(StorageError, match="stay at its path"):
            outbox.add([Event("arm", 0, 1.0, Observed("b"))])
