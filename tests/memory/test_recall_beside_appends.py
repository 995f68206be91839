"""The first recall loads all moments in slices: appends go on, and what is removed meanwhile is not recalled."""

import threading

import numpy as np
import pytest

from embodied.memory import Forgotten, Query, open_bank
from embodied.memory.queries import moment_matrix, moment_search
from tests.memory.work import work_of
from tests.memory.writers import EventFactory

NORTH = np.array([1.0, 0.0, 0.0, 0.0], np.float32)
ALIKE = Query(embedding=NORTH, model_id="m", top_k=100)


@pytest.fixture
def bank(monkeypatch):
    monkeypatch.setattr(moment_search, "LOADED_AT_ONCE", 10)
    with open_bank(":memory:") as opened:
        factory = EventFactory()
        opened.append([factory.moment(time_s=float(i), axis=i % 4, entities=("cup",)) for i in range(100)])
        yield opened


def test_the_lock_is_free_between_the_slices_of_the_first_load(bank, monkeypatch):
    lock, free = bank._log.tables.lock, []

    def take():
        free.append(lock.acquire(timeout=5.0))
        lock.release()

    def other_thread():
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

    monkeypatch.setattr(bank._log.tables, "give_way", other_thread)
    assert len(bank.recall(ALIKE)) == 100
    assert free == [True] * 10


def test_an_event_appended_during_the_first_load_is_there_at_once_and_recalled_next(bank, monkeypatch):
    late = EventFactory().moment(time_s=200.0, writer="other")
    written = []
    monkeypatch.setattr(bank._log.tables, "give_way", lambda: written or written.append(bank.append(late)))
    assert len(bank.recall(ALIKE)) == 100
    assert bank.event(written[0][0]).valid_time_s == 200.0
    assert len(bank.recall(Query(top_k=1000))) == 101


def test_a_moment_that_is_removed_between_its_choice_and_its_reading_is_not_recalled(bank, monkeypatch):
    removals = [Forgotten("old", ((1, 50), (61, 70)), 60)]
    chosen = moment_search._alike

    def removed_meanwhile(*arguments):
        found = chosen(*arguments)
        if removals:
            bank.append(EventFactory().event(removals.pop(), 300.0, "clerk"), as_site=True)
        return found

    monkeypatch.setattr(moment_search, "_alike", removed_meanwhile)
    assert sorted(one.seq for one in bank.recall(ALIKE)) == [*range(51, 61), *range(71, 101)]
    assert len(bank.recall(Query(entities=("cup",), top_k=100))) == 40


def test_several_removals_that_name_the_same_numbers_drop_each_of_them(bank):
    assert len(bank.recall(ALIKE)) == 100
    factory = EventFactory()
    for ranges in (((1, 40),), ((5, 10), (42, 44)), ((30, 41), (60, 60))):
        bank.append(factory.event(Forgotten("old", ranges, 0), 300.0, "clerk"), as_site=True)
    left = [*range(45, 60), *range(61, 101)]
    assert sorted(one.seq for one in bank.recall(ALIKE)) == left
    assert len(bank._indexed) == len(left)


def test_rows_that_arrive_in_order_of_time_are_not_moved(monkeypatch):
    rows = moment_matrix.MomentMatrix(1)
    moved = []
    monkeypatch.setattr(moment_matrix.np, "lexsort", lambda keys, sort=np.lexsort: moved.append(1) or sort(keys))
    for start in (0, 10, 20):
        times = np.arange(start, start + 10)
        columns = {name: times for name in moment_matrix.COLUMNS if name != "gone"}
        rows.add(columns, np.zeros((10, 1), np.float32))
        rows.settle()
    assert (rows.ordered, moved) == (30, [])
    rows.add({name: np.array([5]) for name in moment_matrix.COLUMNS if name != "gone"}, np.zeros((1, 1), np.float32))
    rows.settle()
    assert (rows.ordered, moved) == (31, [1])
    assert rows["time_s"].tolist() == sorted([5, *range(30)])


def test_a_recall_after_the_first_reads_nothing_but_what_it_returns(monkeypatch):
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        bank.append([factory.moment(time_s=float(i), axis=i % 4) for i in range(20)])
        bank.recall(ALIKE)
        few = work_of(monkeypatch, bank, lambda: bank.recall(Query(top_k=3)))
        bank.append([factory.seen("cup", 0.0, 100.0) for _ in range(2000)])
        assert work_of(monkeypatch, bank, lambda: bank.recall(Query(top_k=3)))[0] <= few[0] + 5
