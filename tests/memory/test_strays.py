"""What stands beside or in place of a bank's files: folders, pipes, links and files that are closed to this user."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from embodied.errors import EmbodiedError, PathError, StorageError
from embodied.geometry import Pose
from embodied.memory import EntitySeen, Event, Observed, Outbox, back_up, open_bank, open_read_only, rescue
from embodied.memory.storage import bank_file, integrity

SNAPSHOT = "run.db.snapshot-000000000005-0123456789abcdef"


def filled(path, count=5):
    with open_bank(f"sqlite:///{path}") as bank:
        bank.append([Event("r", number, float(number), EntitySeen(f"cup_{number}", "cup", Pose((0.5, 1.0, 2.0))))
                     for number in range(1, count + 1)])  # fmt: skip
    return path


def outdate(path):
    """Has the next opening make the projections again, as for a bank of an older version."""
    with sqlite3.connect(path) as db:
        db.execute("UPDATE projections SET version = 0")
    db.close()
    path.with_name(path.name + ".lock").unlink()


def dangling(path):
    path.symlink_to("/nonexistent")


PLANTED = [lambda path: path.mkdir(), os.mkfifo, dangling]


@pytest.mark.parametrize("plant", PLANTED, ids=["folder", "pipe", "link"])
@pytest.mark.parametrize("name", [".run.db.snapshot-abcdefgh", SNAPSHOT])
def test_what_only_has_the_name_of_a_snapshot_is_left_alone_and_stops_nothing(tmp_path, name, plant):
    path = filled(tmp_path / "run.db")
    plant(tmp_path / name)
    outdate(path)
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.where_is("cup_5").pose.position_m == (0.5, 1.0, 2.0)
        bank.write_snapshot()
        bank.rebuild()
        assert bank.status().head == 5
    assert os.path.lexists(tmp_path / name)


@pytest.mark.parametrize("plant", PLANTED[:2], ids=["folder", "pipe"])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_what_stands_in_place_of_a_file_of_a_bank_is_named(tmp_path, suffix, plant):
    path = tmp_path / "run.db"
    if suffix:
        filled(path)
    plant(tmp_path / f"run.db{suffix}")
    for use in (open_bank, open_read_only):
        with pytest.raises(EmbodiedError, match=f"run.db{suffix}"):
            use(f"sqlite:///{path}")
    with pytest.raises(EmbodiedError, match=f"run.db{suffix}"):
        back_up(path, tmp_path / "backup.db")
    (tmp_path / f"run.db{suffix}").rename(tmp_path / "elsewhere")
    open_bank(f"sqlite:///{path}").close()


def test_a_pipe_in_place_of_an_outbox_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "outbox.db")
    with pytest.raises(StorageError, match="must be files"):
        Outbox(tmp_path / "outbox.db")


def test_a_bank_that_cannot_be_opened_leaves_its_file_to_others(tmp_path, monkeypatch):
    path = filled(tmp_path / "run.db")

    def fails(*_):
        raise OSError("it fails")

    with monkeypatch.context() as broken:
        broken.setattr("embodied.memory.storage.snapshots.SnapshotWriter.__init__", fails)
        with pytest.raises(OSError, match="it fails"):
            open_bank(f"sqlite:///{path}")
    open_bank(f"sqlite:///{path}").close()


def test_a_path_that_is_not_utf_8_is_a_path_like_any_other(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)  # noqa: PTH102
    path = filled(tmp_path / os.path.basename(folder) / "run.db")  # noqa: PTH119
    with open_bank(f"sqlite:///{path}") as bank:
        bank.write_snapshot()
        assert bank.rebuild() == 5
    back_up(path, path.with_name("backup.db"))
    assert rescue(path, path.with_name("rescued.db")) == 5


@pytest.mark.parametrize("call", [open_bank, open_read_only, lambda url: back_up(Path(url[10:]), Path("x"))])
def test_a_file_that_is_closed_to_this_user_is_an_error_of_this_project(tmp_path, monkeypatch, call):
    path = filled(tmp_path / "run.db")

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(bank_file, "opened_to_read", refused)
    with pytest.raises(EmbodiedError, match="Permission denied"):
        call(f"sqlite:///{path}")


@pytest.mark.parametrize("name", ["x" * 300 + ".db", "circle/run.db"])
def test_a_path_that_no_file_can_have_is_an_error_of_this_project(tmp_path, name):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises((PathError, StorageError)):
        open_bank(f"sqlite:///{tmp_path}/{name}")


def test_snapshots_of_the_bank_that_a_rescued_one_replaces_are_not_used(tmp_path):
    path = tmp_path / "run.db"
    with open_bank(f"sqlite:///{path}") as bank:
        for i in range(6):
            event = Event(f"robot_{i}", 1, float(i), EntitySeen(f"cup_{i}", "cup", Pose((float(i), 0.0, 0.0))))
            bank.append(event)
        bank.write_snapshot()
        bank.append([Event("late", number, 9.0, Observed("x")) for number in range(1, 50)])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE event SET body = x'00' WHERE seq = 55")
    db.close()
    assert rescue(path, tmp_path / "sound.db") == 54
    (tmp_path / "sound.db").replace(path)
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.rebuild() == 0
        assert [bank.where_is(f"cup_{i}").pose.position_m[0] for i in range(6)] == [0, 1, 2, 3, 4, 5]
        assert bank.verify().problems == ()


def test_projections_of_a_file_that_was_altered_after_it_was_closed_are_made_again(tmp_path, monkeypatch):
    path = filled(tmp_path / "run.db")
    rebuilt = []
    real = integrity.require_sound
    monkeypatch.setattr(integrity, "require_sound", lambda *given: rebuilt.append(real(*given)) or rebuilt[-1])
    open_bank(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE mention SET valid_time_s = 77.0")
    db.close()
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.verify().problems == ()
    assert rebuilt == [False, True]
    shutil.copy(path, tmp_path / "copy.db")
    open_bank(f"sqlite:///{tmp_path}/copy.db").close()
    assert rebuilt[2:] == [True], "nothing says that a copy is as a bank was closed"
