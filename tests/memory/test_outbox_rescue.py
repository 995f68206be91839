"""Outboxes whose file is damaged: the robot starts, what can be read is sent, and the damaged file is kept."""

import logging
import os
import random
import sqlite3
from contextlib import closing

import pytest

from embodied.errors import DataError, StorageError
from embodied.memory import BankClient, BankService, Event, Observed, Outbox, open_bank

PAGE_BYTES = 4096
COUNT = 12


class Away:
    """A bank that cannot be reached."""

    def __getattr__(self, name):
        raise ConnectionError(name)


@pytest.fixture
def service():
    with BankService(open_bank(":memory:")) as made:
        yield made


@pytest.fixture(params=["numbered", "unnumbered"])
def path(request, service, tmp_path):
    """The closed outbox of a robot whose bank was away: parcels with numbers, or none with any."""
    path = tmp_path / "outbox.db"
    with closing(Outbox(path)) as outbox:
        if request.param == "numbered":
            outbox.adopt("r", 0)
        for i in range(COUNT):
            outbox.add([Event("r", 0, float(i), Observed(f"p{i}"))], later=request.param == "unnumbered")
    return path


def sent(service, path):
    """What reaches the bank from the outbox after a restart, beside one event that is logged then."""
    with BankClient(service, Outbox(path), writer="r", timeout_s=10) as client:
        client.log(Observed("new"))
        laid_aside = client.laid_aside()
    found = [event.payload.evidence for event in service._bank.changes_since(0)]
    assert found.count("new") == 1
    found.remove("new")
    return found, laid_aside


def root_page(path, table):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0] - 1


def alter(path, at, change):
    content = bytearray(path.read_bytes())
    content[at] = change(content[at])
    path.write_bytes(content)


def test_a_page_that_counts_too_few_parcels_loses_none(service, path, caplog):
    alter(path, root_page(path, "parcel") * PAGE_BYTES + 4, lambda count: count ^ 4)
    assert sent(service, path) == ([f"p{i}" for i in range(COUNT)], [])
    assert "is kept as outbox.db.damaged-1; 12 parcels" in caplog.text
    assert path.with_name("outbox.db.damaged-1").exists()


@pytest.mark.parametrize("table", ["refused", "writer", "unnumbered"])
def test_a_page_of_another_table_that_is_destroyed_keeps_no_parcel_from_the_bank(service, path, table):
    content = bytearray(path.read_bytes())
    at = root_page(path, table) * PAGE_BYTES
    content[at : at + PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    assert sent(service, path) == ([f"p{i}" for i in range(COUNT)], [])


@pytest.mark.parametrize("at", [0, 20, 60, 68, 100, 2000])
def test_a_damaged_first_page_keeps_no_parcel_from_the_bank(service, path, at):
    alter(path, at, lambda byte: byte ^ 0xFF)
    found, laid_aside = sent(service, path)
    assert (found, laid_aside) == ([f"p{i}" for i in range(COUNT)], [])


def test_a_table_whose_name_was_altered_is_not_taken_for_an_empty_one(service, path):
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"tableparcelparcel", b"tablepascelpascel").replace(b"TABLE parcel", b"TABLE pascel")
    )
    assert sent(service, path)[0] == [f"p{i}" for i in range(COUNT)]


@pytest.mark.parametrize("last", [2**63 - 1, 2**62 + 2**61])
def test_numbers_of_parcels_that_were_altered_to_the_largest_silence_nothing(service, path, last):
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE sqlite_sequence SET seq = ?", (last,))
        db.commit()
    assert sent(service, path)[0] == [f"p{i}" for i in range(COUNT)]


@pytest.mark.parametrize("size", [1, 50, 511, 5000])
def test_what_is_left_of_a_file_that_was_cut_keeps_no_robot_from_starting(service, path, size):
    path.write_bytes(path.read_bytes()[:size])
    sent(service, path)


def test_a_write_ahead_log_damaged_in_the_middle_is_kept_and_the_rest_is_sent(service, tmp_path, caplog):
    path = tmp_path / "outbox.db"
    if not os.fork():
        outbox = Outbox(path)
        outbox.adopt("r", 0)
        for i in range(COUNT):
            outbox.add([Event("r", 0, float(i), Observed(f"p{i}"))])
        os._exit(0)
    os.wait()
    log = path.with_name("outbox.db-wal")
    alter(log, log.stat().st_size // 2, lambda byte: byte ^ 1)
    found, _ = sent(service, path)
    assert found == [f"p{i}" for i in range(COUNT)], "later frames hold all of them"
    assert "write-ahead log" in caplog.text


def test_random_damage_keeps_no_robot_from_starting_and_sends_nothing_else(path, caplog):
    caplog.set_level(logging.CRITICAL)
    content, chance = path.read_bytes(), random.Random(5)
    for _ in range(40):
        for old in path.parent.iterdir():
            old.unlink()
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 8])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            page = chance.randrange(len(damaged) // PAGE_BYTES) * PAGE_BYTES
            damaged[page : page + PAGE_BYTES] = bytes(PAGE_BYTES)
        path.write_bytes(damaged)
        with BankService(open_bank(":memory:")) as service:
            found, _ = sent(service, path)
        assert set(found) <= {f"p{i}" for i in range(COUNT)}
        assert len(found) == len(set(found))


def test_the_file_of_another_program_is_not_moved(tmp_path):
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE precious (x)")
    content = path.read_bytes()
    for change in (content, content[:-1], b"text" * 5000, content[:4096]):
        path.write_bytes(change)
        with pytest.raises(DataError):
            Outbox(path)
        assert path.read_bytes()[:4096] == change[:4096]
        assert not list(tmp_path.glob("*damaged*"))


def waiting_after_a_kill(path, change):
    """How many of ten parcels are stored after five others and `change`, and how many are there after a kill."""
    read, write = os.pipe()
    if not os.fork():
        outbox = Outbox(path)
        outbox.adopt("r", 0)
        for i in range(15):
            if i == 5:
                change(path)
            try:
                outbox.add([Event("r", 0, 0.0, Observed(f"p{i}"))])
            except StorageError:
                continue
            os.write(write, b"x")
        os._exit(0)
    os.close(write)
    stored = 0
    while os.read(read, 1):
        stored += 1
    os.close(read)
    os.wait()
    with closing(Outbox(path)) as outbox:
        return stored, outbox.events


def test_a_write_ahead_log_that_is_deleted_loses_no_parcel_of_a_running_robot(tmp_path):
    path = tmp_path / "outbox.db"
    assert waiting_after_a_kill(path, lambda _: path.with_name("outbox.db-wal").unlink()) == (15, 15)


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_an_outbox_that_is_cut_stores_nothing_more(tmp_path, suffix):
    path = tmp_path / "outbox.db"
    stored, _ = waiting_after_a_kill(path, lambda _: os.truncate(f"{path}{suffix}", 10))
    assert stored == 5


def test_a_new_time_of_an_outbox_alone_changes_nothing(tmp_path):
    path = tmp_path / "outbox.db"
    assert waiting_after_a_kill(path, lambda _: os.utime(path, (5, 5))) == (15, 15)
