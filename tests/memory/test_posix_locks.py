"""SQLite's locks on the file of a bank hold, whatever else its process reads of the file."""

import contextlib
import subprocess
import sys

import pytest

from embodied.errors import MemoryBankError
from embodied.memory import OwnedError, back_up, inspect_file, open_bank, open_read_only, require_openable
from embodied.memory.storage.integrity import seal
from tests.memory.writers import EventFactory

# What the tool `sqlite3` does: it reads, and plays the write-ahead log into the file if it believes to be alone.
LOOK = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT COUNT(*) FROM event'); db.close()"
# Whether a writer that closes the bank could lock the whole file (the bytes of SQLite's lock: sqlite.org, os.h).
LOCK = """
import fcntl, sys
with open(sys.argv[1], "rb+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
"""


def url_of(path):
    return f"sqlite:///{path}"


def opened_again(path):
    with pytest.raises(OwnedError):
        open_bank(url_of(path))


def found_taken(path):
    with pytest.raises(OwnedError):
        require_openable(url_of(path))


def read_beside(path):
    open_read_only(url_of(path)).close()


def copied(path):
    back_up(path, path.with_name("backup.db"))


def inspected(path):
    with contextlib.suppress(MemoryBankError):
        inspect_file(path)


READINGS = [opened_again, found_taken, read_beside, copied, inspected, seal]


@pytest.mark.parametrize("reading", READINGS)
def test_an_owner_keeps_its_write_ahead_log_although_its_process_reads_the_file_otherwise(tmp_path, reading):
    path, factory = tmp_path / "run.db", EventFactory()
    with open_bank(url_of(path)) as bank:
        bank.append([factory.seen("cup", 0.0, 1.0) for _ in range(20)])
        reading(path)
        subprocess.run([sys.executable, "-c", LOOK, str(path)], check=True)
        bank.append(factory.seen("cup", 0.0, 2.0))
        with open_read_only(url_of(path)) as beside:
            assert beside.head == 21
        assert path.with_name("run.db-wal").stat().st_size > 0


@pytest.mark.parametrize("reading", [read_beside, copied, inspected, seal, require_openable])
def test_a_reader_keeps_its_lock_although_its_process_reads_the_file_otherwise(tmp_path, reading):
    path, factory = tmp_path / "run.db", EventFactory()
    with open_bank(url_of(path)) as bank:
        bank.append([factory.seen("cup", 0.0, 1.0) for _ in range(20)])

    def writer_may_take_it():
        return subprocess.run([sys.executable, "-c", LOCK, str(path)], capture_output=True, check=False).returncode == 0

    assert writer_may_take_it()
    with open_read_only(url_of(path)):
        reading(url_of(path) if reading is require_openable else path)
        assert not writer_may_take_it()
    assert writer_may_take_it()
