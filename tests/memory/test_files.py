"""The files of a bank: deleted, replaced, forked, linked, read-only, left over; each fault in words of this project."""

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from embodied.errors import MemoryBankError, StorageError
from embodied.memory import open_bank, open_read_only
from embodied.memory.storage import bank_file, snapshots
from tests.memory.writers import EventFactory

ROOT = Path(__file__).parents[2]
OWNER = """
import os, sys, time
from embodied.memory import open_bank
from tests.memory.writers import EventFactory
bank = open_bank("sqlite:///" + sys.argv[1])
"""


def opened(path, **options):
    return open_bank(f"sqlite:///{path}", **options)


def filled(path, count=5):
    factory = EventFactory()
    with opened(path) as bank:
        bank.append([factory.seen(f"cup_{number}") for number in range(count)])
    return path


def owner(path, code):
    """A process that has the bank open, has run `code`, and waits; its output is to be read."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER + code + "\ntime.sleep(60)", str(path)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process):
    process.kill()
    process.wait()
    process.stdout.close()


def moved(path):
    path.rename(path.with_name("elsewhere.db"))


def replaced(path):
    shutil.copy(path, path.with_name("other.db"))
    path.with_name("other.db").replace(path)


@pytest.mark.parametrize("remove", [Path.unlink, moved, replaced])
def test_nothing_is_acknowledged_once_the_file_is_gone_from_its_path(tmp_path, remove):
    factory = EventFactory()
    with opened(tmp_path / "run.db") as bank:
        bank.append(factory.seen("cup"))
        remove(tmp_path / "run.db")
        for _ in range(2):
            with pytest.raises(StorageError, match="stay at its path"):
                bank.append(factory.seen("cup"))


def test_a_forked_child_is_refused_and_its_parent_goes_on(tmp_path):
    code = """
factory = EventFactory()
bank.append(factory.seen("cup"))
child = os.fork()
if not child:
    for use in (lambda: bank.append(factory.seen("cup")), lambda: bank.where_is("cup"), lambda: bank.head):
        try:
            use()
            os._exit(1)
        except Exception as error:
            if str(os.getppid()) not in str(error):
                os._exit(2)
    bank.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
print(status, bank.append(factory.seen("cup")), flush=True)
"""
    process, shown = owner(tmp_path / "run.db", code)
    kill(process)
    assert shown == "0 [2]"


def test_a_child_does_not_keep_the_file_of_an_owner_that_was_killed(tmp_path):
    code = """
if not os.fork():
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
"""
    process, child = owner(tmp_path / "run.db", code)
    kill(process)
    try:
        opened(tmp_path / "run.db").close()
    finally:
        os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("events", [0, 3])
def test_a_bank_whose_owner_was_killed_opens_as_before(tmp_path, events):
    code = f"""
factory = EventFactory()
for _ in range({events}):
    bank.append(factory.seen("cup"))
print(bank.head, flush=True)
"""
    process, head = owner(tmp_path / "run.db", code)
    kill(process)
    with opened(tmp_path / "run.db") as bank:
        assert bank.head == int(head) == events


def linked(path, target):
    path.symlink_to(target)


def folder(path, target):
    del target
    path.mkdir()


@pytest.mark.parametrize("planted", [linked, folder])
def test_what_stands_in_place_of_the_lock_is_refused_and_left_alone(tmp_path, planted):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    planted(tmp_path / "run.db.lock", precious)
    with pytest.raises(StorageError, match=r"run\.db\.lock"):
        opened(tmp_path / "run.db")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("call", ["flock", "write"])
def test_a_disk_without_locks_or_space_is_named_and_the_file_is_free_afterwards(tmp_path, monkeypatch, call):
    def fails(*_):
        raise OSError(errno.ENOLCK if call == "flock" else errno.ENOSPC, "it fails")

    with monkeypatch.context() as broken:
        broken.setattr(*(fcntl, "flock", fails) if call == "flock" else (os, "pwrite", fails))
        with pytest.raises(StorageError, match="it fails"):
            opened(tmp_path / "run.db")
    opened(tmp_path / "run.db").close()


def test_a_bank_on_a_medium_that_cannot_be_written_is_read_and_nothing_is_made_beside_it(tmp_path, monkeypatch):
    filled(tmp_path / "run.db")
    (tmp_path / "run.db.lock").unlink()
    monkeypatch.setattr(bank_file.os, "access", lambda *_: False)
    with open_read_only(f"sqlite:///{tmp_path}/run.db") as bank:
        assert bank.head == 5
        assert [path.name for path in tmp_path.iterdir()] == ["run.db"]


def test_files_of_a_bank_can_be_read_by_its_user_alone(tmp_path):
    factory = EventFactory()
    with opened(tmp_path / "run.db") as bank:
        bank.append(factory.seen("cup"))
        bank.write_snapshot()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 5
    assert set(modes.values()) == {0o600}, modes


def test_what_killed_owners_left_is_removed_and_files_of_the_user_are_not(tmp_path):
    filled(tmp_path / "run.db")
    for name in (".run.db.snapshot-a1b2c3d4", ".run.db.snapshot-notes", "run.db.snapshot-before-upgrade"):
        (tmp_path / name).write_bytes(b"x")
    with opened(tmp_path / "run.db") as bank:
        assert bank.write_snapshot().exists()
        assert bank.rebuild() == 5
    left = {path.name for path in tmp_path.iterdir()}
    assert ".run.db.snapshot-a1b2c3d4" not in left
    assert {".run.db.snapshot-notes", "run.db.snapshot-before-upgrade"} <= left


def test_a_snapshot_on_a_full_disk_is_an_error_of_the_bank_and_leaves_no_part(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    filled(tmp_path / "run.db")
    with opened(tmp_path / "run.db") as bank:
        with monkeypatch.context() as broken:
            broken.setattr(snapshots.os, "fsync", full)
            with pytest.raises(MemoryBankError, match="No space left"):
                bank.write_snapshot()
        assert not [path for path in tmp_path.iterdir() if "snapshot" in path.name]
        assert bank.write_snapshot().exists()
