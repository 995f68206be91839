"""Retention in small commits: how much each does, that appends go before it, and that it goes on after a kill."""

import threading

import pytest
from msgspec.structs import replace

from embodied.memory import EventFilter, Forgotten, Query, RetentionConfig, open_bank, retain
from embodied.memory.projections.blocks import BLOCK
from embodied.memory.retention import retention
from tests.memory.work import work_of
from tests.memory.writers import EventFactory, contents_of

NOW = RetentionConfig(fresh_s=0.0, observations=40)
NAMES = ("cup", "pen", "kuka")


def fill(bank, rounds, factory=None):
    """Sightings of two things that move and one that lies still, a robot's states and moments."""
    factory = factory or EventFactory()
    for step in range(rounds):
        bank.append(
            [
                factory.seen("cup", float(step % 7), float(step)),
                factory.seen("pen", 1.0, float(step)),
                factory.state("kuka", float(step), float(step)),
                factory.moment(time_s=float(step), axis=step % 4),
            ]
        )


def forgotten_of(bank):
    return [event.payload for event in bank.changes_since(0, wanted=EventFilter(kinds=("forgotten",)), limit=10**6)]


def test_every_step_removes_few_events_in_a_commit_of_its_own(monkeypatch):
    monkeypatch.setattr(retention, "STEP", 50)
    with open_bank(":memory:") as bank:
        fill(bank, 200)
        before = [bank.where_is(name) for name in NAMES]
        commits = []
        append = bank.append
        monkeypatch.setattr(bank, "append", lambda event, **how: commits.append(event.payload) or append(event, **how))
        done = retain(bank, NOW)
        assert [bank.where_is(name) for name in NAMES] == before
        assert forgotten_of(bank) == commits
        assert bank.verify().problems == ()
    assert len(commits) > 10
    assert all(sum(last - first + 1 for first, last in one.ranges) == one.count <= 50 for one in commits)
    assert sum(one.count for one in commits) == sum(done.forgotten.values())


def test_a_step_costs_what_it_removes_however_long_the_log_is(monkeypatch):
    costs = []
    for rounds in (1500, 6000):
        with open_bank(":memory:") as bank:
            fill(bank, rounds)
            number = bank.head
            event = EventFactory().event(Forgotten("old", ((1, 100), (201, 300)), 200), float(rounds), "clerk")
            costs.append(work_of(monkeypatch, bank, lambda bank=bank, event=event: bank.append(event, as_site=True)))
            assert bank.head == number + 1
            assert len(bank.changes_since(0, limit=10**5)) == number - 199
    assert costs[0][1] == costs[1][1]
    assert costs[1][0] <= 1.2 * costs[0][0]


def test_a_step_costs_the_same_however_many_tasks_its_events_belong_to(monkeypatch):
    costs = []
    for tasks in (1, 150):
        with open_bank(":memory:") as bank:
            factory = EventFactory()
            seen = [factory.seen("cup", float(i), float(i)) for i in range(BLOCK + 1)]
            bank.append([replace(one, task=f"task {min(i, 200) % tasks}") for i, one in enumerate(seen)])
            event = factory.event(Forgotten("old", ((1, 200),), 200), 1e6, "clerk")
            costs.append(work_of(monkeypatch, bank, lambda bank=bank, event=event: bank.append(event, as_site=True))[0])
            assert bank.verify().problems == ()
    assert costs[1] <= 1.5 * costs[0]


def test_retention_that_ends_in_the_middle_leaves_a_sound_bank_and_goes_on_later(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 50)
    with open_bank(":memory:") as whole:
        fill(whole, 200)
        retain(whole, NOW)
        expected = [event.seq for event in whole.changes_since(0, limit=10**6) if event.kind != "forgotten"]
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        fill(bank, 200)
        before = [bank.where_is(name) for name in NAMES]
        append, steps = bank.append, []

        def dies(event, **how):
            if len(steps) == 3:
                raise KeyboardInterrupt
            steps.append(append(event, **how))

        with monkeypatch.context() as patch:
            patch.setattr(bank, "append", dies)
            with pytest.raises(KeyboardInterrupt):
                retain(bank, NOW)
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        assert bank.verify().problems == ()
        assert len(forgotten_of(bank)) == 3
        assert [bank.where_is(name) for name in NAMES] == before
        retain(bank, NOW)
        assert [bank.where_is(name) for name in NAMES] == before
        left = [event.seq for event in bank.changes_since(0, limit=10**6) if event.kind != "forgotten"]
        assert left == expected
        rows = contents_of(bank)
        bank.rebuild()
        assert contents_of(bank) == rows


def test_moments_removed_after_the_index_was_made_are_recalled_no_more():
    with open_bank(":memory:") as bank:
        fill(bank, 50)
        assert len(bank.recall(Query(top_k=100))) == 50
        retain(bank, RetentionConfig(fresh_s=0.0, keyframes=4))
        assert len(bank.recall(Query(top_k=100))) == 4


def test_work_in_the_background_waits_while_an_append_is_in_progress():
    with open_bank(":memory:") as bank:
        tables, order, started = bank._log.tables, [], threading.Event()

        def background():
            started.set()
            bank.give_way()
            order.append("background")

        with tables.writing():
            thread = threading.Thread(target=background)
            thread.start()
            assert started.wait(5.0)
            thread.join(0.05)
            order.append("append")
        thread.join(5.0)
        assert order == ["append", "background"]
