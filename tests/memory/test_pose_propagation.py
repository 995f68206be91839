"""Believed poses of things that were carried by robots or inside containers, also of unseen ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.geometry import Pose, compose, invert, quaternion_from_euler
from embodied.memory import (
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    PlaceDefined,
    RelationSet,
    RobotReported,
    SimulatedClock,
    open_bank,
)
from embodied.memory.queries.pose_propagation import FURTHEST
from tests.memory.writers import EventFactory, end, furnished, hand, x_of


@pytest.fixture
def bank(factory):
    with furnished(factory, half_life_s={"": 1000.0, "cube": math.inf}, clock=SimulatedClock(ahead_s=1e6)) as made:
        yield made


# --- In hands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ended", "put in a place", "put on something"])
def test_what_a_robot_lets_go_of_stays_where_the_carrying_ended(bank, factory, how):
    bank.append([factory.seen("cup", 0.1, 1.0), factory.put("cup", "held_by", "kuka", 0, time_s=2.0)])
    bank.append([hand(factory, 0.2, 2.5), hand(factory, 1.5, 3.0)])
    assert x_of(bank, "cup") == 1.5
    bank.append(
        {
            "ended": end(factory, "cup", "held_by", "kuka", 4.0),
            "put in a place": factory.put("cup", "in", "kitchen", 1, time_s=4.0),
            "put on something": factory.put("cup", "on", "shelf", 1, time_s=4.0),
        }[how]
    )
    bank.append(hand(factory, 0.9, 5.0))
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.place, found.since_s) == (1.5, "kitchen", 3.0)
    assert bank.event(found.seq).payload.tool.position_m[0] == 1.5, "the evidence is the state of the robot"
    assert x_of(bank, "cup", as_of_s=1.5) == 0.1
    assert x_of(bank, "cup", as_of_s=2.7) == 0.2
    assert x_of(bank, "cup", as_of_s=4.5) == 1.5
    bank.append(factory.seen("cup", 1.6, 6.0))
    assert x_of(bank, "cup") == 1.6


def test_a_thing_seen_in_the_hand_keeps_its_place_in_it(bank, factory):
    bank.append([factory.put("cup", "held_by", "kuka", 0, time_s=1.0), hand(factory, 1.0, 2.0)])
    bank.append([factory.seen("cup", 1.03, 2.0, "eye"), hand(factory, 1.5, 3.0)])
    assert x_of(bank, "cup") == pytest.approx(1.53)
    bank.append([end(factory, "cup", "held_by", "kuka", 4.0), hand(factory, 0.3, 5.0)])
    assert x_of(bank, "cup") == pytest.approx(1.53)


def test_of_a_robot_without_a_tool_its_base_carries_the_thing(bank, factory):
    bank.append([factory.state("kuka", 1.0, 1.0), factory.put("cup", "held_by", "kuka", 0, time_s=2.0)])
    assert x_of(bank, "cup") == 1.0, "its pose in the gripper is unknown"
    bank.append([factory.seen("pen", 1.3, 2.0), factory.put("pen", "held_by", "kuka", 0, time_s=2.0)])
    assert x_of(bank, "pen") == 1.0, "it was seen just before"
    bank.append([factory.seen("cup", 1.4, 3.0), factory.state("kuka", 2.0, 4.0)])
    assert x_of(bank, "cup") == pytest.approx(2.4)
    bank.append([end(factory, "cup", "held_by", "kuka", 5.0), factory.state("kuka", 0.0, 6.0)])
    assert x_of(bank, "cup") == pytest.approx(2.4)


def test_a_thing_passed_from_hand_to_hand_and_set_down_is_where_the_last_hand_left_it(bank, factory):
    bank.append([hand(factory, 1.0, 1.0), hand(factory, 1.1, 1.0, "ur5")])
    bank.append(
        [factory.put("cup", "held_by", "kuka", 0, time_s=2.0), factory.put("cup", "held_by", "ur5", 1, time_s=3)]
    )
    bank.append([hand(factory, 0.5, 4.0), hand(factory, 1.7, 4.0, "ur5")])
    assert x_of(bank, "cup", as_of_s=2.5) == 1.0
    assert x_of(bank, "cup") == 1.7
    bank.append([end(factory, "cup", "held_by", "ur5", 5.0), factory.put("cup", "on", "tray", 3, time_s=5.5)])
    bank.append([hand(factory, 0.0, 6.0, "ur5")])
    assert x_of(bank, "cup") == 1.7


def test_a_thing_set_down_on_something_goes_with_it_from_then_on(bank, factory):
    bank.append([factory.seen("tray", 1.0, 1.0, "eye"), hand(factory, 1.2, 1.0)])
    bank.append([factory.put("cup", "held_by", "kuka", 0, time_s=2.0), end(factory, "cup", "held_by", "kuka", 3.0)])
    bank.append([factory.put("cup", "on", "tray", 2, time_s=3.5), factory.seen("tray", 1.5, 4.0, "eye")])
    assert x_of(bank, "cup", as_of_s=3.7) == 1.2
    assert x_of(bank, "cup") == pytest.approx(1.7)


def test_a_thing_set_down_in_a_room_and_then_logged_to_be_on_a_tray_there_was_set_down_on_it(bank, factory):
    bank.append([factory.seen("tray", 1.0, 1.0, "eye"), hand(factory, 1.2, 1.0)])
    bank.append(
        [factory.put("cup", "held_by", "kuka", 0, time_s=2.0), factory.put("cup", "in", "kitchen", 1, time_s=3.0)]
    )
    bank.append([factory.put("cup", "on", "tray", 2, time_s=4.0), factory.seen("tray", 1.5, 5.0, "eye")])
    assert x_of(bank, "cup") == pytest.approx(1.7)


def test_an_unreported_gripper_leaves_a_thing_where_it_was_taken(bank, factory):
    bank.append([factory.seen("cup", 0.1, 1.0), factory.put("cup", "held_by", "kuka", 0, time_s=2.0)])
    bank.append(end(factory, "cup", "held_by", "kuka", 3.0))
    assert x_of(bank, "cup") == 0.1
    bank.append([factory.put("pen", "held_by", "kuka", 0, time_s=3.0), end(factory, "pen", "held_by", "kuka", 4.0)])
    assert bank.where_is("pen").pose is None


# --- In boxes ---------------------------------------------------------------------------------------------------------


def test_contents_of_a_box_move_with_it_at_any_depth_and_with_any_robot(bank, factory):
    bank.append([factory.put("cup", "in", "box", 0, time_s=1.0), factory.put("pen", "in", "cup", 0, time_s=1.0)])
    bank.append([factory.seen("box", 1.0, 2.0), factory.seen("cup", 1.1, 2.0), factory.seen("pen", 1.15, 2.0)])
    bank.append(factory.seen("box", 1.5, 3.0))
    assert [x_of(bank, name) for name in ("box", "cup", "pen")] == pytest.approx([1.5, 1.6, 1.65])
    assert bank.where_is("pen").since_s == 3.0
    bank.append(
        [hand(factory, 1.5, 3.0), factory.put("box", "held_by", "kuka", 0, time_s=4.0), hand(factory, 0.5, 5.0)]
    )
    bank.append([end(factory, "box", "held_by", "kuka", 6.0), hand(factory, 2.0, 7.0)])
    assert [x_of(bank, name) for name in ("box", "cup", "pen")] == pytest.approx([0.5, 0.6, 0.65])
    assert [x_of(bank, name, as_of_s=2.5) for name in ("box", "cup", "pen")] == pytest.approx([1.0, 1.1, 1.15])
    bank.append([end(factory, "cup", "in", "box", 8.0), factory.seen("box", 0.0, 9.0)])
    assert [x_of(bank, name) for name in ("box", "cup", "pen")] == pytest.approx([0.0, 0.6, 0.65])


def test_things_seen_at_one_time_were_there_together_in_whatever_order_they_are_logged(bank, factory):
    bank.append([factory.put("pen", "in", "box", 0, time_s=1.0), factory.seen("box", 0.0, 1.0)])
    bank.append([factory.seen("pen", 1.1, 2.0), factory.seen("box", 1.0, 2.0)])
    assert x_of(bank, "pen") == 1.1
    bank.append(factory.seen("box", 1.5, 3.0))
    assert x_of(bank, "pen") == pytest.approx(1.6)


def test_what_is_logged_to_be_in_a_box_is_where_the_box_is_until_it_leaves(bank, factory):
    bank.append([factory.seen("pen", 0.1, 1.0), factory.seen("box", 1.0, 1.0)])
    bank.append([factory.put("pen", "in", "box", 0, time_s=2.0), factory.seen("box", 1.5, 3.0)])
    assert x_of(bank, "pen", as_of_s=2.5) == 1.0
    assert x_of(bank, "pen") == 1.5
    bank.append(end(factory, "pen", "in", "box", 4.0))
    found = bank.where_is("pen")
    assert (found.pose, found.since_s) == (None, 4.0), "who took it out, and where to?"


def test_a_relation_logged_of_what_was_just_seen_moves_nothing(bank, factory):
    """It only says where the thing was seen: at that very time, on the box of the holder, or as a part of it."""
    bank.append([factory.seen("table", 1.0, 0.0, size_m=(1.0, 1.0, 0.8)), factory.seen("tray", 1.0, 0.0)])
    for name in ("cup", "fork", "knob", "far"):
        pose = Pose((3.0 if name == "far" else 1.3, 0.0, 0.9))
        bank.append(factory.event(EntitySeen(name, "cube", pose), 1.0))
    bank.append([factory.put("cup", "on", "table", 0, time_s=2.0), factory.put("far", "on", "table", 0, time_s=2.0)])
    bank.append([factory.put("fork", "on", "tray", 0, time_s=1.0, writer="eye")])
    bank.append([factory.put("knob", "part_of", "tray", 0, time_s=2.0)])
    assert [x_of(bank, name) for name in ("cup", "fork", "knob", "far")] == [1.3, 1.3, 1.3, 1.0]
    bank.append([factory.seen("table", 1.5, 3.0, size_m=(1.0, 1.0, 0.8)), factory.seen("tray", 1.5, 3.0)])
    assert [x_of(bank, name) for name in ("cup", "fork", "knob", "far")] == pytest.approx([1.8, 1.8, 1.8, 1.5])


def test_what_was_seen_before_it_was_elsewhere_is_where_its_last_holder_is(bank, factory):
    bank.append([factory.seen("tray", 1.0, 0.0), factory.seen("knob", 0.3, 1.0), factory.seen("cup", 0.3, 2.0)])
    bank.append([factory.put("knob", "in", "bag", 0, time_s=2.0), factory.put("cup", "in", "bag", 0, time_s=2.0)])
    bank.append(
        [factory.put("cup", "on", "tray", 1, time_s=2.0), factory.put("knob", "part_of", "tray", 1, time_s=3.0)]
    )
    assert [x_of(bank, name) for name in ("cup", "knob")] == [1.0, 1.0]


def test_contents_of_a_lost_box_are_lost_with_it(bank, factory):
    bank.append([factory.seen("shelf", 1.0, 0.0), factory.put("box", "on", "shelf", 0, time_s=1.0)])
    bank.append([factory.put("pen", "in", "box", 0, time_s=1.0), factory.seen("pen", 1.1, 2.0)])
    bank.append(end(factory, "box", "on", "shelf", 3.0))
    assert [bank.where_is(name).pose for name in ("box", "pen")] == [None, None]
    assert (bank.where_is("pen").since_s, x_of(bank, "pen", as_of_s=2.5)) == (3.0, 1.1)


def test_a_guess_about_a_box_moves_nothing_that_was_seen_in_it(bank, factory):
    """The box is believed to be where its shelf is; once it is seen 0.4 m beside, nothing has moved by 0.4 m."""
    bank.append([factory.seen("shelf", 1.0, 0.0), factory.put("box", "on", "shelf", 0, time_s=1.0)])
    bank.append([factory.put("pen", "in", "box", 0, time_s=1.0), factory.seen("pen", 1.45, 2.0)])
    assert x_of(bank, "pen") == 1.45
    bank.append(factory.seen("shelf", 1.2, 3.0))
    assert x_of(bank, "pen") == pytest.approx(1.65)
    bank.append(factory.seen("box", 1.6, 4.0))
    assert x_of(bank, "pen") == 1.6, "in the box, wherever in it"


def test_what_was_seen_in_a_box_that_was_carried_unseen_still_goes_with_it(bank, factory):
    bank.append([hand(factory, 1.0, 1.0), factory.put("box", "held_by", "kuka", 0, time_s=2.0)])
    bank.append([factory.put("pen", "in", "box", 0, time_s=2.0), factory.seen("pen", 1.1, 3.0)])
    bank.append([factory.seen("tray", 0.5, 3.0), hand(factory, 0.5, 4.0)])
    bank.append([factory.put("box", "on", "tray", 1, time_s=4.0), factory.seen("tray", 0.7, 5.0)])
    assert [x_of(bank, name) for name in ("box", "pen")] == pytest.approx([0.7, 0.8])


def test_relations_logged_again_and_merged_boxes_change_nothing(bank, factory):
    bank.append([factory.seen("crate", 1.0, 1.0), factory.put("pen", "in", "crate", 0, time_s=1.0)])
    bank.append(factory.seen("pen", 1.2, 2.0))
    bank.append([factory.put("pen", "in", "crate", version, time_s=2.0 + version) for version in range(1, 40)])
    assert x_of(bank, "pen") == 1.2
    bank.append([factory.seen("box", 1.01, 50.0), factory.event(EntityMerged("crate", "box"), 51.0)])
    assert x_of(bank, "pen") == pytest.approx(1.21)
    bank.append(factory.seen("crate", 1.5, 52.0))
    assert x_of(bank, "pen") == pytest.approx(1.7)
    assert bank.where_is("pen").parent == "box"


def test_what_was_carried_under_another_name_is_where_that_was_left(bank, factory):
    bank.append([factory.seen("mug", 0.1, 1.0), factory.seen("cup", 0.2, 1.5)])
    bank.append([factory.put("mug", "held_by", "kuka", 0, time_s=2.0), hand(factory, 1.4, 3.0)])
    bank.append(end(factory, "mug", "held_by", "kuka", 4.0))
    held = bank.snapshot()
    bank.append([factory.event(EntityMerged("mug", "cup"), 5.0), hand(factory, 0.0, 6.0)])
    assert x_of(bank, "cup") == x_of(bank, "mug") == 1.4
    assert (x_of(held, "cup"), x_of(held, "mug"), x_of(bank, "cup", as_of_s=4.5)) == (0.2, 1.4, 0.2)
    bank.append([factory.put("mug", "in", "box", 0, time_s=7.0), factory.seen("box", 0.7, 7.0)])
    assert x_of(bank, "cup") == 0.7


def test_what_was_carried_under_another_name_goes_on_with_what_holds_it_under_this_one(bank, factory):
    bank.append([factory.seen("mug", 0.1, 1.0), factory.seen("tray", 1.0, 1.0), hand(factory, 1.4, 1.0)])
    bank.append([factory.put("mug", "held_by", "kuka", 0, time_s=2.0), factory.put("cup", "on", "tray", 0, time_s=2.0)])
    bank.append([end(factory, "mug", "held_by", "kuka", 3.0), factory.seen("tray", 1.1, 4.0)])
    bank.append([factory.event(EntityMerged("mug", "cup"), 5.0), factory.seen("tray", 1.3, 6.0)])
    assert x_of(bank, "cup") == pytest.approx(1.6)


def test_a_circle_that_late_news_closes_in_the_past_has_no_pose_and_does_no_harm(bank, factory):
    bank.append([factory.put("a", "in", "b", 0, time_s=10.0), end(factory, "a", "in", "b", 11.0)])
    bank.append(factory.put("b", "in", "a", 0, time_s=5.0, writer="late"))
    assert bank.where_is("a", as_of_s=10.5).pose is None
    assert bank.where_is("a", as_of_s=10.5).parent == "b"
    bank.append(factory.seen("a", 1.0, 12.0))
    assert x_of(bank, "b") == 1.0


def test_boxes_may_be_nested_deeper_than_one_would_believe(bank, factory):
    bank.append([factory.put(f"box {n}", "in", f"box {n + 1}", 0, time_s=1.0) for n in range(300)])
    bank.append([factory.seen("box 20", 1.0, 2.0), factory.seen("box 0", 1.1, 2.0), factory.seen("box 20", 1.5, 3.0)])
    assert x_of(bank, "box 0") == pytest.approx(1.6)
    bank.append(factory.seen("box 300", 0.0, 4.0))
    assert x_of(bank, "box 299") == 0.0
    assert bank.where_is("box 19").pose is not None


def test_a_pose_is_given_up_after_many_changes_of_which_none_shows_where(bank, factory):
    bank.append(factory.seen("cup", 1.0, 0.0))
    for version in range(FURTHEST + 5):
        bank.append(factory.put("cup", "on", f"unseen {version}", version, time_s=1.0 + version))
        assert (x_of(bank, "cup") is None) == (version + 1 >= FURTHEST)


POSES = st.builds(
    lambda p, q: Pose(p, quaternion_from_euler(*q)),
    st.tuples(*[st.floats(-3.0, 3.0)] * 3), st.tuples(*[st.floats(-1.5, 1.5)] * 3),
)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(POSES, min_size=3, max_size=3), st.lists(POSES, min_size=1, max_size=3), POSES, POSES)
def test_boxes_in_boxes_in_a_moving_hand_keep_their_shape(things, grips, base, taken):
    """The pose of each thing, seen from the hand, is the same at every time, whatever else turns."""
    factory = EventFactory()
    names = ("box", "cup", "pen")
    with open_bank(":memory:") as bank:
        bank.append(factory.event(RobotReported(base, tool=taken), 0.0, "kuka", robot="kuka"))
        for holder, name in zip(("kuka", *names), names, strict=False):
            bank.append(factory.put(name, "held_by" if holder == "kuka" else "in", holder, 0, time_s=1.0))
        bank.append([factory.event(EntitySeen(name, "x", pose), 2.0) for name, pose in zip(names, things, strict=True)])
        for time_s, grip in enumerate(grips, 3):
            bank.append(factory.event(RobotReported(Pose(), tool=grip), float(time_s), "kuka", robot="kuka"))
            for name, pose in zip(names, things, strict=True):
                found = bank.where_is(name).pose
                wanted = compose(invert(taken), pose).matrix
                assert compose(invert(grip), found).matrix == pytest.approx(wanted, abs=1e-9)


# --- In places --------------------------------------------------------------------------------------------------------


def test_a_newer_sighting_elsewhere_beats_the_place_that_was_logged(bank, factory):
    bank.append([factory.put("cup", "in", "kitchen", 0, time_s=1.0)])
    found = bank.where_is("cup")
    assert (found.pose, found.place, found.parent, found.since_s, found.seq) == (None, "kitchen", "kitchen", 1.0, 3)
    bank.append(factory.seen("cup", 3.0, 5.0))
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.place, found.parent, found.predicate) == (3.0, "home", "", "")
    assert found.version == 1, "it is still what the next relation replaces"
    assert bank.contents("kitchen") == []
    assert bank.contents("kitchen", as_of_s=4.0) == ["cup"]
    bank.append(factory.put("cup", "in", "kitchen", 1, time_s=6.0))
    found = bank.where_is("cup")
    assert (found.pose, found.place, found.parent, found.since_s) == (None, "kitchen", "kitchen", 6.0)
    bank.append(factory.seen("cup", 1.0, 7.0))
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.place, found.parent) == (1.0, "kitchen", "kitchen")
    assert bank.contents("kitchen") == ["cup"]


def test_of_a_place_in_the_place_that_was_logged_the_smaller_one_counts(bank, factory):
    table = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))
    bank.append(factory.event(PlaceDefined("table", "carrier", "kitchen", table), 0.0, "map"))
    bank.append(factory.event(PlaceDefined("drawer", "slot", "table"), 0.0, "map"))
    bank.append([factory.put("cup", "in", "kitchen", 0, time_s=1.0), factory.put("pen", "in", "drawer", 0, time_s=1.0)])
    bank.append([factory.seen("cup", 0.3, 2.0), factory.seen("pen", 0.3, 2.0)])
    assert [bank.where_is(name).place for name in ("cup", "pen")] == ["table", "drawer"]
    bank.append([factory.put("key", "in", "case", 0, time_s=2.0), factory.put("case", "in", "drawer", 0, time_s=2.0)])
    bank.append([factory.seen("key", 0.3, 3.0)])
    assert (bank.where_is("key").place, bank.where_is("key").parent) == ("drawer", "case")
    bank.append([factory.seen("cup", 1.3, 3.0), factory.seen("pen", 1.3, 3.0)])
    assert [bank.where_is(name).place for name in ("cup", "pen")] == ["kitchen", "kitchen"]
    assert [bank.where_is(name).parent for name in ("cup", "pen")] == ["kitchen", ""], "it is out of the table's drawer"


def test_an_unseen_box_is_at_its_logged_place_with_its_contents(bank, factory):
    bank.append([factory.seen("pen", 3.0, 1.0), factory.put("pen", "in", "box", 0, time_s=2.0)])
    assert x_of(bank, "pen") == 3.0
    bank.append(factory.put("box", "in", "kitchen", 0, time_s=3.0))
    found = bank.where_is("pen")
    assert (found.pose, found.place, found.parent, found.since_s) == (None, "kitchen", "box", 3.0)
    bank.append(factory.seen("pen", 3.5, 4.0))
    found = bank.where_is("pen")
    assert (found.pose.position_m[0], found.place, found.parent) == (3.5, "home", "box")


def test_what_a_box_holds_is_lost_with_the_box(bank, factory):
    bank.append(
        [factory.seen("box", 3.0, 1.0), factory.put("pen", "in", "box", 0, time_s=1.0), factory.seen("pen", 3.1, 2)]
    )
    bank.append(factory.put("box", "in", "kitchen", 0, time_s=3.0))
    assert [(bank.where_is(name).pose, bank.where_is(name).place) for name in ("box", "pen")] == [(None, "kitchen")] * 2
    bank.append(factory.seen("box", 1.0, 4.0))
    assert [x_of(bank, name) for name in ("box", "pen")] == pytest.approx([1.0, 1.1])


def test_a_carrier_that_has_moved_away_from_its_outlines_still_holds_what_is_on_it(bank, factory):
    corner = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))
    bank.append(factory.event(PlaceDefined("cart", "carrier", "home", corner), 0.0, "map"))
    bank.append([factory.seen("cart", 0.2, 1.0), factory.put("cup", "on", "cart", 0, time_s=1.0)])
    bank.append([factory.seen("cup", 0.3, 1.0), factory.seen("cart", 3.0, 2.0)])
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.place, found.parent) == (pytest.approx(3.1), "cart", "cart")
    assert bank.contents("cart") == ["cup"]
    bank.append(factory.seen("cup", 1.5, 3.0))
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.place, found.parent) == (1.5, "kitchen", "")
    bank.append([end(factory, "cup", "on", "cart", 4.0), factory.put("cup", "on", "cart", 2, time_s=5.0)])
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.place, found.parent) == (3.0, "cart", "cart")


# --- Whether it is still there ----------------------------------------------------------------------------------------


def test_absence_counts_for_what_was_related_but_never_seen(bank, factory):
    bank.append(factory.event(RelationSet("cup", "in", "box", 0.9, expected_version=0), 10.0))
    found = bank.where_is("cup", as_of_s=10.0)
    assert (found.existence, found.since_s, found.seq) == (0.9, 10.0, 3)
    bank.append(factory.event(AbsenceSeen("cup", 0.5, 0.8), 10.0, "eye"))
    assert bank.where_is("cup", as_of_s=10.0).existence == pytest.approx(0.9 * 0.6)
    assert bank.where_is("cup", as_of_s=1010.0).existence == pytest.approx(0.9 * 0.6 / 2), "a half-life has passed"
    assert bank.where_is("cup", as_of_s=10.0).since_s == 10.0
    bank.append(factory.put("cup", "in", "bag", 1, time_s=20.0))
    assert bank.where_is("cup", as_of_s=20.0).existence == 1.0, "put there after the look that found nothing"
    bank.append(end(factory, "cup", "in", "bag", 30.0))
    found = bank.where_is("cup", as_of_s=30.0)
    assert (found.since_s, bank.event(found.seq).kind) == (30.0, "relation_ended")
    assert found.existence < 1.0


def test_what_is_in_something_that_has_gone_has_gone_with_it_unless_it_was_seen_since(bank, factory):
    bank.append([factory.seen("box", 1.0, 1.0), factory.put("tray", "in", "box", 0, time_s=1.0)])
    bank.append([factory.seen("tray", 1.0, 1.0)])
    bank.append([factory.put(name, "on", "tray", 0, time_s=1.0) for name in ("cup", "pen", "key")])
    bank.append([factory.seen(name, 1.0, 2.0) for name in ("cup", "pen", "key", "tag")])
    bank.append([factory.put("tag", "part_of", "key", 0, time_s=2.0), factory.event(AbsenceSeen("cup", 1.0, 0.9), 3.0)])
    bank.append([factory.event(AbsenceSeen("box", 0.8), 4.0), factory.seen("key", 1.0, 5.0)])
    asked = ("box", "tray", "cup", "pen", "key", "tag")
    assert [bank.where_is(name, as_of_s=3.5).existence for name in asked] == pytest.approx([1, 1, 0.1, 1, 1, 1])
    assert [bank.where_is(name).existence for name in asked] == pytest.approx([0.2, 0.2, 0.1, 0.2, 1, 1])
    bank.append([factory.event(AbsenceSeen("box", 0.5), 6.0), end(factory, "pen", "on", "tray", 6.0)])
    assert [bank.where_is(name).existence for name in asked] == pytest.approx([0.1, 0.1, 0.1, 1, 0.1, 0.1])
    bank.append(factory.seen("box", 1.0, 7.0))
    assert [bank.where_is(name).existence for name in asked] == pytest.approx([1, 1, 0.1, 1, 1, 1])


def test_contents_of_an_unseen_box_move_with_it_and_a_robots_own_reports_do_not(bank, factory):
    bank.append([factory.put("cup", "in", "box", 0, time_s=1.0), factory.put("kuka", "on", "truck", 0, time_s=1.0)])
    bank.append([hand(factory, 1.0, 1.0), factory.put("pen", "held_by", "kuka", 0, time_s=1.0)])
    bank.append([factory.event(AbsenceSeen(name, 0.75), 2.0) for name in ("box", "truck")])
    existence = [bank.where_is(name).existence for name in ("cup", "kuka", "pen")]
    assert existence == pytest.approx([0.25, 1.0, 1.0], abs=0.01)


def test_what_is_seen_outside_its_box_does_not_go_with_it(bank, factory):
    bank.append([factory.seen("box", 1.0, 1.0, size_m=(0.4, 0.4, 0.4)), factory.put("cup", "in", "box", 0, time_s=1.0)])
    bank.append([factory.put("pen", "in", "cup", 0, time_s=1.0), factory.seen("pen", 1.0, 1.0)])
    bank.append([factory.seen("cup", 3.0, 2.0), factory.event(AbsenceSeen("box", 1.0), 3.0)])
    assert [bank.where_is(name).existence for name in ("box", "cup", "pen")] == [0.0, 1.0, 1.0]


def test_the_half_life_of_all_holds_for_the_categories_that_are_not_named(bank, factory):
    bank.append([factory.seen("cup", 1.0, 0.0), factory.event(EntitySeen("cat", "animal", Pose()), 0.0)])
    bank.append(factory.state("kuka", 0.0, 500.0))
    existence = [bank.where_is(name, as_of_s=1000.0).existence for name in ("cup", "cat", "kuka")]
    assert existence == pytest.approx([1.0, 0.5, 1.0])
    with open_bank(":memory:") as plain:
        plain.append(EventFactory().event(EntitySeen("cat", "animal", Pose()), 0.0))
        assert plain.where_is("cat", as_of_s=1e9).existence == 1.0


# --- What a robot reports ---------------------------------------------------------------------------------------------


def test_the_tool_of_a_robot_goes_where_the_robot_is_carried(bank, factory):
    bank.append([hand(factory, 1.0, 1.0, base=0.5), factory.seen("truck", 0.0, 1.0, "eye")])
    bank.append(
        [factory.put("kuka", "on", "truck", 0, time_s=1.0), factory.put("cup", "held_by", "kuka", 0, time_s=2.0)]
    )
    bank.append(factory.seen("truck", 2.0, 3.0, "eye"))
    assert x_of(bank, "kuka", as_of_s=2.5) == 0.5
    assert [x_of(bank, name) for name in ("kuka", "cup")] == pytest.approx([2.5, 3.0])


def test_a_state_with_a_tool_is_kept_exactly_and_one_without_costs_nothing(bank, factory):
    tool = Pose((0.1, -0.2, 0.3), quaternion_from_euler(0.1, 0.2, 0.3))
    (seq,) = bank.append(factory.event(RobotReported(Pose(), 0.5, "holding", tool), 0.0, "kuka", robot="kuka"))
    assert bank.event(seq).payload == RobotReported(Pose(), 0.5, "holding", tool)
    bank.append(factory.state("kuka", 1.0, 1.0))
    rows = bank._log.tables.select("SELECT LENGTH(body) FROM event WHERE seq >= ? ORDER BY seq", seq)
    assert np.diff([size for (size,) in rows])[0] < -56


def test_grounds_name_the_states_and_sightings_that_the_answer_rests_on(bank, factory):
    seqs = bank.append([factory.seen("cup", 0.1, 1.0), hand(factory, 0.3, 1.0), hand(factory, 0.4, 2.0)])
    seqs += bank.append([factory.put("cup", "held_by", "kuka", 0, time_s=3.0), hand(factory, 0.5, 4.0)])
    seqs += bank.append([end(factory, "cup", "held_by", "kuka", 5.0), hand(factory, 0.6, 6.0)])
    assert bank.where_is("cup").seq == seqs[4]
    assert seqs[4] in bank.evidence("cup")
    assert seqs[1] not in bank.evidence("cup")
    assert bank.evidence("nobody") == frozenset()
