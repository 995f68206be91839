"""The log: what is acknowledged, appended twice, refused, or written by another client."""

import os
import subprocess
import sys

import numpy as np
import pytest

from embodied.errors import ConflictError, MemoryBankError
from embodied.geometry import Pose, quaternion_from_yaw
from embodied.memory import (
    KINDS,
    EntitySeen,
    EpisodeBegun,
    EventFilter,
    Forgotten,
    Observed,
    PlaceDefined,
    SimulatedClock,
    SkillSpec,
    indexed_names,
    open_bank,
)
from embodied.memory.queries import log_view
from embodied.memory.schema import kinds
from embodied.memory.storage import log
from embodied.memory.storage.row_codec import chained_digest, decode_payload, encode_payload, row_with_names
from tests.memory.writers import EventFactory, contents_of, unit


@pytest.fixture
def bank():
    with open_bank(":memory:", clock=SimulatedClock(1234.5678)) as made:
        yield made


def test_an_event_comes_back_as_it_was_logged_with_its_place_and_time(bank, factory):
    first = factory.seen("block", 1.0, 2.0)
    logged = factory.event(
        EntitySeen("cup", "mug", Pose((0.1, -0.2, 0.3), quaternion_from_yaw(0.7)), tuple([0.0] * 36), (0.1, 0.1, 0.2),
                   ("red",), 0.25, 3, "frames/7.png"),
        2.5, "panda", robot="panda", task="tidy", cause=(1,),
    )  # fmt: skip
    assert bank.append([first, logged]) == [1, 2]
    event = bank.event(2)
    assert event.payload == logged.payload
    assert (event.writer, event.robot, event.task, event.cause) == ("panda", "panda", "tidy", (1,))
    assert (event.seq, event.valid_time_s, event.received_time_s) == (2, 2.5, 1234.568)
    assert bank.event(3) is None


def test_whole_numbers_are_read_back_as_the_floats_they_stand_for(bank, factory):
    bank.append(factory.event(EntitySeen("a", "b", Pose((1, 2, 3), (0, 0, 0, 1)), confidence=1), 4))
    event = bank.event(1)
    assert type(event.valid_time_s) is float
    assert type(event.payload.confidence) is float
    assert bank.append(EventFactory().event(EntitySeen("a", "b", Pose((1.0, 2.0, 3.0)), confidence=1.0), 4.0)) == [1]


@pytest.mark.parametrize("kind", [kind.payload for kind in KINDS.values()], ids=KINDS)
def test_a_row_needs_no_names_of_fields_and_loses_nothing(kind):
    examples = {str: "x", float: 0.5, int: 3, bool: False, bytes: unit(4), Pose: Pose((1.0, 0.0, -2.0))}
    examples[Pose | None] = Pose((0.0, 1.0, 0.0))
    others = {
        "skills": (SkillSpec("pick"),), "ranges": ((1, 2), (4, 5)), "size_m": (1.0, 2.0, 3.0), "parent": "p",
        "position_m": (1.0, 2.0, 3.0), "expected_version": 4, "kept": (2,), "step": 5, "before_s": 0.5,
    }  # fmt: skip
    fields = {}
    for field in kind.__struct_fields__:
        annotation = kind.__annotations__[field]
        fields[field] = others.get(field, examples.get(annotation, ()))
    made = kind(**fields)
    _, body, bulk = encode_payload(made)
    assert decode_payload(kind.__struct_config__.tag, body, bulk) == made
    assert not any(field.encode() in body for field in kind.__struct_fields__ if len(field) > 3)


def test_what_is_acknowledged_has_reached_the_disk(tmp_path):
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        (synchronous,) = bank._log.tables.select_one("PRAGMA synchronous")
        assert synchronous >= 2, "FULL: a commit waits for the disk"


def test_the_digest_of_a_row_depends_on_the_row_before_it():
    row = row_with_names((*range(12), b""), str)
    assert chained_digest(bytes(8), row) != chained_digest(bytes(7) + b"1", row)


def test_an_event_sent_again_keeps_its_number_and_changes_nothing(bank, factory):
    events = [factory.seen("block", x, x) for x in (1.0, 2.0, 3.0)]
    assert bank.append(events) == [1, 2, 3]
    before = contents_of(bank)
    assert bank.append([events[1], events[0]]) == [2, 1]
    assert contents_of(bank) == before
    assert bank.append([events[2], factory.seen("cup", 4.0, 4.0)]) == [3, 4]


def test_a_number_used_for_another_event_is_refused(bank, factory):
    bank.append(factory.seen("block", 1.0, 1.0))
    for other in (EventFactory().seen("block", 2.0, 1.0), EventFactory().seen("block", 1.0, 2.0)):
        with pytest.raises(MemoryBankError, match="number twice"):
            bank.append(other)
    assert bank.head == 1


def test_each_batch_holds_wholly_or_not_at_all_whatever_becomes_of_the_others(bank):
    left, right = EventFactory(), EventFactory()
    good = [left.put("block", "in", "box", 0, writer="left"), left.seen("block", 1.0, 1.0, "left")]
    stale = [right.seen("ghost", 1.0, 0.0, "right"), right.put("block", "in", "bag", 0, writer="right")]
    late = [left.seen("block", 2.0, 2.0, "left")]
    first, second, third = bank.append_batches([good, stale, late])
    assert (first, third) == ([1, 2], [3])
    assert isinstance(second, ConflictError)
    assert bank.where_is("ghost") is None
    assert bank.where_is("block").parent == "box"
    assert bank.append(EventFactory().seen("new", 1.0, 0.0, "right")) == [4], "the refused numbers are free again"
    assert bank.verify().problems == ()


def test_a_number_is_the_newest_only_once_its_event_is_durable(factory):
    seen = []

    class Watching(SimulatedClock):
        def time_s(self):
            seen.append(bank.head)
            return super().time_s()

    with open_bank(":memory:", clock=Watching()) as bank:
        bank.append(factory.seen("block"))
        bank.append([factory.seen("block"), factory.seen("block")])
        assert (seen, bank.head) == ([0, 1, 1], 3)


def test_writers_go_on_where_they_were_after_the_bank_was_closed(tmp_path, factory):
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        bank.append([factory.seen("block", 1.0, 1.0), factory.seen("block", 2.0, 2.0)])
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        assert bank.head == 2
        assert bank.last_of_writer("panda") == (2, 2.0)
        assert bank.last_of_writer("nobody") == (0, -float("inf"))
        with pytest.raises(MemoryBankError, match="backwards"):
            bank.append(factory.seen("block", 3.0, 1.5))
        assert bank.where_is("block").pose.position_m == (2.0, 0.0, 0.0)
    bank.close()


def test_a_second_opener_learns_who_owns_the_file(tmp_path):
    url = f"sqlite:///{tmp_path}/bank.db"
    script = f"from embodied.memory.service.bank import open_bank\nopen_bank({url!r})"
    with open_bank(url) as bank:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert f"Process {os.getpid()} has it open" in done.stderr
        with pytest.raises(MemoryBankError, match="owns"):
            open_bank(url)
        bank.append(EventFactory().seen("block"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_changes_since_come_in_order_and_through_the_filter(bank, factory):
    for i in range(5):
        bank.append([factory.seen(f"block_{i % 2}", float(i), float(i)), factory.state("kuka", float(i), float(i))])
    assert [event.seq for event in bank.changes_since(7)] == [8, 9, 10]
    assert [event.seq for event in bank.changes_since(0, limit=2)] == [1, 2]
    assert [event.seq for event in bank.changes_since(0, wanted=EventFilter(kinds=("robot_state",)))] == [
        2,
        4,
        6,
        8,
        10,
    ]
    assert [event.seq for event in bank.changes_since(0, wanted=EventFilter(entities=("block_1",)))] == [3, 7]
    assert [event.seq for event in bank.changes_since(4, wanted=EventFilter(robot="kuka"))] == [6, 8, 10]
    assert bank.changes_since(0, wanted=EventFilter(robot="nobody")) == []


def test_a_subscription_hands_out_each_wanted_event_once(bank, factory):
    bank.append(factory.seen("old"))
    subscription = bank.subscribe(EventFilter(kinds=("entity_seen",)))
    assert subscription.poll() == []
    bank.append([*(factory.seen(f"new_{i}") for i in range(3)), factory.state("kuka")])
    assert [event.payload.entity for event in subscription.poll(limit=2)] == ["new_0", "new_1"]
    assert [event.payload.entity for event in subscription.poll()] == ["new_2"]
    assert subscription.poll() == []


def test_a_snapshot_answers_the_same_however_much_is_written_later(bank, factory):
    bank.append([factory.seen("block", 1.0, 1.0), factory.put("block", "in", "box", 0, time_s=1.0)])
    held = bank.snapshot()
    before = (held.where_is("block"), held.contents("box"), held.history("block"), held.changes_since(0))
    bank.append([factory.put("block", "in", "bag", 1, time_s=2.0), factory.seen("block", 5.0, 3.0)])
    bank.append(factory.seen("block", 4.0, 0.5, "late"))
    assert (held.where_is("block"), held.contents("box"), held.history("block"), held.changes_since(0)) == before
    assert held.event(3) is None
    assert bank.contents("box") == []
    assert bank.where_is("block") != before[0]


def test_forgotten_events_leave_their_numbers_and_a_sound_chain(tmp_path, factory):
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        events = [factory.seen("block", float(i), float(i)) for i in range(10)]
        bank.append(events)
        clerk = EventFactory()
        bank.append(clerk.event(Forgotten("old", ((2, 4), (6, 9)), 6, (8,)), 9.0, "clerk"), as_site=True)
        assert [event.seq for event in bank.changes_since(0)] == [1, 5, 8, 10, 11]
        assert [event.seq for event in bank.history("block")] == [1, 5, 8, 10]
        bank.append(clerk.event(Forgotten("old", ((5, 5), (8, 10)), 4), 9.0, "clerk"), as_site=True)
        assert bank.where_is("block").seq == 1
        assert bank.append([events[9], events[0]]) == [0, 1], "a forgotten event appended again is known, and stays so"
        assert bank.last_of_writer("panda") == (10, 9.0)
        assert bank.verify().problems == ()
        bank.rebuild()
        assert [event.seq for event in bank.history("block")] == [1]
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        assert bank.head == 12
        with pytest.raises(MemoryBankError, match="backwards"):
            bank.append(factory.seen("block", 1.0, 8.0))
        assert bank._log.tables.select("SELECT first_seq, last_seq FROM gap") == [(2, 10)]


def test_why_follows_the_causes_to_their_beginnings(bank, factory):
    bank.append([factory.seen("a"), factory.seen("b")])
    bank.append(factory.event(Observed("f"), cause=(1,), robot="panda"))
    bank.append(factory.event(Observed("g"), cause=(3, 2), robot="panda"))
    bank.append(factory.seen("c"))
    assert [event.seq for event in bank.why(4)] == [1, 2, 3, 4]
    assert bank.why(99) == []


def test_similar_episodes_come_best_first(bank, factory):
    for name, axis in (("wash", 0), ("dry", 1), ("wash again", 0)):
        bank.append(factory.event(EpisodeBegun(name, name, "m", unit(4, axis))))
    asked = np.array([0.8, 0.6, 0.0, 0.0])
    found = bank.similar_episodes(asked, "m", top_k=2)
    assert [name for name, _ in found] == ["wash", "wash again"]
    assert found[0][1] == pytest.approx(0.8)
    assert bank.similar_episodes(asked, "other") == []
    with pytest.raises(MemoryBankError, match="size"):
        bank.similar_episodes(np.array([1.0, 0.0, 0.0]), "m")


def logged_in_all_kinds(factory):
    """Yields three rounds of every kind of event, so that each is both near the beginning and far from it."""
    yield factory.event(PlaceDefined("home", "site"))
    for number in range(3):
        name, task = str(number), f"t{number}"
        gone = 1 + 22 * number + (12 if number else 13)  # The interaction, or the tool that was called.
        yield from (
            factory.seen(f"cup{name}"), factory.state("panda"), factory.moment(entities=(f"cup{name}",)),
            factory.event(kinds.AbsenceSeen(f"cup{name}", 0.9)), factory.event(kinds.Observed(name)),
            factory.event(PlaceDefined(f"room{name}", "floor", "home"), task=task),
            factory.put(f"cup{name}", "in", "home"),
            factory.event(kinds.RelationEnded(f"cup{name}", "in", "home")),
            factory.event(kinds.EntityMerged(f"mug{name}", f"cup{name}")),
            factory.event(kinds.RobotRegistered("panda", "panda"), robot="panda"),
            factory.event(kinds.SkillEnded("pick", success=True), robot="panda", task=task),
            factory.event(kinds.Interaction("press", f"cup{name}", 0.0, 0.0, 0.0, 0.0), robot="panda", task=task),
            factory.event(kinds.ToolCalled("t"), robot="panda"), factory.event(kinds.SubtaskEnded(name, "done")),
            factory.event(EpisodeBegun(name, "tidy")), factory.event(kinds.EpisodeEnded(name, "success")),
            factory.event(kinds.LeaseGranted(f"wash{name}", 1, 9.0), robot="panda"),
            factory.event(kinds.Watermark(0.0), writer="site/past"),
            factory.event(kinds.Forgotten("old", ((gone, gone),), 1), writer="retention"),
            factory.event(kinds.Withdrawn((2 + 22 * number,))),
            factory.event(kinds.Reopened(), writer="site/past"), factory.event(kinds.MapPlaced(f"map{name}", Pose())),
        )  # fmt: skip


@pytest.mark.parametrize("read_through", [0, 1, 7, 1000])
def test_rare_kinds_are_looked_up_and_the_answer_is_that_of_reading_the_whole_log(
    bank, factory, monkeypatch, read_through
):
    monkeypatch.setattr(log_view, "READ_THROUGH", read_through)
    monkeypatch.setattr(log, "CHUNK", 2)
    bank.append(list(logged_in_all_kinds(factory)), as_site=True)
    assert {event.kind for event in bank.changes_since(0)} == set(KINDS)
    everything = bank.changes_since(0)
    about = {event.seq: set(indexed_names(event)) for event in everything}
    for event in everything:  # A withdrawal is about what the events are about that it names.
        about[event.seq].update(*(about[seq] for seq in getattr(event.payload, "seqs", ())))
    asked = [(kind,) for kind in KINDS] + [("interaction", "skill_ended", "forgotten"), ("interaction", "entity_seen")]
    for wanted in asked:
        for robot, task, entities in (("", "", ()), ("panda", "", ()), ("", "t1", ()), ("", "", ("cup2",))):
            found = bank.changes_since(3, wanted=EventFilter(wanted, robot, task, entities), limit=100)
            assert found == [
                event for event in everything
                if event.seq > 3 and event.kind in wanted and robot in ("", event.robot) and task in ("", event.task)
                and (not entities or set(entities) & about[event.seq])
            ]  # fmt: skip
        all_of_them = bank.changes_since(0, wanted=EventFilter(wanted))
        assert bank.changes_since(0, wanted=EventFilter(wanted), limit=2) == all_of_them[:2]
        assert bank.snapshot(30).changes_since(0, wanted=EventFilter(wanted)) == [e for e in all_of_them if e.seq <= 30]
