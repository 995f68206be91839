"""A thorough opening checks every event, but not again those of a file that is as a sound bank was closed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from embodied.errors import DataError
from embodied.memory import back_up, open_bank, require_openable
from embodied.memory.storage import integrity
from tests.memory.writers import EventFactory


@pytest.fixture
def inspected(monkeypatch):
    """The files whose events were all checked."""
    seen, check = [], integrity.inspect_file
    monkeypatch.setattr(integrity, "inspect_file", lambda path: seen.append(path.name) or check(path))
    return seen


def fill(path, count=50, *, thorough=True, writer="panda"):
    factory = EventFactory()
    with open_bank(f"sqlite:///{path}", thorough=thorough) as bank:
        factory.numbers[writer] = bank.last_of_writer(writer)[0]
        bank.append([factory.seen(f"block_{i}", float(i), 1000.0, writer) for i in range(count)])


def test_a_file_as_its_owner_closed_it_is_opened_without_checking_each_event_again(tmp_path, inspected):
    path = tmp_path / "bank.db"
    fill(path)
    fill(path)
    require_openable(f"sqlite:///{path}")
    fill(path)
    assert inspected == []
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.head == 150
        assert bank.verify().problems == ()


def test_one_flipped_bit_anywhere_has_every_event_checked(tmp_path, inspected):
    path = tmp_path / "bank.db"
    fill(path)
    content = path.read_bytes()
    for at in range(100, len(content), len(content) // 7):
        path.write_bytes(content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :])
        inspected.clear()
        note = (tmp_path / "bank.db.lock").read_bytes()
        with suppress(DataError):
            open_bank(f"sqlite:///{path}").close()
        assert inspected == ["bank.db"]
        path.write_bytes(content)
        (tmp_path / "bank.db.lock").write_bytes(note)


def test_an_altered_event_is_refused_also_when_the_bank_was_opened_in_haste_since(tmp_path):
    path = tmp_path / "bank.db"
    fill(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE event SET valid_time_s = valid_time_s + 1 WHERE seq = 31")
    db.close()
    fill(path, 3, thorough=False, writer="other")
    with pytest.raises(DataError, match="Event 31 does not match its digest"):
        open_bank(f"sqlite:///{path}")


def test_after_a_kill_every_event_is_checked(tmp_path, inspected):
    path = tmp_path / "bank.db"
    fill(path)
    code = f"""
        import os, signal
        from embodied.memory import open_bank
        from tests.memory.writers import EventFactory
        bank = open_bank("sqlite:///{path}")
        bank.append(EventFactory().seen("cup", 0.0, 2000.0, "killed"))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env={**os.environ}, check=False)
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.head == 51
    assert inspected == ["bank.db"]
    open_bank(f"sqlite:///{path}").close()
    assert inspected == ["bank.db"]


def test_a_copy_of_a_file_without_its_lock_is_checked(tmp_path, inspected):
    fill(tmp_path / "bank.db")
    (tmp_path / "copy.db").write_bytes((tmp_path / "bank.db").read_bytes())
    open_bank(f"sqlite:///{tmp_path}/copy.db").close()
    assert inspected == ["copy.db"]


def killed(path, appends=3):
    """A bank whose owner was killed after `appends`: its newest events are in the write-ahead log."""
    child = os.fork()
    if child == 0:
        bank, factory = open_bank(f"sqlite:///{path}"), EventFactory()
        for number in range(appends):
            bank.append(factory.seen("cup", float(number), 1000.0))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_killed_bank_opens_after_another_program_has_played_its_log_into_the_file(tmp_path):
    path = tmp_path / "bank.db"
    killed(path)
    code = f"import sqlite3; print(sqlite3.connect('{path}').execute('SELECT COUNT(*) FROM event').fetchone())"
    subprocess.run([sys.executable, "-c", f"{code}"], check=True, capture_output=True)
    assert {file.name for file in tmp_path.iterdir()} == {"bank.db", "bank.db.lock"}, "the log was played and removed"
    assert back_up(path, tmp_path / "backup.db") == 3
    require_openable(f"sqlite:///{path}")
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.head == 3


def test_a_killed_bank_whose_log_is_missing_stays_refused_beside_its_lock(tmp_path):
    killed(tmp_path / "bank.db")
    (tmp_path / "bank.db-wal").unlink()
    for _ in range(2):
        with pytest.raises(DataError, match="newest events"):
            open_bank(f"sqlite:///{tmp_path}/bank.db")


@pytest.mark.parametrize("name", ["bank.db", "copy.db"])
def test_projections_that_were_altered_while_the_bank_was_closed_are_made_again(tmp_path, name):
    fill(tmp_path / "bank.db")
    with open_bank(f"sqlite:///{tmp_path}/bank.db") as bank:
        before = repr(bank.where_is("block_7"))
    if name == "copy.db":
        shutil.copy(tmp_path / "bank.db", tmp_path / name)
    with sqlite3.connect(tmp_path / name) as db:
        assert db.execute("DELETE FROM mention").rowcount
    db.close()
    with open_bank(f"sqlite:///{tmp_path}/{name}") as bank:
        assert repr(bank.where_is("block_7")) == before
        assert bank.verify().problems == ()
