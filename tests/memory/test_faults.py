"""Kills, full disks, failing disks and flipped bits, on real files and real processes."""

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from embodied.errors import DataError, EmbodiedError, PathError, StorageError
from embodied.memory import inspect_file, open_bank, rescue
from launch.benchmarks.memory_faults import KillTally, MemoryFaultsConfig, flip_bits, kill_once, measure
from tests.memory.writers import EventFactory, contents_of

KILLS = 10
ON_PROC = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds open files through /proc")


def filled(path, count=200):
    """A closed bank with sightings and changing parents."""
    factory = EventFactory()
    with open_bank(f"sqlite:///{path}") as bank:
        for i in range(count):
            name = f"block_{i % 5}"
            bank.append(
                [factory.seen(name, float(i), float(i)), factory.put(name, "on", f"shelf_{i % 3}", i // 5, time_s=i)]
            )
    return factory


def test_no_acknowledged_event_is_lost_or_doubled_when_the_owner_is_killed(tmp_path):
    tally = KillTally()
    for _ in range(KILLS):
        kill_once(tmp_path / "bank.db", tally, writers=4, seed=7)
    assert tally.passes, (tally.lost, tally.doubled, tally.problems)
    assert tally.kills == KILLS
    assert len(tally.acknowledged) > 20 * KILLS, "the owner must have been busy when it was killed"


def test_an_event_lost_after_it_was_acknowledged_would_be_counted(tmp_path):
    tally = KillTally(acknowledged={("writer_0", 10**9): 5})
    kill_once(tmp_path / "bank.db", tally, writers=1, seed=7)
    assert tally.lost == 1
    assert not tally.passes


def test_flipped_bits_are_found_or_mean_nothing(tmp_path):
    outcomes = flip_bits(tmp_path, flips=40, seed=3)
    assert outcomes["missed"] == 0
    assert outcomes["found_on_opening"] + outcomes["found_by_verify"] > 5


def test_the_bench_reports_both():
    report = measure(MemoryFaultsConfig(kills=1, flips=1, writers=1))
    assert report["kills"]["passes"]
    assert report["flips"]["passes"]


def test_an_altered_event_is_named_and_the_prefix_before_it_can_be_saved(tmp_path):
    path = tmp_path / "bank.db"
    with open_bank(f"sqlite:///{path}") as bank:
        factory = EventFactory()
        for i in range(50):
            bank.append(factory.seen(f"block_{i}", float(i), float(i)))
        answers = {f"block_{i}": bank.where_is(f"block_{i}") for i in range(30)}
    with sqlite3.connect(path) as db:
        db.execute("UPDATE event SET valid_time_s = valid_time_s + 1 WHERE seq = 31")
    db.close()
    with pytest.raises(DataError, match=r"Event 31 does not match its digest.*Events 1 to 30 are sound"):
        open_bank(f"sqlite:///{path}")
    before = path.read_bytes()
    assert rescue(path, tmp_path / "saved.db") == 30
    assert path.read_bytes() == before
    with open_bank(f"sqlite:///{tmp_path}/saved.db") as bank:
        assert bank.head == 30
        assert {name: bank.where_is(name) for name in answers} == answers
        assert bank.verify().problems == ()
        assert bank.append(EventFactory().seen("block_0", 0.0, 0.0)) == [1], "what was logged before is still known"
    with pytest.raises(PathError, match="new file"):
        rescue(path, tmp_path / "saved.db")


def test_a_missing_event_and_an_altered_name_are_named(tmp_path):
    path = tmp_path / "bank.db"
    filled(path, 10)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM event WHERE seq IN (5, 6)")
        db.execute("UPDATE name SET text = 'pandb' WHERE text = 'panda'")
    db.close()
    found = inspect_file(path)
    assert "Event 1 does not match its digest." in found.problems
    assert "Events 5 to 6 are missing." in found.problems
    assert found.sound_seq == 0


def test_a_projection_that_differs_from_the_log_is_found_and_made_again(tmp_path):
    path = tmp_path / "bank.db"
    filled(path, 20)
    with open_bank(f"sqlite:///{path}") as bank:
        before = contents_of(bank)
        bank._log.tables.write(
            "UPDATE containment SET object = object + 1 WHERE rowid = (SELECT MIN(rowid) FROM containment)"
        )
        (problem,) = bank.verify().problems
        assert "Table containment has" in problem
        bank.rebuild()
        assert bank.verify().problems == ()
        assert contents_of(bank) == before


def test_a_truncated_file_is_refused_with_what_is_wrong(tmp_path):
    path = tmp_path / "bank.db"
    filled(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="SQLite"):
        open_bank(f"sqlite:///{path}")


def left_by_a_kill(tmp_path):
    """The file and write-ahead log as a killed owner leaves them: all transactions still in the latter."""
    script = textwrap.dedent(f"""
        import os
        from embodied.geometry import Pose
        from embodied.memory import EntitySeen, open_bank
        from tests.memory.writers import EventFactory
        factory = EventFactory()
        bank = open_bank("sqlite:///{tmp_path}/bank.db")
        for i in range(8):  # Together they are longer than the transaction that made the tables.
            seen = EntitySeen(f"block_{{i}}", "cube", Pose((float(i), 0.0, 0.0)), evidence="x" * 12000)
            bank.append(factory.event(seen, float(i)))
        os._exit(9)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    return tmp_path / "bank.db", tmp_path / "bank.db-wal"


def test_a_flip_in_the_write_ahead_log_is_named_instead_of_losing_what_follows(tmp_path):
    path, log = left_by_a_kill(tmp_path)
    content = bytearray(log.read_bytes())
    content[len(content) * 5 // 6] ^= 4
    log.write_bytes(content)
    with pytest.raises(DataError, match=r"Frame .* of the write-ahead log .* transactions after it would be lost"):
        open_bank(f"sqlite:///{path}")
    assert log.read_bytes() == bytes(content), "the evidence stays"
    assert 0 < rescue(path, tmp_path / "saved.db") < 8


def test_a_write_ahead_log_that_ends_in_a_torn_transaction_opens(tmp_path):
    path, log = left_by_a_kill(tmp_path)
    log.write_bytes(log.read_bytes()[:-100])
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.head == 7
        assert bank.verify().problems == ()


def test_a_file_whose_owner_died_before_the_first_table_opens(tmp_path):
    path = tmp_path / "bank.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    assert path.stat().st_size > 0
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.append(EventFactory().seen("block")) == [1]


def test_a_full_disk_is_a_clean_error_and_work_goes_on_once_there_is_space(tmp_path):
    factory = filled(tmp_path / "bank.db", 20)
    with open_bank(f"sqlite:///{tmp_path}/bank.db") as bank:
        db = bank._log.tables.db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 1}")
        before, answer = contents_of(bank), bank.where_is("block_0")
        many = [factory.seen(f"new_{i}", 0.0, 30.0) for i in range(500)]
        with pytest.raises(StorageError, match="full"):
            bank.append(many)
        assert contents_of(bank) == before
        assert bank.where_is("block_0") == answer
        db.execute("PRAGMA max_page_count = 1000000")
        assert bank.append(many)[0] == before["event"][-1][0] + 1
        assert bank.verify().problems == ()


FAILING = """
import os, resource, signal, sys
from pathlib import Path
from embodied.errors import StorageError
from embodied.memory.service.bank import open_bank
from tests.memory.writers import EventFactory

def log_descriptor(path):
    for link in Path("/proc/self/fd").iterdir():
        if link.exists() and os.readlink(link) == path + "-wal":
            return int(link.name)
    raise SystemExit("the write-ahead log is not open")

path, way = sys.argv[1:]
factory = EventFactory()
bank = open_bank("sqlite:///" + path)
bank.append([factory.seen(f"old_{i}", float(i), float(i)) for i in range(100)])
bank._log.tables.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
many = [factory.seen(f"new_{i}", 1.0, 200.0) for i in range(2000)]
answer = bank.where_is("old_7")
descriptor = log_descriptor(os.path.realpath(path))
sound = os.dup(descriptor)
if way == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(path).stat().st_size + 20000, resource.RLIM_INFINITY))
elif way == "full":
    os.dup2(os.open("/dev/full", os.O_RDWR), descriptor)
else:
    os.dup2(os.open(path, os.O_RDONLY), descriptor)
for _ in range(2):
    try:
        bank.append(many)
    except StorageError as error:
        assert "Nothing was written" in str(error), error
    else:
        raise SystemExit("the write went through")
assert bank.head == 100, bank.head
if way == "limit":
    assert bank.where_is("old_7") == answer
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    os.dup2(sound, descriptor)
assert bank.where_is("old_7") == answer
assert bank.where_is("new_1") is None
assert bank.append(many)[0] == 101
assert bank.verify().problems == (), bank.verify()
bank.close()
with open_bank("sqlite:///" + path) as bank:
    assert bank.head == 2100
print("held")
"""


@ON_PROC
@pytest.mark.parametrize("way", ["limit", "full", "failing"])
def test_a_disk_that_does_not_take_more_leaves_the_old_state_and_work_goes_on_when_it_does(tmp_path, way):
    done = subprocess.run(
        [sys.executable, "-c", FAILING, str(tmp_path / "bank.db"), way], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout == "held\n", done.stderr


TEXT = b"\xa3\xed\xa0\x80"  # Half of a surrogate pair, as MessagePack.
DAMAGE = {
    "text of an event": ("UPDATE event SET body = ? WHERE seq = 3", b"\x92" + TEXT + TEXT),
    "arrays in an event": ("UPDATE event SET body = ? WHERE seq = 3", b"\x91" * 5_000),
    "nothing in an event": ("UPDATE event SET body = ? WHERE seq = 3", b""),
    "a name": ("UPDATE name SET text = CAST(? AS TEXT) WHERE id = 5", b"\xff\xcc"),
    "a kind": ("UPDATE event SET kind = ? WHERE seq = 3", 10**6),
    "no text in a digest": ("UPDATE event SET digest = ? WHERE seq = (SELECT MAX(seq) FROM event)", "text"),
    "a cause": ("UPDATE event SET cause = ? WHERE seq = 3", b"\xc1"),
}


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.parametrize("thorough", [True, False])
def test_damaged_text_and_bytes_are_errors_of_this_project(tmp_path, case, thorough):
    path = tmp_path / "bank.db"
    filled(path, 5)
    with sqlite3.connect(path) as db:
        assert db.execute(DAMAGE[case][0], (DAMAGE[case][1],)).rowcount == 1
    db.close()
    with pytest.raises(DataError), open_bank(f"sqlite:///{path}", thorough=thorough) as bank:
        bank.changes_since(0)


def test_damage_of_any_byte_is_an_error_of_this_project(tmp_path):
    filled(tmp_path / "bank.db", 20)
    clean, choose, opened = (tmp_path / "bank.db").read_bytes(), random.Random(5), 0
    for i in range(60):
        damaged = bytearray(clean)
        for _ in range(choose.choice((1, 3, 50))):
            damaged[choose.randrange(len(damaged))] ^= 1 << choose.randrange(8)
        path = tmp_path / f"damaged{i}.db"
        path.write_bytes(damaged[: choose.choice((len(damaged), choose.randrange(len(damaged))))])
        try:
            with open_bank(f"sqlite:///{path}", thorough=False) as bank:
                bank.where_is("block_1")
                bank.changes_since(0)
                opened += 1
        except EmbodiedError as error:
            assert error.rule
        path.unlink()
    assert opened > 3
