"""Questions about a few events of a long log: their work does not grow with the log, and their answers are complete."""

import random

import pytest

from embodied.geometry import Pose
from embodied.memory import (
    EntityMerged,
    EntitySeen,
    Event,
    EventFilter,
    Forgotten,
    Interaction,
    RobotReported,
    SkillEnded,
    open_bank,
)
from embodied.memory.projections import blocks
from embodied.memory.queries import log_view
from tests.memory.work import work_of
from tests.memory.writers import contents_of

KINDS = ("entity_seen", "robot_state")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 64)
    monkeypatch.setattr(log_view, "READ_THROUGH", 50)


def events(count):
    """Events of five robots and a rare one, whose kinds, tasks and things are mixed, and whose times are not."""
    draw = random.Random(3)
    for number in range(1, count + 1):
        rare = not number % (count // 5)
        robot = "rare" if rare else f"robot_{draw.randrange(5)}"
        thing = "rare thing" if rare else f"thing_{draw.randrange(9)}"
        task = "rare task" if rare else f"task_{number // 100}"
        if rare or draw.random() < 0.5:
            payload = EntitySeen(thing, "box", Pose())
        elif draw.random() < 0.9:
            payload = RobotReported(Pose())
        elif draw.random() < 0.5:
            payload = SkillEnded("pick", success=True)
        else:
            payload = Interaction("press", thing, 0.0, 0.0, 0.0, 0.0)
        late = draw.random() < 0.1
        writer = f"{robot}/late/{number}" if late else robot
        yield Event(writer, number, float(number - 40 * late), payload, robot=robot, task=task)


def filled(count):
    bank = open_bank(":memory:")
    bank.append(list(events(count)))
    return bank


FILTERS = {
    "everything": EventFilter(),
    "a rare thing": EventFilter(entities=("rare thing",)),
    "two things": EventFilter(entities=("thing_1", "thing_2")),
    "a thing and a robot": EventFilter(entities=("thing_1",), robot="robot_2"),
    "a robot": EventFilter(robot="robot_3"),
    "a robot's states": EventFilter(robot="robot_3", kinds=("robot_state",)),
    "a rare robot's sightings": EventFilter(robot="rare", kinds=("entity_seen", "absence_seen")),
    "a frequent kind": EventFilter(kinds=("robot_state",)),
    "rare kinds": EventFilter(kinds=("interaction", "skill_ended")),
    "a kind that never was": EventFilter(kinds=("absence_seen",)),
    "a task": EventFilter(task="rare task"),
    "a task's sightings": EventFilter(task="task_4", kinds=("entity_seen",)),
    "an unknown robot": EventFilter(robot="nobody"),
    "an unknown task": EventFilter(task="nothing", kinds=("robot_state",)),
}


def fits(event, wanted, same=frozenset()):
    about = {getattr(event.payload, "entity", "?"), event.robot if event.kind != "entity_seen" else ""}
    return (
        (not wanted.kinds or event.kind in wanted.kinds)
        and wanted.robot in ("", event.robot)
        and wanted.task in ("", event.task)
        and (not wanted.entities or bool(about & ({*wanted.entities} | same)))
    )


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS.keys())
def test_changes_are_those_that_reading_all_events_finds(wanted):
    with filled(1000) as bank:
        everything = bank.changes_since(0, limit=10**6)
        assert len(everything) == 1000
        for after in (0, 7, 64, 500, 940, 1000):
            for limit in (3, 10**6):
                expected = [event for event in everything if event.seq > after and fits(event, wanted)][:limit]
                assert bank.changes_since(after, wanted=wanted, limit=limit) == expected
            held = bank.snapshot(700)
            expected = [event for event in everything if after < event.seq <= 700 and fits(event, wanted)]
            assert held.changes_since(min(after, 700), wanted=wanted, limit=10**6) == expected
        bank.append(Event("clerk", 1, 2000.0, EntityMerged("rare thing", "thing_1")))
        same = {"rare thing", "thing_1"}
        merged = [event for event in everything if fits(event, wanted, same if same & {*wanted.entities} else set())]
        assert bank.changes_since(0, wanted=wanted, limit=10**6)[: len(merged)] == merged


def test_blocks_after_events_were_removed_are_those_of_a_rebuild():
    with filled(1000) as bank:
        everything = bank.changes_since(0, limit=10**6)
        everything = bank.changes_since(0, limit=10**6)
        gone = [event.seq for event in everything if event.kind in KINDS and event.seq % 7]
        newest = bank.latest_s()
        assert newest == max(event.valid_time_s for event in bank.changes_since(0, limit=10**6))
        bank.append(
            Event("clerk", 1, 1000.0, Forgotten("old", tuple((seq, seq) for seq in gone), len(gone))), as_site=True
        )
        left = bank.changes_since(0, limit=10**6)
        for wanted in FILTERS.values():
            found = bank.changes_since(0, wanted=wanted, limit=10**6)
            assert found == [event for event in left if fits(event, wanted)]
        before = contents_of(bank)
        assert bank.verify().problems == ()
        bank.rebuild()
        assert contents_of(bank) == before


def test_the_latest_time_is_that_of_the_newest_event_before_a_snapshot():
    with filled(400) as bank:
        everything = bank.changes_since(0, limit=10**6)
        for seq in (1, 63, 64, 65, 128, 129, 300, 400):
            assert bank.snapshot(seq).latest_s() == max(event.valid_time_s for event in everything[:seq])
        assert bank.snapshot(0).latest_s() is None


QUESTIONS = {
    "latest_s": lambda bank: bank.latest_s(),
    **{
        name: lambda bank, name=name: bank.changes_since(0, wanted=FILTERS[name], limit=20)
        for name in ("a rare thing", "a rare robot's sightings", "a task", "a kind that never was", "an unknown robot")
    },
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_work_of_a_question_does_not_grow_with_the_log(monkeypatch, name):
    costs = []
    for count in (1000, 8000):
        with filled(count) as bank:
            costs.append(work_of(monkeypatch, bank, lambda bank=bank: QUESTIONS[name](bank)))
    assert costs[1][0] <= 1.5 * costs[0][0] + 100
    assert costs[1][1] <= costs[0][1] + 5
