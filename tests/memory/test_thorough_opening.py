"""A thorough opening checks every event, but not again those of a file that is as a sound bank was closed."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from embodied.errors import DataError
from embodied.memory import open_bank, require_openable
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
