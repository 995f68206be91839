"""Things and the boxes of what they are recorded to be in or on: let go of in them, and seen outside them."""

from itertools import permutations

import pytest

from embodied.geometry import Pose
from embodied.memory import EntitySeen, PlaceDefined, RobotReported, open_bank
from embodied.memory.queries.pose_propagation import DEEPEST
from tests.memory.writers import end, furnished, hand, x_of

BOX_M = (0.4, 0.4, 0.4)


@pytest.fixture
def bank(factory):
    with furnished(factory) as made:
        yield made


def test_a_thing_let_go_of_elsewhere_is_in_the_box_that_it_is_later_logged_to_be_in(bank, factory):
    bank.append([factory.seen("box", 3.0, 1.0, "eye", size_m=BOX_M), hand(factory, 0.2, 1.0)])
    bank.append([factory.put("cup", "held_by", "kuka", 0, time_s=2.0), end(factory, "cup", "held_by", "kuka", 3.0)])
    bank.append([factory.put("cup", "in", "kitchen", 2, time_s=4.0), hand(factory, 0.5, 5.0)])
    assert x_of(bank, "cup") == 0.2
    bank.append(factory.put("cup", "in", "box", 3, time_s=90.0))
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.place, found.parent, found.since_s) == (3.0, "home", "box", 90.0)
    bank.append(factory.seen("box", 0.5, 91.0, "eye", size_m=BOX_M))
    assert (x_of(bank, "cup"), x_of(bank, "cup", as_of_s=80.0)) == (0.5, 0.2)


@pytest.mark.parametrize(("x", "z", "stays"), [(0.25, 0.0, True), (0.1, 0.9, True), (0.35, 0.0, False)])
def test_what_a_robot_lets_go_of_in_or_above_a_box_stays_there(bank, factory, x, z, stays):
    """The box ends 0.2 m from its centre; 0.1 m more is allowed for what is measured."""
    bank.append(factory.seen("box", 1.0, 1.0, "eye", size_m=BOX_M))
    bank.append(factory.event(RobotReported(Pose(), tool=Pose((1.0 + x, 0.0, z))), 1.0, "kuka", robot="kuka"))
    bank.append([factory.put("cup", "held_by", "kuka", 0, time_s=2.0), factory.put("cup", "in", "box", 1, time_s=3.0)])
    assert bank.where_is("cup").pose.position_m == ((1.0 + x, 0.0, z) if stays else (1.0, 0.0, 0.0))
    bank.append(factory.seen("box", 1.5, 4.0, "eye", size_m=BOX_M))
    assert x_of(bank, "cup") == pytest.approx(1.5 + x * stays)


def test_a_gripper_shows_where_a_thing_was_put_better_than_a_guess_about_the_box(bank, factory):
    """The box's place on the shelf is unknown; still it is not where a thing was left long before."""
    bank.append([factory.seen("box", 3.0, 1.0, "eye", size_m=BOX_M), factory.seen("shelf", 1.0, 1.0, "eye")])
    bank.append([factory.put("box", "on", "shelf", 0, time_s=1.5), hand(factory, 1.7, 1.5)])
    for name in ("cup", "pen"):
        bank.append(factory.put(name, "held_by", "kuka", 0, time_s=2.0))
    bank.append([factory.put("cup", "in", "box", 1, time_s=3.0), end(factory, "pen", "held_by", "kuka", 3.0)])
    bank.append(factory.put("pen", "in", "box", 2, time_s=4.0))
    assert [x_of(bank, name) for name in ("cup", "pen")] == [1.7, 1.0]


def test_what_is_seen_outside_its_box_is_in_it_no_more(bank, factory):
    bank.append([factory.put("box", "in", "kitchen", 0, time_s=1.0), factory.seen("box", 1.0, 1.0, size_m=BOX_M)])
    bank.append([factory.put("cup", "in", "box", 0, time_s=2.0), factory.put("pen", "in", "cup", 0, time_s=2.0)])
    bank.append([factory.seen("cup", 1.1, 3.0), factory.seen("cup", 3.0, 4.0)])
    for time_s, x, parent, place in ((3.0, 1.1, "box", "kitchen"), (4.0, 3.0, "", "home")):
        found = bank.where_is("cup", as_of_s=time_s)
        assert (found.pose.position_m[0], found.parent, found.place, found.version) == (x, parent, place, 1)
        assert bank.contents("box", as_of_s=time_s) == ["cup"] * (parent == "box")
        assert (bank.where_is("pen", as_of_s=time_s).place, bank.contents("cup")) == (place, ["pen"])
    bank.append(factory.seen("box", 1.5, 5.0, size_m=BOX_M))
    assert [x_of(bank, name) for name in ("box", "cup", "pen")] == [1.5, 3.0, 3.0]
    assert bank.snapshot().contents("box") == []
    bank.append(factory.seen("cup", 1.6, 6.0))
    bank.append(factory.seen("box", 1.8, 7.0, size_m=BOX_M))
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.parent, bank.contents("box")) == (pytest.approx(1.9), "box", ["cup"])


def test_what_is_seen_outside_its_box_is_not_where_the_box_is_logged_to_be(bank, factory):
    bank.append(factory.event(PlaceDefined("drawer", "carrier", "kitchen"), 0.0, "map"))
    bank.append([factory.put("box", "in", "drawer", 0, time_s=1.0), factory.seen("box", 1.0, 1.0, size_m=BOX_M)])
    bank.append([factory.put("cup", "in", "box", 0, time_s=1.0), factory.put("pen", "in", "cup", 0, time_s=1.0)])
    assert [bank.where_is(name).place for name in ("cup", "pen")] == ["drawer", "drawer"]
    bank.append(factory.seen("cup", 1.8, 2.0))
    assert [bank.where_is(name).place for name in ("cup", "pen")] == ["kitchen", "kitchen"]


def test_what_is_logged_to_be_in_its_box_again_is_there_again(bank, factory):
    bank.append([factory.put("cup", "in", "box", 0, time_s=1.0), factory.seen("box", 1.0, 1.0, size_m=BOX_M)])
    bank.append([factory.seen("cup", 3.0, 2.0), factory.put("cup", "in", "box", 1, time_s=3.0)])
    found = bank.where_is("cup")
    assert (found.pose.position_m[0], found.parent, found.since_s) == (1.0, "box", 3.0)
    assert bank.event(found.seq).kind == "relation_set"
    bank.append(factory.seen("box", 1.5, 4.0, size_m=BOX_M))
    assert (x_of(bank, "cup"), x_of(bank, "cup", as_of_s=2.5), bank.contents("box")) == (1.5, 3.0, ["cup"])
    bank.append(end(factory, "cup", "in", "box", 5.0))
    assert bank.where_is("cup").pose is None, "who took it out, and where to?"


@pytest.mark.parametrize(
    ("predicate", "x", "z", "size_m", "stays"),
    [
        ("in", 1.25, 0.0, None, True),
        ("in", 1.35, 0.0, None, False),
        ("in", 1.35, 0.0, (0.2, 0.1, 0.1), True),
        ("in", 1.0, 0.9, None, False),
        ("in", 1.0, 0.9, (0.1, 0.1, 1.5), True),
        ("on", 1.0, 0.9, None, True),
        ("on", 1.5, 0.9, None, False),
        ("part_of", 3.0, 0.0, None, True),
        ("held_by", 3.0, 0.0, None, True),
    ],
)
def test_how_far_outside_a_box_its_contents_may_be_seen(bank, factory, predicate, x, z, size_m, stays):  # noqa: PLR0917
    """Half the box's 0.4 m, 0.1 m for what is measured, and half of the thing itself; what is on it is above."""
    bank.append([factory.put("cup", predicate, "box", 0, time_s=1.0), factory.seen("box", 1.0, 1.0, size_m=BOX_M)])
    bank.append(factory.event(EntitySeen("cup", "cube", Pose((x, 0.0, z)), size_m=size_m), 2.0))
    assert bank.where_is("cup").parent == "box" * stays
    assert bank.contents("box") == ["cup"] * stays
    bank.append(factory.seen("box", 2.0, 3.0, size_m=BOX_M))
    assert x_of(bank, "cup") == pytest.approx(x + stays)


@pytest.mark.parametrize("step_s", [0.0, 1.0, -1.0])
def test_boxes_may_be_nested_deeper_than_one_would_believe_and_seen_in_whatever_order(bank, factory, step_s):
    count = 3 * DEEPEST
    bank.append([factory.put(f"box {n}", "in", f"box {n + 1}", 0, time_s=1.0) for n in range(count)])
    seen = [(2.0 * count + n * step_s, n) for n in range(count + 1)]
    bank.append([factory.seen(f"box {n}", 1.0, time_s, size_m=BOX_M) for time_s, n in sorted(seen)])
    bank.append(factory.seen(f"box {count}", 1.1, 4.0 * count, size_m=BOX_M))
    assert [x_of(bank, f"box {n}") for n in (0, count - 1)] == [1.0, pytest.approx(1.1)]
    assert bank.contents("box 1") == ["box 0"]


def test_a_box_of_unknown_size_or_place_speaks_against_no_sighting(bank, factory):
    """The size of the crate is unknown; the box is somewhere on its shelf."""
    bank.append([factory.seen("crate", 1.0, 1.0), factory.seen("box", 3.0, 1.0, size_m=BOX_M)])
    bank.append([factory.seen("shelf", 1.0, 1.0), factory.put("box", "on", "shelf", 0, time_s=2.0)])
    bank.append([factory.put("cup", "in", "crate", 0, time_s=2.0), factory.put("pen", "in", "box", 0, time_s=2.0)])
    bank.append([factory.seen("cup", 2.0, 3.0), factory.seen("pen", 2.0, 3.0)])
    assert [bank.where_is(name).parent for name in ("cup", "pen")] == ["crate", "box"]


def test_whether_a_thing_is_in_its_box_does_not_depend_on_the_order_of_late_news(factory):
    logged = [
        [factory.seen("box", 1.0, 1.0, "a", size_m=BOX_M), factory.seen("box", 3.0, 3.0, "a", size_m=BOX_M)],
        [factory.put("cup", "in", "box", 0, time_s=2.0, writer="b")],
        [factory.seen("cup", 3.1, 4.0, "c"), factory.seen("cup", 0.0, 5.0, "c")],
    ]
    answers = []
    for order in permutations(logged):
        with open_bank(":memory:") as bank:
            for events in order:
                bank.append(events)
                bank.append(events[0])
            found = [bank.where_is("cup", as_of_s=time_s) for time_s in (2.0, 3.0, 4.0, 5.0)]
            answers.append([(one.pose, one.parent, one.since_s) for one in found])
            assert [bank.contents("box", as_of_s=time_s) for time_s in (4.0, 5.0)] == [["cup"], []]
    assert all(answer == answers[0] for answer in answers)
    assert [parent for _, parent, _ in answers[0]] == ["box", "box", "box", ""]


def test_what_is_seen_on_a_cart_that_has_left_its_outlines_is_on_it(bank, factory):
    corner = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))
    bank.append(factory.event(PlaceDefined("cart", "carrier", "home", corner), 0.0, "map"))
    bank.append([factory.put("cup", "on", "cart", 0, time_s=1.0), factory.seen("cart", 3.0, 2.0, size_m=BOX_M)])
    bank.append([factory.seen("cup", 3.1, 3.0), factory.seen("cart", 3.5, 4.0, size_m=BOX_M)])
    assert (bank.where_is("cup").parent, x_of(bank, "cup")) == ("cart", pytest.approx(3.6))
    bank.append([factory.seen("cup", 0.3, 5.0), factory.seen("cart", 2.0, 6.0, size_m=BOX_M)])
    assert (bank.where_is("cup").parent, x_of(bank, "cup"), bank.contents("cart")) == ("", 0.3, [])
