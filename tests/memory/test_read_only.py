"""A bank is read at one instant while another process owns it and goes on writing."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from embodied.errors import DataError, MemoryBankError, PathError
from embodied.memory import BankView, Query, open_bank, open_read_only
from tests.memory.writers import EventFactory, home

ROOT = Path(__file__).parents[2]
URL = "sqlite:///bank.db"
WRITER = """
import sys
from pathlib import Path
from embodied.memory import open_bank
from tests.memory.writers import EventFactory, home

factory = EventFactory()
with open_bank("sqlite:///bank.db", root=Path(sys.argv[1])) as bank:
    bank.append([factory.event(place, 0.0, "map") for place in home()])
    print("ready", flush=True)
    turn = 0
    while not (Path(sys.argv[1]) / "stop").exists():
        turn += 1
        shelf = f"shelf_{turn % 2}"
        # All of a turn is one commit: the cup is where it was seen last, on the shelf of that turn.
        bank.append(
            [
                factory.seen("cup", float(turn), float(turn)),
                factory.put("cup", "on", shelf, turn - 1, time_s=float(turn)),
                factory.moment(time_s=float(turn), entities=("cup",)),
            ]
        )
"""


@pytest.fixture
def writing(tmp_path):
    """Another process that owns the bank in the folder and appends to it without a pause; ended by a file `stop`."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def answers(bank: BankView):
    """Answers from the log, from the projections and from the index of moments."""
    there = bank.where_is("cup")
    moments = bank.recall(Query(top_k=5, entities=("cup",)))
    return (
        bank.head, there, bank.contents("shelf_0"), bank.contents("shelf_1"), bank.names(), bank.places(),
        [one.seq for one in moments], [event.seq for event in bank.changes_since(max(0, bank.head - 20))],
        bank.where_is("cup", as_of_s=1.0),
    )  # fmt: skip


def wait_for(turns, folder):
    """Returns once another process has written so many turns."""
    while True:
        with open_read_only(URL, root=folder) as view:
            if view.head >= 2 + 3 * turns:
                return


def test_what_is_read_is_one_instant_of_the_bank_and_stays_so_while_another_process_writes(writing, tmp_path):
    read = []
    for turns in (1, 15, 30):
        wait_for(turns, tmp_path)
        with open_read_only(URL, root=tmp_path) as view:
            first = answers(view)
            with open_read_only(URL, root=tmp_path) as later:
                while answers(later)[0] == first[0]:
                    later.close()
                    later = open_read_only(URL, root=tmp_path)  # noqa: PLW2901
                later.close()
            assert answers(view) == first, "the writer went on meanwhile"
        turn = (first[0] - 2) // 3
        assert first[0] == 2 + 3 * turn, "whole turns"
        assert first[1].pose.position_m[0] == turn
        assert first[1].parent == f"shelf_{turn % 2}"
        assert (len(first[2]), len(first[3])) == ((0, 1) if turn % 2 else (1, 0))
        read.append(first)
    assert read[0][0] < read[1][0] < read[2][0]
    (tmp_path / "stop").touch()
    assert writing.wait(30) == 0
    with open_bank(URL, root=tmp_path) as bank:
        assert not bank.verify().problems
        assert [answers(bank.snapshot(one[0])) for one in read] == read


def test_the_bank_of_an_owner_that_was_killed_is_read_as_well(writing, tmp_path):
    wait_for(3, tmp_path)
    writing.kill()
    writing.wait()
    with open_read_only(URL, root=tmp_path) as view:
        seen = answers(view)
    with open_bank(URL, root=tmp_path) as bank:
        assert answers(bank) == seen


def test_a_reader_does_not_keep_the_owner_from_writing_or_closing(tmp_path):
    factory = EventFactory()
    with open_bank(URL, root=tmp_path) as bank:
        bank.append([factory.event(place, 0.0, "map") for place in home()])
        view = open_read_only(URL, root=tmp_path)
        bank.append(factory.seen("cup", 1.0, 1.0))
        bank.write_snapshot()
    with open_bank(URL, root=tmp_path) as bank:
        bank.append(factory.seen("cup", 2.0, 2.0))
        bank.rebuild()
        assert (bank.head, view.head, view.where_is("cup")) == (4, 2, None)
    view.close()
    view.close()
    with pytest.raises(MemoryBankError, match="must be open"):
        view.where_is("cup")


def test_a_reader_writes_nothing(tmp_path):
    with open_bank(URL, root=tmp_path) as bank:
        bank.append(EventFactory().seen("cup"))
    content = (tmp_path / "bank.db").read_bytes()
    with open_read_only(URL, root=tmp_path) as view:
        assert view.head == 1
        assert not hasattr(view, "append")
        with pytest.raises(Exception, match="readonly"):
            view._log.tables.db.execute("DELETE FROM event")
    assert (tmp_path / "bank.db").read_bytes() == content


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(PathError, match="must be a file that exists"):
        open_read_only(URL, root=tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(MemoryBankError, match="must lie in a file"):
        open_read_only(":memory:")
    (tmp_path / "bank.db").touch()
    with pytest.raises(DataError, match="It is empty"):
        open_read_only(URL, root=tmp_path)
    (tmp_path / "bank.db").write_text("no database at all, but long enough for a header" * 9)
    with pytest.raises(DataError, match="must be an SQLite file"):
        open_read_only(URL, root=tmp_path)
    with open_bank("sqlite:///old.db", root=tmp_path) as bank:
        bank._log.tables.write("UPDATE projections SET version = 0")
    with pytest.raises(MemoryBankError, match="projections of a bank must be of this version"):
        open_read_only("sqlite:///old.db", root=tmp_path)


def test_a_reader_finds_an_altered_event_beside_the_owner_when_it_is_asked(tmp_path):
    factory = EventFactory()
    with open_bank(URL, root=tmp_path) as bank:
        bank.append([factory.seen("cup", float(number), float(number)) for number in range(5)])
        with open_read_only(URL, root=tmp_path) as view:
            assert view.verify().problems == ()
    with sqlite3.connect(tmp_path / "bank.db") as db:
        db.execute("UPDATE event SET valid_time_s = valid_time_s + 1 WHERE seq = 3")
    with open_read_only(URL, root=tmp_path) as view:
        assert view.verify().problems == ("Event 3 does not match its digest.",)
        assert view.verify().sound_seq == 2
