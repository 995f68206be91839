"""Files of a bank that something else changes while it is open: nothing is acknowledged that could not be read."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from embodied.errors import EmbodiedError, MemoryBankError, StorageError
from embodied.memory import Event, Observed, back_up, open_bank, open_read_only
from embodied.memory.storage import bank_file, integrity
from embodied.memory.storage.open_file import MOST_INSPECTIONS

LOOK = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT COUNT(*) FROM event'); db.close()"
BEFORE, EVENTS = 500, 2500
WRITE = f"""
import sys
from embodied.memory import Event, Observed, open_bank
with open_bank("sqlite:///" + sys.argv[1]) as bank:
    bank.append([Event("r", {EVENTS} + number, 0.0, Observed("y" * 2000)) for number in range(1, 1001)])
"""
ROOT = Path(__file__).parents[2]


def observed(first, count=1):
    return [Event("r", number, 0.0, Observed("x" * 2000)) for number in range(first, first + count)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.db"


@pytest.fixture
def bank(path):
    """A bank of which much is in the file and some in its write-ahead log, and an older backup of it beside it."""
    bank = open_bank(f"sqlite:///{path}")
    bank.append(observed(1, BEFORE))
    back_up(path, path.with_name("older.db"))
    bank.append(observed(BEFORE + 1, EVENTS - BEFORE))
    yield bank
    with suppress(EmbodiedError, sqlite3.Error):
        bank.close()


def head_after_a_kill(path, change):
    """What a bank has after `change`, five appends that are tried, and a kill: acknowledged ones, and its head then."""
    read, write = os.pipe()
    if not os.fork():
        with suppress(StorageError):
            bank = open_bank(f"sqlite:///{path}")
            bank.append(observed(1, 100))
            change(bank)
            for _ in range(5):
                bank.append(observed(bank.head + 1))
                os.write(write, b"acknowledged\n")
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    with os.fdopen(read) as answer:
        acknowledged = len(answer.readlines())
    os.wait()
    with open_bank(f"sqlite:///{path}") as bank:
        return acknowledged, bank.head


def truncate(path):
    os.truncate(path, 4096)


def copy_over(path):
    path.write_bytes(path.with_name("older.db").read_bytes())


def fill_with_zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("change", [truncate, copy_over, fill_with_zeros])
def test_a_file_that_is_overwritten_or_cut_takes_nothing_more(bank, path, change, suffix):
    changed = path.with_name(path.name + suffix)
    changed.with_name("older.db").rename(path.with_name("older.db"))
    change(changed)
    content = [path.with_name(path.name + one).read_bytes() for one in ("", "-wal")]
    for _ in range(2):
        with pytest.raises(StorageError, match="Only its owner may write"):
            bank.append(observed(EVENTS + 1))
    with suppress(EmbodiedError):
        bank.close()
    assert [path.with_name(path.name + one).read_bytes() for one in ("", "-wal")] == content, "left for a rescue"


def test_a_file_that_is_overwritten_between_begin_and_commit_takes_nothing(bank, path, monkeypatch):
    insert = bank._log._insert

    def insert_late(*values):
        insert(*values)
        fill_with_zeros(path)

    monkeypatch.setattr(bank._log, "_insert", insert_late)
    with pytest.raises(StorageError, match="Only its owner may write"):
        bank.append(observed(EVENTS + 1))


def test_events_are_not_refused_for_what_was_done_to_the_file(bank, path, monkeypatch):
    def fails(*_):
        fill_with_zeros(path)
        raise sqlite3.DatabaseError("file is not a database")

    monkeypatch.setattr(bank._log, "_insert", fails)
    with pytest.raises(StorageError, match="Only its owner may write"):
        bank.append_batches([observed(EVENTS + 1)])


def unlink_log(path):
    path.with_name(path.name + "-wal").unlink()


def replace_log(path):
    log = path.with_name(path.name + "-wal")
    shutil.copy(log, log.with_name("other"))
    log.with_name("other").replace(log)


@pytest.mark.parametrize("change", [unlink_log, replace_log])
def test_a_write_ahead_log_that_is_gone_takes_nothing_more_and_nothing_is_lost(bank, path, change):
    change(path)
    with pytest.raises(StorageError, match="later events would be lost"):
        bank.append(observed(EVENTS + 1))
    bank.close()
    with open_bank(f"sqlite:///{path}") as again:
        assert again.head == EVENTS
        assert again.append(observed(EVENTS + 1)) == [EVENTS + 1]


def test_what_was_acknowledged_before_the_log_was_deleted_survives_a_kill(path):
    assert head_after_a_kill(path, lambda _: unlink_log(path)) == (0, 100)


def test_a_lock_that_is_deleted_stops_nothing_until_another_process_opens_the_bank(bank, path):
    path.with_name("run.db.lock").unlink()
    bank.append(observed(EVENTS + 1))
    with open_bank(f"sqlite:///{path}") as second:
        with pytest.raises(StorageError, match=r"run\.db\.lock"):
            bank.append(observed(EVENTS + 2))
        assert second.append(observed(EVENTS + 2)) == [EVENTS + 2]


def test_a_new_time_alone_has_the_bank_inspected_a_few_times_and_work_goes_on(bank, path, caplog):
    for number in range(MOST_INSPECTIONS + 2):
        os.utime(path, (number, number))
        bank.append(observed(EVENTS + 1 + number))
    assert caplog.text.count("every event is checked") == MOST_INSPECTIONS
    bank.close()
    open_bank(f"sqlite:///{path}").close()


def test_a_checkpoint_by_another_program_stops_nothing(bank, path):
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint")
    other.close()
    bank.append(observed(EVENTS + 1))


def test_events_that_another_program_deletes_are_noticed_by_the_next_append(bank, path):
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM event WHERE seq = 5")
    other.close()
    with pytest.raises(StorageError, match="Only its owner may write"):
        bank.append(observed(EVENTS + 1))


def test_a_file_that_took_the_place_of_an_open_bank_is_not_called_sound_without_a_check(bank, path):
    content = bytearray(path.with_name("older.db").read_bytes())
    content[content.index(b"x" * 2000)] ^= 1
    path.with_name("older.db").write_bytes(content)
    path.with_name("older.db").replace(path)
    with pytest.raises(StorageError):
        bank.append(observed(EVENTS + 1))
    bank.close()
    with pytest.raises(EmbodiedError, match="does not match its digest"):
        open_bank(f"sqlite:///{path}")


def refused(path):
    with pytest.raises(MemoryBankError, match="One process owns"):
        open_bank(f"sqlite:///{path}")


def back_up_again(path):
    back_up(path, path.with_name("again.db"))


def read(path):
    with open_read_only(f"sqlite:///{path}") as reader:
        reader.event(1)


@pytest.mark.parametrize("look", [refused, back_up_again, read, integrity.seal, bank_file.require_database])
def test_an_owner_that_looks_at_its_own_file_keeps_its_locks_on_it(bank, path, look):
    look(path)
    subprocess.run([sys.executable, "-c", LOOK, str(path)], check=True)
    assert path.with_name("run.db-wal").exists(), "another program took itself for the only one that has the file open"
    bank.append(observed(EVENTS + 1))


@pytest.mark.parametrize("look", [back_up_again, read, integrity.seal, bank_file.require_database])
def test_a_reader_whose_process_looks_at_the_file_again_keeps_its_answers(bank, path, look):
    bank.close()
    with open_read_only(f"sqlite:///{path}") as reader:
        look(path)
        subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True, cwd=ROOT)
        assert path.with_name("run.db-wal").exists(), "the log is what the reader does not see"
        assert reader.event(EVENTS).seq == reader.head == EVENTS


def test_a_file_that_cannot_be_written_from_here_and_changes_gives_no_answers_any_more(bank, path, monkeypatch):
    bank.close()
    monkeypatch.setattr(bank_file.os, "access", lambda *_: False)  # As in a container that only reads the folder.
    with open_read_only(f"sqlite:///{path}") as reader:
        assert reader.event(1).seq == 1
        subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True, cwd=ROOT)
        with pytest.raises(StorageError, match="open it again"):
            reader.event(1)


def test_descriptors_are_closed_once_the_bank_is(path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with open_bank(f"sqlite:///{path}") as bank:
        bank.append(observed(1))
        for _ in range(20):
            read(path)
            refused(path)
        assert len(list(Path("/proc/self/fd").iterdir())) < before + 15
    assert len(list(Path("/proc/self/fd").iterdir())) == before
