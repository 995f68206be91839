"""Merged entities: their parents, contents and locations."""

import pytest

from embodied.errors import ConflictError
from embodied.memory import AbsenceSeen, EntityMerged, RelationSet
from tests.memory.writers import contents_of, end, furnished, hand, x_of

BOX_M = (0.4, 0.4, 0.4)


@pytest.fixture
def bank(factory):
    """Its tables follow from the log, however they came."""
    with furnished(factory) as made:
        yield made
        before = contents_of(made)
        made.rebuild()
        assert contents_of(made) == before
        assert made.verify().problems == ()


def merge(factory, entity, into, time_s, writer="panda"):
    return factory.event(EntityMerged(entity, into), time_s, writer)


def held(bank, name, **asked):
    found = bank.where_is(name, **asked)
    return found.predicate, found.parent, found.version


def test_the_holder_of_a_thing_becomes_the_holder_of_what_it_is_merged_into(bank, factory):
    bank.append([factory.seen("box", 1.0, 1.0), factory.put("mug", "in", "box", 0, time_s=2.0)])
    before = bank.snapshot()
    bank.append([merge(factory, "mug", "cup", 5.0), factory.seen("box", 1.5, 6.0)])
    assert held(bank, "cup") == held(bank, "mug") == ("in", "box", 1)
    assert (bank.contents("box"), x_of(bank, "cup")) == (["cup"], 1.5)
    assert (bank.contents("box", as_of_s=4.9), bank.where_is("cup", as_of_s=4.9)) == (["mug"], None)
    assert (before.contents("box"), before.where_is("cup")) == (["mug"], None)
    with pytest.raises(ConflictError, match="version is 1"):
        bank.append(factory.put("cup", "in", "bag", 0, time_s=7.0, writer="late"))
    bank.append(end(factory, "mug", "in", "box", 7.0))
    assert (held(bank, "cup"), bank.contents("box")) == (("", "", 2), [])


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ([("put", 1.0)], ("in", "box", 2)),
        ([("put", 3.0)], ("on", "tray", 1)),
        ([("put", 1.0), ("end", 3.0)], ("in", "box", 3)),
    ],
)
def test_of_two_parents_the_newer_one_counts_and_no_parent_never(bank, factory, logged, expected):
    bank.append(factory.put("mug", "in", "box", 0, time_s=2.0))
    for what, time_s in logged:
        put = factory.put("cup", "on", "tray", 0, time_s=time_s, writer="eye") if what == "put" else None
        bank.append(put or end(factory, "cup", "on", "tray", time_s))
    bank.append(merge(factory, "mug", "cup", 5.0))
    assert held(bank, "cup") == expected
    assert [bank.contents(holder) for holder in ("box", "tray")] == [
        ["cup"] * (expected[1] == holder) for holder in ("box", "tray")
    ]
    bank.append(merge(factory, "cup", "tin", 6.0))
    assert held(bank, "mug") == (*expected[:2], 1)


def test_a_thing_in_a_hand_keeps_its_place_in_it_under_its_other_name(bank, factory):
    bank.append([hand(factory, 1.0, 1.0), factory.put("mug", "held_by", "kuka", 0, time_s=1.0)])
    bank.append([factory.seen("mug", 1.1, 2.0, "eye"), hand(factory, 1.2, 3.0)])
    bank.append([merge(factory, "mug", "cup", 4.0), hand(factory, 1.5, 5.0)])
    assert (held(bank, "cup"), x_of(bank, "cup")) == (("held_by", "kuka", 1), pytest.approx(1.6))
    bank.append([end(factory, "cup", "held_by", "kuka", 6.0), hand(factory, 0.0, 7.0)])
    assert x_of(bank, "cup") == pytest.approx(1.6)


@pytest.mark.parametrize("size_m", [None, BOX_M])
def test_what_was_seen_under_one_name_after_it_was_put_somewhere_under_the_other(bank, factory, size_m):
    """It counts as seen there; but seen outside the box, it is there no more."""
    bank.append([factory.seen("box", 1.0, 1.0, size_m=size_m), factory.put("mug", "in", "box", 0, time_s=2.0)])
    bank.append([factory.seen("cup", 0.2, 4.0), merge(factory, "mug", "cup", 5.0)])
    assert (x_of(bank, "cup"), bank.where_is("cup").since_s) == (0.2, 4.0)
    assert bank.contents("box") == ([] if size_m else ["cup"])
    bank.append(factory.seen("box", 1.5, 6.0, size_m=size_m))
    assert x_of(bank, "cup") == pytest.approx(0.2 if size_m else 0.7)
    bank.append(factory.put("cup", "in", "box", 1, time_s=7.0))
    assert bank.contents("box") == ["cup"]


def test_an_older_parent_under_the_other_name_does_not_make_a_newer_sighting_forgotten(bank, factory):
    bank.append([factory.seen("tray", 1.0, 1.0), factory.put("mug", "in", "bag", 0, time_s=2.0)])
    bank.append([factory.put("cup", "on", "tray", 0, time_s=3.0), factory.seen("cup", 1.1, 4.0)])
    bank.append([factory.seen("bag", 3.0, 4.5), merge(factory, "mug", "cup", 5.0), factory.seen("tray", 1.5, 6.0)])
    assert (held(bank, "cup"), x_of(bank, "cup")) == (("on", "tray", 1), pytest.approx(1.6))


def test_what_is_in_a_thing_goes_with_it_where_that_goes_under_its_other_name(bank, factory):
    bank.append([factory.seen("box", 1.0, 1.0), factory.put("mug", "in", "box", 0, time_s=1.0)])
    bank.append([factory.put("pen", "in", "mug", 0, time_s=1.0), factory.seen("pen", 1.1, 2.0)])
    bank.append([factory.seen("box", 1.2, 3.0), merge(factory, "mug", "cup", 4.0), factory.seen("box", 1.5, 5.0)])
    assert [x_of(bank, name) for name in ("cup", "pen")] == pytest.approx([1.5, 1.6])
    assert (held(bank, "pen"), held(bank, "cup")) == (("in", "cup", 2), ("in", "box", 1))


def test_a_thing_that_is_merged_into_its_own_holder_is_in_nothing(bank, factory):
    bank.append([factory.put("lid", "on", "pot", 0, time_s=1.0), factory.put("pot", "in", "pan", 0, time_s=1.0)])
    bank.append([factory.seen("pan", 1.0, 1.0), merge(factory, "lid", "pan", 2.0)])
    assert [held(bank, name) for name in ("lid", "pot")] == [("", "", 0), ("in", "pan", 1)]
    assert (bank.contents("pot"), bank.contents("pan"), x_of(bank, "pot")) == ([], ["pot"], 1.0)


def test_late_news_that_a_thing_was_its_own_holder_puts_it_into_nothing(bank, factory):
    """The cup was logged as being in the mug from 1 to 3 s; late comes the news that from 2 s on they are one."""
    bank.append([factory.put("cup", "in", "mug", 0, time_s=1.0), factory.put("can", "in", "bag", 0, time_s=1.0)])
    bank.append([factory.seen("cup", 0.5, 1.0), end(factory, "cup", "in", "mug", 3.0)])
    bank.append(factory.put("can", "in", "box", 1, time_s=3.0))
    bank.append([merge(factory, "mug", "cup", 2.0, "late"), merge(factory, "can", "tin", 2.0, "late")])
    logged = [held(bank, "cup", as_of_s=time_s) for time_s in (1.5, 2.5, 3.5)]
    assert logged == [("in", "mug", 1), ("", "", 1), ("", "", 2)]
    for holder, contents in (("cup", []), ("mug", ["cup"]), ("bag", ["can"])):
        assert [bank.contents(holder, as_of_s=time_s) for time_s in (1.5, 2.5, 3.5)] == [contents, [], []]
    assert (bank.contents("box"), x_of(bank, "cup")) == (["tin"], 0.5)


def test_what_was_logged_under_the_other_name_is_evidence_that_the_thing_is_there(bank, factory):
    bank.append(factory.event(AbsenceSeen("mug", 1.0, 0.5), 1.0))
    bank.append(factory.event(RelationSet("mug", "in", "box", 0.9, expected_version=0), 2.0))
    bank.append(merge(factory, "mug", "cup", 3.0))
    assert bank.where_is("cup").existence == pytest.approx(0.9)
    bank.append(factory.event(AbsenceSeen("cup", 1.0, 0.5), 4.0))
    assert bank.where_is("mug").existence == pytest.approx(0.45)


def test_a_thing_that_late_news_makes_its_own_holder_is_in_no_place_either(bank, factory):
    bank.append(factory.event(RelationSet("shelf", "in", "kitchen"), 0.0))
    puts = (("shelf", 0.0), ("box", 0.0), ("shelf", 1.0))
    bank.append([factory.put("cup", "in", holder, at, time_s=time_s) for at, (holder, time_s) in enumerate(puts)])
    bank.append(merge(factory, "box", "cup", 0.0, "late"))
    assert [bank.where_is("cup", as_of_s=time_s).place for time_s in (0.0, 1.0)] == ["", "kitchen"]
