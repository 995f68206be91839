"""Projections made again: from the log, or from a checked copy and the log after it."""

import sqlite3

import pytest

from embodied.errors import MemoryBankError
from embodied.memory import EntityMerged, EpisodeBegun, EpisodeEnded, Forgotten, SkillEnded, open_bank
from embodied.memory.storage import snapshots
from tests.memory.writers import EventFactory, contents_of, home, unit


@pytest.fixture
def bank(tmp_path):
    with open_bank("sqlite:///bank.db", root=tmp_path) as made:
        factory = EventFactory()
        made.append([factory.event(place, 0.0, "map") for place in home()])
        log_event(made, 0)
        yield made


def log_event(bank, turn):
    """Appends something of each kind that projections keep."""
    factory = EventFactory()
    for writer in ("panda", "late"):
        factory.numbers[writer] = bank.last_of_writer(writer)[0]
    name, time_s = f"block_{turn}", 10.0 * turn
    bank.append([factory.seen(name, 1.0, time_s), factory.put(name, "in", "kitchen", 0, time_s=time_s)])
    bank.append(
        [factory.put(name, "near", f"block_{turn - 1}", time_s=time_s), factory.seen("late", 1.0, time_s, "late")]
    )
    bank.append(factory.event(EntityMerged(f"ghost_{turn}", name), time_s))
    bank.append(factory.event(EpisodeBegun(f"e{turn}", "wash", "m", unit(4)), time_s))
    bank.append(
        [factory.moment(time_s=time_s, entities=(name,)), factory.event(EpisodeEnded(f"e{turn}", "success"), time_s)]
    )
    bank.append(factory.event(SkillEnded("pick", True), time_s, robot="panda"))


def damage_projections(bank):
    for table in snapshots.TABLES:
        bank._log.tables.write(f"DELETE FROM {table}")


@pytest.mark.parametrize("started", [True, False])
def test_a_rebuild_gives_the_same_tables_with_and_without_a_snapshot(bank, started):
    written = bank.head
    if started:
        bank.write_snapshot()
    log_event(bank, 1)
    removal = Forgotten("old", ((3, 3), (written + 1, written + 1)), 2)
    bank.append(EventFactory().event(removal, 20.0, "clerk"), as_site=True)
    log_event(bank, 2)
    before = contents_of(bank)
    damage_projections(bank)
    assert bank.verify().problems
    assert bank.rebuild() == (written if started else 0)
    assert contents_of(bank) == before
    assert bank.verify().problems == ()


def test_a_snapshot_after_which_nothing_was_removed_is_not_searched_for_removed_events(bank, monkeypatch):
    bank.append(EventFactory().event(Forgotten("old", ((3, 3),), 1), 20.0, "clerk"), as_site=True)
    written = bank.head
    bank.write_snapshot()
    log_event(bank, 1)
    before = contents_of(bank)
    damage_projections(bank)
    for projection in snapshots.PROJECTIONS:
        monkeypatch.setattr(projection, "prune", None)
    assert bank.rebuild() == written
    assert contents_of(bank) == before
    assert bank.verify().problems == ()


def test_an_altered_snapshot_is_not_used(bank):
    first = bank.write_snapshot()
    written = bank.head
    log_event(bank, 1)
    second = bank.write_snapshot()
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    before = contents_of(bank)
    damage_projections(bank)
    assert bank.rebuild() == written, "the older one is sound"
    assert contents_of(bank) == before
    first.unlink()
    assert bank.rebuild() == 0
    assert contents_of(bank) == before


def test_a_snapshot_of_another_log_is_not_used(bank, tmp_path):
    with open_bank("sqlite:///other.db", root=tmp_path) as other:
        factory = EventFactory()
        other.append([factory.seen(f"other_{i}") for i in range(bank.head)])
        foreign = other.write_snapshot()
    foreign.rename(bank.path.with_name(foreign.name.replace("other.db", "bank.db")))
    before = contents_of(bank)
    assert bank.rebuild() == 0
    assert contents_of(bank) == before


def test_snapshots_are_written_by_the_way_and_only_the_newest_are_kept(bank):
    writer = snapshots.SnapshotWriter(bank.path, every=10)
    for turn in range(1, 6):
        log_event(bank, turn)
        writer.note(bank.head)
        writer.close()
    kept = sorted(path.name for path in bank.path.parent.glob("bank.db.snapshot-*"))
    assert len(kept) == snapshots.KEPT
    assert not list(bank.path.parent.glob(".bank.db*")), "no half-written file stays"
    assert 0 < bank.rebuild() <= bank.head


def test_an_empty_bank_has_no_snapshot(tmp_path):
    with open_bank("sqlite:///empty.db", root=tmp_path) as bank, pytest.raises(MemoryBankError, match="have content"):
        bank.write_snapshot()
    assert {path.name for path in tmp_path.iterdir()} == {"empty.db.lock", "empty.db"}, "no half-written file stays"


def test_projections_of_an_older_version_are_made_again_on_opening(bank, tmp_path):
    before = contents_of(bank)
    bank.close()
    with sqlite3.connect(bank.path) as db:
        db.execute("UPDATE projections SET version = 0")
        db.execute("DROP TABLE containment")
    db.close()
    with open_bank("sqlite:///bank.db", root=tmp_path) as again:
        assert contents_of(again) == before


def test_a_rebuild_that_fails_leaves_the_old_tables(bank, monkeypatch):
    before = contents_of(bank)
    monkeypatch.setattr(snapshots, "replay", lambda *_, **__: bank._log.tables.db.execute("SELECT * FROM nowhere"))
    with pytest.raises(Exception, match="nowhere"):
        bank.rebuild()
    assert contents_of(bank) == before
