"""Events that withdraw others: later views do not count those, earlier ones still do."""

import numpy as np
import pytest

from embodied.errors import ConflictError, MemoryBankError
from embodied.geometry import Pose
from embodied.memory import (
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    Event,
    EventFilter,
    Forgotten,
    Interaction,
    LeaseGranted,
    Observed,
    Order,
    PlaceDefined,
    Query,
    RelationEnded,
    RelationSet,
    RetentionConfig,
    RobotRegistered,
    RobotReported,
    SimulatedClock,
    SkillEnded,
    SkillSpec,
    Withdrawn,
    open_bank,
    open_read_only,
    retain,
)
from embodied.memory.queries import log_view
from tests.memory.writers import contents_of, end, furnished, x_of

MUGS = ("left_mug", "right_mug")


@pytest.fixture
def bank(factory):
    """Its tables follow from the log, however they came."""
    with furnished(factory) as made:
        yield made
        before = contents_of(made)
        made.rebuild()
        assert contents_of(made) == before
        assert made.verify().problems == ()


def back(factory, *seqs, time_s=0.0, writer="site/desk", reason="wrong"):
    return factory.event(Withdrawn(seqs, reason), time_s, writer)


def held(bank, name, **asked):
    found = bank.where_is(name, **asked)
    return found.predicate, found.parent, found.version


def test_a_wrong_merge_is_withdrawn_and_both_are_where_they_were_seen(bank, factory):
    bank.append([factory.seen(name, 5.0 * at, 1.0) for at, name in enumerate(MUGS)])
    (merged,) = bank.append(factory.event(EntityMerged(*MUGS), 2.0))
    bank.append([factory.seen(name, 5.0 * at, 3.0) for at, name in enumerate(MUGS)])
    before = bank.snapshot()
    bank.append(back(factory, merged), as_site=True)
    assert [x_of(bank, name) for name in MUGS] == [0.0, 5.0]
    assert [x_of(bank, name, as_of_s=2.5) for name in MUGS] == [0.0, 5.0]
    assert [x_of(before, name) for name in MUGS] == [5.0, 5.0]
    assert [x_of(bank.snapshot(before.head), name, as_of_s=3.0) for name in MUGS] == [5.0, 5.0]
    bank.append(factory.event(EntityMerged(*MUGS), 4.0))
    assert [x_of(bank, name) for name in MUGS] == [5.0, 5.0]


def test_a_sighting_of_a_wrong_clock_hides_the_later_ones_only_until_it_is_withdrawn(factory):
    with open_bank(":memory:", half_life_s={"": 86400.0}, clock=SimulatedClock(1.79e9 + 1, ahead_s=1e19)) as bank:
        bank.append(factory.seen("cup", 1.0, 1.79e9))
        wrong = bank.append([factory.seen(name, 9.0, 1.79e18, "bad") for name in ("dust", "cup")])
        bank.append(factory.seen("cup", 2.0, 1.79e9 + 1))
        before = bank.snapshot()
        bank.append(back(factory, *wrong, time_s=1.79e18, writer="bad"), as_site=True)
        assert (x_of(bank, "cup"), bank.where_is("cup").existence > 0.9) == (2.0, True)
        assert (bank.latest_s(), before.latest_s()) == (1.79e9 + 1, 1.79e18)
        assert (x_of(before, "cup"), bank.where_is("dust")) == (9.0, None)
        assert bank.verify().problems == ()


def test_withdrawn_events_stay_in_the_log_and_say_what_withdrew_them(bank, factory):
    (seq,) = bank.append(factory.event(Observed("frame-1", entities=("cup",)), 1.0, robot="panda"))
    (by,) = bank.append(back(factory, seq, writer="panda/desk"))
    assert [event.seq for event in bank.history("cup")] == [by, seq]
    assert [event.seq for event in bank.changes_since(seq - 1)] == [seq, by]
    assert (bank.withdrawn_by(seq).seq, bank.withdrawn_by(by), bank.snapshot(seq).withdrawn_by(seq)) == (by, None, None)


def test_a_look_that_found_nothing_and_an_interaction_are_withdrawn(bank, factory):
    times = (1.0, 1.0, 1.0, 1.0)
    bank.append([factory.seen("cup", 1.0, 1.0), factory.event(Interaction("press", "cup", *times), 1.0, robot="panda")])
    second = Interaction("pick_place", "cup", *times)
    wrong = bank.append([factory.event(AbsenceSeen("cup", 1.0, 0.5), 2.0), factory.event(second, 2.0, robot="panda")])
    before = bank.snapshot()
    bank.append(back(factory, *wrong), as_site=True)
    for view, existence, last in ((before, 0.5, "pick_place"), (bank, 1.0, "press")):
        assert view.where_is("cup").existence == existence
        for asked in ({}, {"entity": "cup"}, {"robot": "panda"}):
            assert view.nth_interaction(-1, **asked).payload.action == last
        assert (view.nth_interaction(1, action="pick_place") is None) == (view is bank)


def test_a_withdrawn_relation_leaves_the_parent_before_it_with_its_version(bank, factory):
    bank.append(factory.put("cup", "in", "box", 0, time_s=1.0))
    (wrong,) = bank.append(factory.put("cup", "on", "tray", 1, time_s=2.0))
    before = bank.snapshot()
    bank.append(back(factory, wrong), as_site=True)
    assert (held(bank, "cup"), bank.contents("box"), bank.contents("tray")) == (("in", "box", 1), ["cup"], [])
    assert (held(before, "cup"), before.contents("box"), before.contents("tray")) == (("on", "tray", 2), [], ["cup"])
    with pytest.raises(ConflictError, match="version is 1"):
        bank.append(factory.put("cup", "in", "bag", 2, time_s=3.0, writer="late"))
    bank.append(factory.put("cup", "in", "bag", 1, time_s=3.0))
    assert held(bank, "cup") == ("in", "bag", 3)  # Version 2 was another one.


def test_a_thing_whose_every_parent_was_withdrawn_is_as_if_it_never_had_one(bank, factory):
    (wrong,) = bank.append(factory.put("cup", "in", "box", 0, time_s=9.0))
    bank.append(back(factory, wrong), as_site=True)
    assert (bank.where_is("cup"), bank.contents("box")) == (None, [])
    bank.append(factory.put("cup", "in", "bag", 0, time_s=1.0, writer="eye"))
    assert (held(bank, "cup"), held(bank, "cup", as_of_s=1.0)) == (("in", "bag", 2), ("in", "bag", 2))


def test_an_end_of_what_does_not_hold_any_more_has_no_effect_until_it_holds_again(bank, factory):
    bank.append([factory.put("cup", "in", "box", 0, time_s=1.0), factory.put("cup", "in", "bag", 1, time_s=2.0)])
    tray, box, _ = bank.append(
        [
            factory.put("cup", "on", "tray", 2, time_s=3.0),
            factory.put("cup", "in", "bag", 3, time_s=4.0),
            end(factory, "cup", "in", "bag", 5.0),
        ]
    )
    bank.append(back(factory, box), as_site=True)
    assert held(bank, "cup") == ("on", "tray", 3)
    bank.append(back(factory, tray), as_site=True)
    assert held(bank, "cup")[:2] == ("", "")


def test_what_was_logged_under_a_wrongly_merged_name_is_its_own_again(bank, factory):
    bank.append([factory.seen("box", 1.0, 1.0), factory.put("pen", "in", "mug", 0, time_s=1.0)])
    (merged,) = bank.append(factory.event(EntityMerged("mug", "cup"), 2.0))
    bank.append([factory.put("mug", "in", "box", 0, time_s=3.0), factory.put("lid", "on", "mug", 0, time_s=3.0)])
    before = bank.snapshot()
    bank.append(back(factory, merged), as_site=True)
    assert (held(before, "cup")[:2], before.contents("cup")) == (("in", "box"), ["lid", "pen"])
    assert (held(bank, "mug")[:2], bank.contents("mug"), bank.where_is("cup")) == (("in", "box"), ["lid", "pen"], None)


def test_a_withdrawal_after_which_a_thing_would_be_inside_itself_is_refused(bank, factory):
    bank.append(factory.put("cup", "in", "box", 0, time_s=1.0))
    (ended,) = bank.append(end(factory, "cup", "in", "box", 2.0))
    bank.append(factory.put("box", "in", "cup", 0, time_s=3.0))
    before = contents_of(bank)
    with pytest.raises(MemoryBankError, match="inside itself"):
        bank.append(back(factory, ended), as_site=True)
    assert contents_of(bank) == before


@pytest.mark.parametrize(
    ("seqs", "writer", "match"),
    [
        ((), "site/desk", "one event or several"),
        ((4, 4), "site/desk", "each once"),
        ((99,), "site/desk", "earlier event"),
        ((3,), "site/desk", "claim about the world"),
        ((4,), "kuka", "own writer"),
        ((4,), "site", "own writer"),
        ((4,), "sites", "own writer"),
        ((5,), "site/desk", "only once"),
        ((6,), "site/desk", "claim about the world"),
    ],
)
def test_what_may_not_be_withdrawn_is_refused_with_the_rule(bank, factory, seqs, writer, match):
    lease = factory.event(LeaseGranted("tidy", 1, 9.0), 0.0, "site/leases", robot="panda")
    bank.append([lease, factory.seen("cup"), factory.seen("cup")], as_site=True)
    bank.append(back(factory, 5, writer="panda/late"))
    with pytest.raises(MemoryBankError, match=match):
        bank.append(back(factory, *seqs, writer=writer), as_site=True)


def test_an_event_that_retention_removed_cannot_be_withdrawn(bank, factory):
    (seq,) = bank.append(factory.seen("cup"))
    bank.append(factory.event(Forgotten("test", ((seq, seq),), 1), writer="clerk"), as_site=True)
    with pytest.raises(MemoryBankError, match="still be in the log"):
        bank.append(back(factory, seq), as_site=True)


def test_a_state_of_a_robot_and_other_relations_are_withdrawn(bank, factory):
    bank.append([factory.event(RelationSet("a", "near", "b")), factory.seen("cup"), factory.state("panda", 1.0, 1.0)])
    seqs = bank.append([factory.state("panda", 9.0, 2.0), factory.event(RelationSet("cup", "may_be", "mug"), 2.0)])
    ended = bank.append(factory.event(RelationEnded("a", "near", "b"), 3.0))
    before = bank.snapshot()
    bank.append(back(factory, *seqs, *ended), as_site=True)
    assert (x_of(bank, "panda"), x_of(before, "panda")) == (1.0, 9.0)
    assert (bank.where_is("cup").candidates, before.where_is("cup").candidates) == ((), ("mug",))
    assert (bank.related("a"), before.related("a")) == ([("a", "near", "b")], [])


def test_a_file_that_is_only_read_gives_the_same_answers(tmp_path, factory):
    url = f"sqlite:///{tmp_path / 'run.db'}"
    with open_bank(url) as bank:
        seqs = bank.append([factory.seen("cup", 1.0, 1.0), factory.seen("cup", 2.0, 2.0)])
        bank.append(back(factory, seqs[1]), as_site=True)
        with open_read_only(url) as other:
            assert [x_of(view, "cup") for view in (bank, other)] == [1.0, 1.0]
        bank.write_snapshot()
        bank.rebuild()
        assert x_of(bank, "cup") == 1.0
        assert bank.verify().problems == ()


def test_many_withdrawn_sightings_cost_a_later_question_nothing(factory):
    with open_bank(":memory:") as bank:
        bank.append(factory.seen("cup", 1.0, 0.0))
        seqs = bank.append([factory.seen("cup", 2.0, 5.0) for _ in range(3000)])
        for start in range(0, len(seqs), 1000):
            bank.append(back(factory, *seqs[start : start + 1000]), as_site=True)
        steps = []
        bank._log.tables.db.set_progress_handler(lambda: steps.append(1), 100)
        assert x_of(bank, "cup") == 1.0
        assert len(steps) < 30


def test_a_withdrawn_moment_is_recalled_by_earlier_snapshots_alone(factory):
    with open_bank(":memory:") as bank:
        seqs = bank.append([factory.moment(time_s=float(at), axis=at % 4) for at in range(8)])
        before = bank.snapshot()
        assert len(bank.recall(Query())) == 8
        bank.append(back(factory, seqs[3], seqs[7]), as_site=True)
        left = [seq for seq in seqs if seq not in (seqs[3], seqs[7])]
        alike = Query(embedding=np.eye(4, dtype=np.float32)[3], model_id="m")
        for _ in range(2):
            assert [one.seq for one in bank.recall(Query(order=Order.OLDEST))] == left
            assert [one.seq for one in before.recall(Query(order=Order.OLDEST))] == seqs
            assert ({one.seq for one in before.recall(alike)}, before.recall(alike)[0].seq) == ({*seqs}, seqs[3])
            assert bank.recall(alike)[0].seq in left
            bank.rebuild()


def test_a_wrong_definition_of_a_place_is_withdrawn(bank, factory):
    wide = tuple((3.5 * x, 3.5 * y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1)))
    bank.append(factory.seen("cup", 3.0))
    wrong = bank.append(factory.event(PlaceDefined("kitchen", "region", "home", wide), 1.0, "map"))
    attic = bank.append(factory.event(PlaceDefined("attic", "floor", "home"), 1.0, "map"))
    before = bank.snapshot()
    bank.append(back(factory, *wrong, *attic), as_site=True)
    assert [view.where_is("cup").place for view in (before, bank)] == ["kitchen", "home"]
    assert [[one.name for one in view.places()] for view in (before, bank)] == [
        ["home", "kitchen", "attic"],
        ["home", "kitchen"],
    ]
    bank.append(factory.event(PlaceDefined("attic", "region", "home", wide), 2.0, "map"))


def test_a_place_that_others_are_part_of_is_withdrawn_with_them(bank, factory):
    with pytest.raises(MemoryBankError, match="definitions of kitchen"):
        bank.append(back(factory, 1), as_site=True)
    bank.append(back(factory, 1, 2, writer="site/map"), as_site=True)
    assert bank.places() == []


def test_a_history_and_a_subscription_about_a_thing_have_the_withdrawals_of_its_events(bank, factory, monkeypatch):
    seqs = bank.append([factory.seen("cup", 1.0, 1.0), factory.seen("mug", 1.0, 1.0), factory.seen("cup", 1.0, 2.0)])
    (by,) = bank.append(back(factory, seqs[2], time_s=3.0), as_site=True)
    for read_through in (1000, 0):
        monkeypatch.setattr(log_view, "READ_THROUGH", read_through)
        for name, expected in (("cup", [seqs[0], seqs[2], by]), ("mug", [seqs[1]])):
            assert [event.seq for event in bank.history(name)] == expected
            wanted = EventFilter(entities=(name,))
            assert [event.seq for event in bank.changes_since(0, wanted=wanted)] == expected
    assert [event.seq for event in bank.history("cup", kinds=("withdrawn",), limit=-1)] == [by]
    assert [event.seq for event in bank.history("cup", kinds=("entity_seen",))] == [seqs[0], seqs[2]]


def test_retention_keeps_what_counts_and_no_removal_lets_a_withdrawn_event_count_again(bank, factory):
    """The cup stood still, apart from the first sighting, which was wrong."""
    bank.append(factory.seen("cup", 1.0, 0.0))
    bank.append(back(factory, 3), as_site=True)
    bank.append([factory.seen("cup", 1.0, float(at)) for at in range(1, 9)])
    (late,) = bank.append(factory.seen("cup", 3.0, 9.0, "eye"))
    (by,) = bank.append(back(factory, late), as_site=True)
    with pytest.raises(MemoryBankError, match="must stay as long"):
        bank.append(factory.event(Forgotten("test", ((by, by),), 1), writer="clerk"), as_site=True)
    still = RetentionConfig(fresh_s=0.0)
    assert retain(bank, still).forgotten == {"sightings that say the same": 6}
    answers = [bank.where_is("cup", as_of_s=float(at)) for at in (0, 1, 9)]
    assert (answers[0], answers[1].since_s, answers[2].since_s) == (None, 1.0, 8.0)
    bank.append(factory.event(Forgotten("test", ((3, 3), (late, late)), 2), writer="clerk"), as_site=True)
    assert retain(bank, still).forgotten == {"withdrawals of events that are gone": 2}
    assert bank.withdrawn() == {}
    assert [bank.where_is("cup", as_of_s=float(at)) for at in (0, 1, 9)] == answers


def test_a_withdrawn_run_of_a_skill_is_no_experience(factory):
    """At each snapshot and time the estimates are those of a bank in which the withdrawn runs never were."""
    wins = (True, False, True, True, False, False, True)
    gone = ((3,), (6, 4), (9,))  # Of the numbers 3 to 9.

    def estimates(view, **asked):
        found = [view.skill_candidates("pick", (0.0, 0.0, 0.0), context=context, **asked) for context in ("", "cup")]
        return [(one.success, one.estimate) for (one,) in found]

    def begun(bank):
        bank.append(event("ann", 1, RobotRegistered("ann", "arm", skills=(SkillSpec("pick"),)), 0.0))
        bank.append(event("ann", 2, RobotReported(Pose()), 0.0))

    def run(number):
        ended = SkillEnded("pick", wins[number - 3], "cup" if number % 2 else "box")
        return Event(f"ann/{number}", 1, float(number if number != 5 else 9), ended, robot="ann")

    with open_bank(":memory:") as bank:
        begun(bank)
        bank.append([run(number) for number in range(3, 10)])
        answers, left = {}, set(range(3, 10))
        for at, seqs in enumerate(((), *gone)):
            if seqs:
                bank.append(Event("ann/desk", at, 0.0, Withdrawn(seqs), robot="ann"))
                left -= {*seqs}
            with open_bank(":memory:") as other:
                begun(other)
                other.append([run(number) for number in sorted(left)])
                for as_of_s in (3.0, 6.0, 9.0):
                    assert estimates(bank, as_of_s=as_of_s) == estimates(other, as_of_s=as_of_s)
            answers[bank.head] = [estimates(bank, as_of_s=as_of_s) for as_of_s in (3.0, 6.0, 9.0)]
            for seq, answer in answers.items():
                assert [estimates(bank.snapshot(seq), as_of_s=as_of_s) for as_of_s in (3.0, 6.0, 9.0)] == answer
        assert bank.verify().problems == ()


def event(writer, number, payload, time_s=0.0):
    return Event(writer, number, time_s, payload, robot=writer)


def test_a_robot_withdraws_its_own_state_alone():
    with open_bank(":memory:") as bank:
        (seq,) = bank.append(event("ann", 1, RobotReported(Pose())))
        with pytest.raises(MemoryBankError, match="own writer"):
            bank.append(event("bob", 1, Withdrawn((seq,))))
        bank.append(event("ann", 2, Withdrawn((seq,))))
        assert bank.where_is("ann") is None


def test_half_a_sighting_of_a_relation_of_a_run_is_taken_out(bank, factory):
    """The same parent logged thrice is one interval, from the first that counts."""
    first, second, _ = bank.append([factory.put("cup", "in", "box", at, time_s=1.0 + at) for at in range(3)])
    bank.append(back(factory, first), as_site=True)
    assert [bank.where_is("cup", as_of_s=time_s) is None for time_s in (1.5, 2.5, 3.5)] == [True, False, False]
    bank.append(back(factory, second), as_site=True)
    assert [bank.where_is("cup", as_of_s=time_s) is None for time_s in (1.5, 2.5, 3.5)] == [True, True, False]


def test_a_sighting_of_an_unknown_kind_of_thing_can_be_given_again(bank, factory):
    (wrong,) = bank.append(factory.event(EntitySeen("cup", "bowl", Pose((3.0, 0.0, 0.0))), 5.0))
    bank.append([back(factory, wrong), factory.seen("cup", 1.0, 4.0, "eye")], as_site=True)
    assert x_of(bank, "cup") == 1.0
