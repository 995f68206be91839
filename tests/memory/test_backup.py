"""Backups of a bank, made while it is written, and what they restore."""

import os
import shutil
import signal
import threading

import pytest

from embodied.errors import DataError, EmbodiedError, PathError
from embodied.geometry import Pose
from embodied.memory import BankClient, BankService, EntitySeen, Event, OwnedError, back_up, open_bank, restore
from embodied.memory.service.outbox import Outbox
from embodied.memory.storage import backup
from launch.benchmarks import memory_backups
from launch.benchmarks.memory_backups import MemoryBackupsConfig
from tests.memory.writers import EventFactory


def opened(path):
    return open_bank(f"sqlite:///{path}")


def test_backups_of_a_bank_that_is_written_are_sound_and_hold_all_that_was_acknowledged_before(tmp_path):
    factory, acknowledged, stopped = EventFactory(), [0], threading.Event()
    with opened(tmp_path / "run.db") as bank:

        def write():
            while not stopped.is_set():
                acknowledged[0] = bank.append([factory.seen("cup", 0.0, 1.0) for _ in range(20)])[-1]

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(8):
                known = acknowledged[0]
                held = back_up(tmp_path / "run.db", tmp_path / f"{number}.db")
                assert held >= known
                with opened(tmp_path / f"{number}.db") as copy:
                    assert copy.head == held
                    assert copy.verify().problems == ()
        finally:
            stopped.set()
            writer.join()
    assert acknowledged[0] > 100


def test_a_restored_bank_gets_again_what_outboxes_hold_and_numbers_go_on(tmp_path):
    def seen(entity):
        return Event("", 0, 0.0, EntitySeen(entity, "cup", Pose()))

    with opened(tmp_path / "run.db") as bank, BankService(bank) as service:
        client = BankClient(service, Outbox(tmp_path / "out.db"), writer="arm")
        for number in range(5):
            client.append(seen(f"before_{number}"))
        back_up(tmp_path / "run.db", tmp_path / "backup.db")
        client.append(seen("lost"))
        client.close()
    outbox = Outbox(tmp_path / "out.db")
    outbox.add([Event("arm", 0, 0.0, seen(f"waiting_{number}").payload) for number in range(3)])
    outbox.close()
    assert restore(tmp_path / "backup.db", tmp_path / "new.db") == 5
    with opened(tmp_path / "new.db") as bank, BankService(bank) as service:
        client = BankClient(service, Outbox(tmp_path / "out.db"), writer="arm")
        client.append(seen("after"))
        client.close()
        assert [event.payload.entity for event in bank.changes_since(5)] == [
            "waiting_0", "waiting_1", "waiting_2", "after",
        ]  # fmt: skip
        assert bank.verify().problems == ()


@pytest.mark.parametrize("occupied", ["run.db", "run.db-wal"])
def test_nothing_is_overwritten_or_mixed_by_restoring(tmp_path, occupied):
    with opened(tmp_path / "old.db") as bank:
        bank.append(EventFactory().seen("cup"))
    back_up(tmp_path / "old.db", tmp_path / "backup.db")
    (tmp_path / occupied).write_bytes(b"precious")
    with pytest.raises(PathError, match=r"move|Choose"):
        restore(tmp_path / "backup.db", tmp_path / "run.db")
    assert (tmp_path / occupied).read_bytes() == b"precious"
    with pytest.raises(PathError, match="new file"):
        back_up(tmp_path / "old.db", tmp_path / "backup.db")


def test_a_bank_is_not_restored_under_its_owner(tmp_path):
    with opened(tmp_path / "run.db") as bank:
        bank.append(EventFactory().seen("cup"))
        back_up(tmp_path / "run.db", tmp_path / "backup.db")
        with pytest.raises(OwnedError):
            restore(tmp_path / "backup.db", tmp_path / "run.db")


def damaged(path):
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(4096))


@pytest.mark.parametrize(
    "source",
    [
        lambda path: path.write_bytes(b"no database"),
        lambda path: path.write_bytes(b""),
        damaged,
    ],
)
def test_what_is_no_sound_bank_is_refused_and_leaves_nothing_behind(tmp_path, source):
    with opened(tmp_path / "run.db") as bank:
        factory = EventFactory()
        bank.append([factory.seen(f"cup_{number}") for number in range(300)])
    source(tmp_path / "run.db")
    for copy in (back_up, restore):
        with pytest.raises((DataError, EmbodiedError)):
            copy(tmp_path / "run.db", tmp_path / "copy.db")
    left = {path.name for path in tmp_path.iterdir()} - {"run.db", "run.db.lock", "copy.db.lock"}
    assert not left, left


def test_a_copy_of_an_open_bank_without_its_write_ahead_log_says_so(tmp_path):
    factory = EventFactory()
    with opened(tmp_path / "run.db") as bank:
        bank.append([factory.seen("cup") for _ in range(50)])
        shutil.copy(tmp_path / "run.db", tmp_path / "copy.db")
        shutil.copy(tmp_path / "run.db", tmp_path / "whole.db")
        shutil.copy(tmp_path / "run.db-wal", tmp_path / "whole.db-wal")
    with pytest.raises(DataError, match="-wal file beside it"):
        opened(tmp_path / "copy.db")
    with pytest.raises(DataError, match="-wal file beside it"):
        back_up(tmp_path / "copy.db", tmp_path / "backup.db")
    with opened(tmp_path / "whole.db") as whole:
        assert whole.head == 50
    with opened(tmp_path / "run.db") as bank:  # Closed and opened again, it is complete without a log.
        assert bank.head == 50


def test_a_copy_that_was_killed_is_removed_by_the_next_one_and_one_in_progress_is_not(tmp_path, monkeypatch):
    with opened(tmp_path / "run.db") as bank:
        bank.append(EventFactory().seen("cup"))
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(backup, "_copy", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        back_up(tmp_path / "run.db", tmp_path / "killed.db")
    os.waitpid(child, 0)
    (killed,) = tmp_path.glob(".killed.db.*")
    killed.with_name(f"{killed.name}-journal").write_bytes(b"")
    os.utime(killed, (0.0, 0.0))
    copy, seen = backup._copy, []

    def slowly(path, part, *, held):
        if not seen:
            seen.append(part)
            os.utime(part, (0.0, 0.0))
            back_up(tmp_path / "run.db", tmp_path / "other.db")
            assert part.exists(), "another backup left this one alone"
        return copy(path, part, held=held)

    monkeypatch.setattr(backup, "_copy", slowly)
    assert back_up(tmp_path / "run.db", tmp_path / "copy.db") == 1
    assert not killed.exists()
    assert not list(tmp_path.glob(".*"))


def test_an_owner_can_start_while_a_backup_is_checked(tmp_path, monkeypatch):
    with opened(tmp_path / "run.db") as bank:
        bank.append(EventFactory().seen("cup"))
    check = backup.inspect_file

    def checked(part):
        with opened(tmp_path / "run.db") as bank:
            assert bank.head == 1
        return check(part)

    monkeypatch.setattr(backup, "inspect_file", checked)
    assert back_up(tmp_path / "run.db", tmp_path / "copy.db") == 1


def test_the_benchmark_of_backups_finds_nothing_lost_and_would_count_what_is(tmp_path):
    assert memory_backups.measure(MemoryBackupsConfig(backups=2, robots=2), seed=1)["passes"]
    factory, tally = EventFactory(), memory_backups.BackupTally()
    with opened(tmp_path / "run.db") as bank:
        bank.append(factory.seen("cup", 0.0, 1.0))
    memory_backups.check_backup(tmp_path / "run.db", {("panda", 1): 1, ("panda", 2): 2}, tally)
    assert tally.lost == 1
    assert not tally.passes
