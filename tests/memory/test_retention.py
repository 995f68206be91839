"""What the bank forgets, what it answers afterwards, and that it stays small."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import ConfigError
from embodied.geometry import Pose, quaternion_from_euler
from embodied.memory import (
    AbsenceSeen,
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    EventFilter,
    Forgotten,
    Interaction,
    MomentStored,
    Observed,
    Order,
    Query,
    RelationEnded,
    RelationSet,
    RetentionConfig,
    RobotRegistered,
    RobotReported,
    SimulatedClock,
    SkillEnded,
    SkillSpec,
    ToolCalled,
    open_bank,
    retain,
)
from embodied.memory.retention.compaction import keyframes, runs_of, similar_moments
from embodied.memory.retention.retention import ALIKE, OLD, PLAIN, SAME
from tests.memory.writers import EventFactory

NOW = RetentionConfig(fresh_s=0.0)


@pytest.fixture
def bank():
    with open_bank(":memory:", clock=SimulatedClock(1e6)) as bank:
        yield bank


def stored(angle, episode="e", *, model="m", entities=()):
    vector = np.array([math.cos(angle), math.sin(angle)], "<f4")
    return MomentStored(episode, model, vector.tobytes(), (0.0, 0.0, 0.0), entities=entities)


def kept_times(bank, kind, entity=""):
    found = bank.changes_since(0, wanted=EventFilter(kinds=(kind,)), limit=10**6)
    return [event.valid_time_s for event in found if not entity or event.payload.entity == entity]


def test_of_a_thing_that_lies_still_the_first_and_the_last_sighting_stay(bank):
    factory = EventFactory()
    bank.append([factory.seen("cup", 0.001 * (time_s == 3), time_s) for time_s in range(10)])
    before = bank.where_is("cup")
    assert retain(bank, NOW).forgotten == {SAME: 8}
    assert kept_times(bank, "entity_seen") == [0.0, 9.0]
    assert bank.where_is("cup") == before
    assert bank.where_is("cup", as_of_s=5.0).pose.position_m == (0.0, 0.0, 0.0)
    (event,) = bank.changes_since(0, wanted=EventFilter(kinds=("forgotten",)))
    assert event.payload == Forgotten(SAME, ((2, 9),), 8)
    assert not bank.verify().problems
    assert retain(bank, NOW).forgotten == {}, "what is left is forgotten no more"


@pytest.mark.parametrize(
    ("say", "kept"),
    [
        (lambda t: t.seen("cup", 0.003, 4.5), [0.0, 4.0, 4.5, 5.0, 9.0]),
        (lambda t: t.event(AbsenceSeen("cup", 0.9), 4.5), [0.0, 4.0, 5.0, 9.0]),
        (lambda t: t.put("cup", "on", "table", time_s=4.5), [0.0, 4.0, 5.0, 9.0]),
        (lambda t: t.put("cup", "held_by", "panda", time_s=4.5), [0.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
        (lambda t: t.put("cup", "near", "table", time_s=4.5), [0.0, 9.0]),
    ],
    ids=["elsewhere", "absent", "put on something", "held", "near something"],
)
def test_a_change_between_two_sightings_keeps_both(bank, say, kept):
    factory = EventFactory()
    for time_s in range(10):
        if time_s == 5:
            bank.append(say(factory))
        bank.append(factory.seen("cup", 0.0, time_s))
    instants = [0.5 * step for step in range(19)]
    before = [bank.where_is("cup", as_of_s=time_s).pose for time_s in instants]
    retain(bank, NOW)
    assert kept_times(bank, "entity_seen") == kept
    assert [bank.where_is("cup", as_of_s=time_s).pose for time_s in instants] == before


def test_a_turn_a_long_gap_and_another_category_are_not_the_same(bank):
    factory = EventFactory()
    turned = Pose((0.0, 0.0, 0.0), quaternion_from_euler(0.0, 0.0, 0.05))
    poses = [Pose((0.0, 0.0, 0.0)), Pose((0.0, 0.0, 0.0)), turned, turned, turned]
    bank.append([factory.event(EntitySeen("cup", "cup", pose), float(i)) for i, pose in enumerate(poses)])
    bank.append([factory.event(EntitySeen("cup", "mug", turned), float(i)) for i in range(5, 8)])
    bank.append([factory.seen("box", time_s=time_s, writer="box") for time_s in range(0, 180, 20)])
    retain(bank, NOW)
    assert kept_times(bank, "entity_seen", "cup") == [0.0, 1.0, 2.0, 4.0, 5.0, 7.0]
    assert np.max(np.diff(kept_times(bank, "entity_seen", "box"))) == 60.0


def test_the_causes_of_causes_of_what_stays_stay_too(bank):
    factory = EventFactory()
    bank.append(factory.event(Observed("frame 1"), 0.0))
    bank.append(factory.event(Observed("frame 2"), 1.0, cause=(1,)))
    bank.append(factory.event(Observed("frame 3"), 1.0, cause=(1,)))
    bank.append(factory.event(SkillEnded("pick", success=True), 2.0, robot="panda", cause=(2,)))
    bank.append(factory.event(Observed("late"), 9.0))
    before = [event.seq for event in bank.why(4)]
    retain(bank, RetentionConfig(fresh_s=0.0, observations=0))
    assert [event.seq for event in bank.why(4)] == before == [1, 2, 4]
    assert bank.event(3) is None, "it caused nothing that stays"


def test_a_snapshot_says_how_many_of_its_events_were_removed_since(bank):
    factory = EventFactory()
    bank.append([factory.seen("cup", float(x), float(x)) for x in range(1, 11)])
    early, late = bank.snapshot(5), bank.snapshot(10)
    assert (early.removed, late.removed) == (0, 0)
    retain(bank, RetentionConfig(fresh_s=0.0, observations=1))
    assert (early.removed, late.removed) == (5, 9)
    assert late.where_is("cup").pose.position_m[0] == 10.0
    assert early.where_is("cup") is None


def test_the_fresh_the_running_and_what_caused_something_are_left_alone(bank):
    factory = EventFactory()
    bank.append(factory.event(EpisodeBegun("e", "put it back")))
    bank.append([factory.event(EntitySeen("cup", "cup", Pose((0.0, 0.0, 0.0))), t, task="e") for t in (0.0, 0.1, 0.2)])
    bank.append([factory.seen("box", time_s=float(t), writer="box") for t in range(10)])
    bank.append(factory.event(SkillEnded("pick", success=True), 9.0, robot="panda", cause=(9,)))
    assert retain(bank, RetentionConfig(fresh_s=3.0)).forgotten == {SAME: 5}
    assert kept_times(bank, "entity_seen", "box") == [0.0, 4.0, 7.0, 8.0, 9.0], "event 9 is a cause, 6 s is the limit"
    assert len(kept_times(bank, "entity_seen", "cup")) == 3
    bank.append(factory.event(EpisodeEnded("e", "success"), 9.0))
    assert retain(bank, RetentionConfig(fresh_s=3.0)).forgotten == {SAME: 1}
    assert len(kept_times(bank, "entity_seen", "cup")) == 2


def test_repeated_moments_are_merged_and_the_novel_ones_stay(bank):
    factory = EventFactory()
    angles = [0.0, 0.01, 0.02, 1.0, 0.03, 2.0, 2.5, 0.0]
    for number, angle in enumerate(angles):
        bank.append(factory.event(stored(angle), float(number), robot="panda"))
    bank.append(factory.event(stored(0.01, entities=("cup",)), 8.0, robot="panda"))
    done = retain(bank, RetentionConfig(fresh_s=0.0, keyframes=3))
    assert done.forgotten == {ALIKE: 3, PLAIN: 2}
    left = bank.recall(Query(order=Order.OLDEST))
    assert [one.moment.time_s for one in left] == [0.0, 6.0, 7.0, 8.0], "first, least like the others, last; the cup's"
    assert [one.moment.time_s for one in bank.recall(Query(entities=("cup",)))] == [8.0]


def test_beyond_the_budget_the_oldest_go_but_last_sightings_stay(bank):
    factory = EventFactory()
    bank.append([factory.seen("lost", 5.0, 0.0, writer="early")])
    bank.append(factory.event(AbsenceSeen("lost", 0.8), 0.0))
    bank.append([factory.seen("cup", float(t), float(t)) for t in range(100)])
    before = [bank.where_is(name) for name in ("lost", "cup")]
    done = retain(bank, RetentionConfig(fresh_s=0.0, observations=10))
    assert done.forgotten == {OLD: 92}
    assert [bank.where_is(name) for name in ("lost", "cup")] == before
    assert kept_times(bank, "entity_seen", "cup") == [float(t) for t in range(92, 100)]
    assert done.left == len(bank.changes_since(0, limit=1000)) == 11


def test_what_a_robot_carried_there_stays_there_though_its_old_states_go(bank):
    factory = EventFactory()
    bank.append([factory.put("cup", "held_by", "kuka", 0, time_s=0.0), factory.put("pen", "in", "box", 0, time_s=0.0)])
    for t in range(100):
        bank.append(factory.state("kuka", 0.0, float(t), tool=Pose((0.1 * t, 0.0, 0.0))))
        things = ("box", "pen") if t < 40 else ("box",)
        bank.append([factory.seen(name, 0.1 * t + 0.01, float(t), "eye") for name in things])
        if t == 50:
            bank.append(factory.event(RelationEnded("cup", "held_by", "kuka"), 50.0))
    before = [bank.where_is(name) for name in ("cup", "pen", "box", "kuka")]
    assert [there.pose.position_m[0] for there in before] == pytest.approx([5.0, 9.91, 9.91, 0.0])
    assert retain(bank, RetentionConfig(fresh_s=0.0, observations=10)).forgotten[OLD] > 200
    assert [bank.where_is(name) for name in ("cup", "pen", "box", "kuka")] == before
    assert kept_times(bank, "robot_state")[0] == 50.0, "where it let go"


def test_a_robot_whose_tool_moves_does_not_say_the_same(bank):
    factory = EventFactory()
    bank.append([factory.state("kuka", 0.0, float(t), tool=Pose((0.1 * (t // 5), 0.0, 0.0))) for t in range(10)])
    retain(bank, NOW)
    assert kept_times(bank, "robot_state") == [0.0, 4.0, 5.0, 9.0]


def test_a_budget_too_small_for_what_is_fresh_waits(bank):
    factory = EventFactory()
    bank.append([factory.seen("cup", float(t), float(t)) for t in range(100)])
    assert retain(bank, RetentionConfig(fresh_s=29.0, observations=10)).forgotten == {OLD: 71}
    assert kept_times(bank, "entity_seen") == [float(t) for t in range(71, 100)]


def a_round(factory, number):
    """What a robot says of one visit: it looks around twice a second, moves the cup, and remembers what it saw."""
    start_s, episode = 100.0 * number, f"round {number}"
    table, version = f"table {number % 3}", 2 * number
    yield factory.event(EpisodeBegun(episode, "move the cup"), start_s, task=episode)
    for step in range(60):
        time_s = start_s + 0.5 * step
        yield factory.event(RobotReported(Pose((0.0, 0.0, 0.0))), time_s, robot="panda", task=episode)
        yield factory.event(stored(0.001 * step + 0.7 * (step // 20), episode), time_s, robot="panda", task=episode)
        for thing in ("cup", "plate"):
            x = number if thing == "plate" or step < 30 else number + 1
            yield factory.event(EntitySeen(thing, thing, Pose((float(x), 0.0, 0.0))), time_s, task=episode)
    end_s = start_s + 30.0
    yield factory.event(ToolCalled("pick", json.dumps({"n": number})), end_s, robot="panda", task=episode)
    if number:
        yield factory.event(RelationEnded("cup", "on", f"table {(number - 1) % 3}", version - 1), end_s)
    yield factory.event(RelationSet("cup", "on", table, expected_version=version), end_s)
    times_s = (start_s, start_s + 10.0, start_s + 15.0, end_s)
    yield factory.event(Interaction("pick_place", "cup", *times_s, target=table), end_s, robot="panda", task=episode)
    yield factory.event(SkillEnded("pick", success=number % 4 != 0, context="cup"), end_s, robot="panda", task=episode)
    yield factory.event(EpisodeEnded(episode, "success", first_seq=1), end_s, task=episode)


def answers(bank, rounds):
    asked = [bank.where_is(name) for name in ("cup", "plate", "panda")]
    asked += [bank.nth_interaction(n, entity="cup").payload for n in (*range(1, rounds + 1), -1, -rounds)]
    asked += [bank.contents(f"table {n}") for n in range(3)]
    asked += bank.skill_candidates("pick", (0.0, 0.0, 0.0), context="cup")
    return [plain(answer) for answer in asked]


def plain(answer):
    """An answer without sequence numbers, which count what was forgotten and the forgetting itself."""
    return {name: value for name in dir(answer) if not name.startswith("_") and name != "seq"
            and not callable(value := getattr(answer, name))} or answer  # fmt: skip


def test_twenty_rounds_with_retention_stay_small_and_answer_as_if_nothing_was_forgotten(tmp_path):
    rounds, config = 20, RetentionConfig(fresh_s=0.0, observations=60)
    sizes = []
    with (
        open_bank(f"sqlite:///{tmp_path / 'lean.db'}", clock=SimulatedClock(1e6)) as lean,
        open_bank(":memory:", clock=SimulatedClock(1e6)) as full,
    ):
        factories = EventFactory(), EventFactory()
        for bank, factory in zip((lean, full), factories, strict=True):
            bank.append(factory.event(RobotRegistered("panda", "panda", (SkillSpec("pick"),)), robot="panda"))
        for number in range(rounds):
            for bank, factory in zip((lean, full), factories, strict=True):
                bank.append(list(a_round(factory, number)))
            sizes.append(retain(lean, config).left)
            assert answers(lean, number + 1) == answers(full, number + 1)
        count = len(full.changes_since(0, limit=10**6))
        assert not lean.verify().problems
        assert lean.rebuild() == 0
        assert answers(lean, rounds) == answers(full, rounds)
    assert count > 240 * rounds
    steps = np.diff(sizes[4:])
    assert steps.max() <= 12, "a round adds what was done in it, and the forgetting of the rest"
    assert sizes[-1] < 60 + 12 * rounds
    with open_bank(f"sqlite:///{tmp_path / 'lean.db'}") as again:
        assert again.where_is("cup").pose.position_m == (20.0, 0.0, 0.0)
        assert again.history(kinds=("episode_ended",))[0].payload.episode == "round 0"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["seen", "seen", "seen", "state", "reach", "gone", "take", "put", "drop"]),
            st.integers(0, 1), st.sampled_from([0.0, 0.0, 0.0, 0.001, 1.0]), st.floats(0.0, 3.0),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_whatever_was_logged_where_things_are_and_were_is_answered_as_before(payload):
    factory = EventFactory()
    with open_bank(":memory:", clock=SimulatedClock(1e6)) as bank:
        time_s = 0.0
        for what, which, x, pause_s in payload:
            time_s += round(pause_s, 1)
            thing = f"thing {which}"
            there = bank.where_is(thing)
            version = there.version if there else 0
            match what:
                case "seen":
                    bank.append(factory.seen(thing, x, time_s))
                case "state":
                    bank.append(factory.state("panda", x, time_s))
                case "reach":
                    bank.append(factory.state("panda", 0.0, time_s, tool=Pose((x, 0.0, 0.5))))
                case "drop" if there and there.predicate:
                    bank.append(factory.event(RelationEnded(thing, there.predicate, there.parent), time_s))
                case "gone":
                    bank.append(factory.event(AbsenceSeen(thing, 0.5), time_s))
                case "take":
                    bank.append(factory.put(thing, "held_by", "panda", version, time_s=time_s))
                case "put":
                    bank.append(factory.put(thing, "on", "shelf", version, time_s=time_s))
        instants = [None, *np.arange(0.0, time_s + 1.0, 0.4)]
        names = ("thing 0", "thing 1", "panda")
        before = {(name, at): bank.where_is(name, as_of_s=at) for name in names for at in instants}
        retain(bank, NOW)
        for (name, at), was in before.items():
            now = bank.where_is(name, as_of_s=at)
            if at is None or was is None:
                assert now == was
                continue
            assert (now.parent, now.predicate, now.place, now.existence) == (
                was.parent, was.predicate, was.place, was.existence,
            )  # fmt: skip
            assert (now.pose is None) == (was.pose is None)
            if was.pose is not None:
                assert math.dist(now.pose.position_m, was.pose.position_m) <= NOW.still_m


def test_a_half_life_counts_from_the_last_sighting_and_needs_no_deletion():
    factory = EventFactory()
    with open_bank(":memory:", half_life_s={"cube": 10.0}, clock=SimulatedClock(14.0)) as bank:
        bank.append([factory.seen("cup", 0.0, float(t)) for t in range(5)])
        bank.append(factory.state("panda", 0.0, 14.0))
        assert bank.where_is("cup").existence == pytest.approx(0.5)
        retain(bank, NOW)
        assert bank.where_is("cup").existence == pytest.approx(0.5)
        assert bank.where_is("cup", as_of_s=4.0).existence == 1.0


def test_the_keyframes_are_the_first_the_last_and_the_most_unlike():
    angles = np.array([0.0, 0.1, 0.2, 1.4, 1.5, 0.3])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert keyframes(rows, 3).tolist() == [0, 4, 5]
    assert keyframes(rows, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert similar_moments(rows, alike=0.99).tolist() == [False, True, False, False, True, False]
    assert similar_moments(rows, alike=0.99, among=1).tolist() == [False, True, False, False, True, False]
    assert similar_moments(rows[[0, 3, 1, 5]], alike=0.99, among=1).tolist() == [False] * 4, "too long ago"
    assert similar_moments(rows[[0, 3, 1, 5]], alike=0.99, among=2).tolist() == [False, False, True, False]
    assert runs_of([5, 1, 2, 9, 3]) == [(1, 3), (5, 5), (9, 9)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fresh_s": -1.0}, {"still_m": math.nan}, {"alike": 0.0}, {"alike": 1.1}, {"keyframes": 1},
        {"observations": -1}, {"observations": math.nan}, {"observations": 1e6}, {"keyframes": True}, {"fresh_s": "x"},
        {"gap_s": None}, {"alike": "much"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="retention"):
        RetentionConfig(**wrong).build()


@pytest.mark.parametrize("wrong", ["x", {"fresh_s": 0.0}, 0, RetentionConfig], ids=repr)
def test_what_are_no_settings_is_refused(wrong):
    with open_bank(":memory:") as bank, pytest.raises(ConfigError, match="RetentionConfig"):
        retain(bank, wrong)


def test_ages_do_not_shrink_where_all_that_is_newest_could_go():
    clock = SimulatedClock()
    with open_bank(":memory:", clock=clock) as bank:
        factory = EventFactory()
        card = RobotRegistered("arm", "panda", (SkillSpec("pick", cost_s=10.0),))
        bank.append([factory.event(card, 0.0, robot="arm"), factory.state("arm")])
        clock.advance(20.0)
        bank.append([factory.event(Observed(f"{number}"), 18.0 + number) for number in range(3)])
        clock.advance(100.0)

        def age_s():
            return bank.skill_candidates("pick", (0.0, 0.0, 0.0))[0].age_s

        assert age_s() == 100.0
        assert retain(bank, RetentionConfig(fresh_s=0.0, observations=0)).forgotten == {OLD: 2}
        assert age_s() == 100.0
