"""Where things are is answered with work that does not grow with what was logged about them or defined around them."""

import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.geometry import Pose
from embodied.memory import (
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    open_bank,
)
from embodied.memory.projections.spatial import cell_at, cells_of
from embodied.memory.queries.pose_propagation import PosePropagation
from embodied.memory.schema.places import signed_area
from tests.memory.work import work_of
from tests.memory.writers import EventFactory

BOX = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def moved(polygon, x, y):
    return tuple((a + x, b + y) for a, b in polygon)


def places_of_episodes(factory, count):
    """The same room for each episode, under a name of its own."""
    yield factory.event(PlaceDefined("site", "site"), 0.0)
    for number in range(count):
        yield factory.event(PlaceDefined(f"episode_{number}/room", "floor", "site", BOX), float(number))


def definitions_of_one(factory, count):
    yield factory.event(PlaceDefined("site", "site"), 0.0)
    for number in range(count):
        yield factory.event(PlaceDefined("room", "floor", "site", moved(BOX, 0.001 * (number % 2), 0.0)), float(number))


def rooms_side_by_side(factory, count):
    yield factory.event(PlaceDefined("site", "site"), 0.0)
    for number in range(count):
        room = moved(BOX, number // 40, number % 40)
        yield factory.event(PlaceDefined(f"room_{number}", "floor", "site", room), float(number))


def same_parent(factory, count):
    yield factory.put("cup", "in", "box", 0)
    for number in range(1, count):
        yield factory.put("cup", "in", "box", number, time_s=float(number))


def looks_that_found_nothing(factory, count):
    yield factory.seen("cup", 0.5)
    for number in range(count):
        yield factory.event(AbsenceSeen("cup", 0.9, 0.9), float(number + 1))


def relations_of_others(factory, count):
    yield factory.event(RelationSet("cup", "may_be", "mug"))
    for number in range(count):
        yield factory.event(RelationSet(f"thing_{number}", "may_be", f"other_{number}"))
        yield factory.event(RelationSet("cup", "near", "mug"))
        yield factory.event(RelationEnded("cup", "near", "mug"))


def batched(events, size=5_000):
    left = iter(events)
    while batch := list(islice(left, size)):
        yield batch


HISTORIES = {
    one.__name__: one
    for one in (
        places_of_episodes, definitions_of_one, rooms_side_by_side, same_parent, looks_that_found_nothing,
        relations_of_others,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", HISTORIES)
def test_the_work_does_not_grow_with(monkeypatch, name):
    costs = []
    for count in (1000, 4000):  # The time of now is that of the newest of a thousand events.
        factory = EventFactory()
        with open_bank(":memory:") as bank:
            for batch in batched(HISTORIES[name](factory, count)):
                bank.append(batch)
            if name not in ("same_parent", "looks_that_found_nothing"):
                bank.append(factory.seen("cup", 0.5, float(count)))
            costs.append(work_of(monkeypatch, bank, lambda bank=bank: bank.where_is("cup")))
            costs[-1] += work_of(monkeypatch, bank, lambda bank=bank: bank.related("cup"))
    assert costs[1][0] <= 1.5 * costs[0][0] + 50
    assert costs[1][1] <= costs[0][1] + 2
    assert costs[1][2] <= 1.5 * costs[0][2] + 50


def test_ten_thousand_looks_that_found_nothing_leave_no_more_than_those_that_were_logged():
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        bank.append(list(looks_that_found_nothing(factory, 5)))
        assert bank.where_is("cup").existence == pytest.approx((1.0 - 0.81) ** 5)
        bank.append([factory.event(AbsenceSeen("cup", 0.9, 0.9), float(number + 6)) for number in range(2000)])
        assert bank.where_is("cup").existence == 0.0
        assert bank.where_is("cup", as_of_s=3.0).existence == pytest.approx((1.0 - 0.81) ** 3)


def test_places_of_holders_are_not_looked_up_for_a_thing_of_unknown_pose(monkeypatch):
    asked = []
    looked_up = PosePropagation.logged_place
    monkeypatch.setattr(PosePropagation, "logged_place", lambda *given: asked.append(given) or looked_up(*given))
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        for number in range(100):
            bank.append(factory.put("cup", "in", f"box_{number % 8}", number, time_s=float(number)))
        assert bank.where_is("cup").parent == "box_3"
    assert len(asked) == 1, "only the place of the answer itself"


@pytest.mark.parametrize("in_a_chain", [True, False], ids=["a chain", "a star"])
@pytest.mark.parametrize("held", [False, True], ids=["only seen", "once held"])
def test_names_merged_into_one_another_are_one_thing_without_recursion(monkeypatch, in_a_chain, held):
    count, costs = 600, []
    for names in (count // 4, count):
        factory = EventFactory()
        with open_bank(":memory:") as bank:
            bank.append([factory.seen(f"t{i}", float(i), float(i)) for i in range(names)])
            if held:
                for i in range(names):
                    bank.append(factory.put(f"t{i}", "on", "table", 0, time_s=1000.0))
                    bank.append(factory.event(RelationEnded(f"t{i}", "on", "table"), 1000.0))
            into = [i + 1 if in_a_chain else names - 1 for i in range(names - 1)]
            bank.append([factory.event(EntityMerged(f"t{i}", f"t{to}"), 1000.0 + i) for i, to in enumerate(into)])
            costs.append(work_of(monkeypatch, bank, lambda bank=bank: bank.where_is("t0")))
            assert bank.where_is("t0").pose.position_m == (names - 1.0, 0.0, 0.0)
            assert bank.where_is(f"t{names - 1}", as_of_s=999.0).pose.position_m == (names - 1.0, 0.0, 0.0)
            assert bank.where_is("t3", as_of_s=999.0).pose.position_m == (3.0, 0.0, 0.0)
            bank.append(factory.seen("t5", -1.0, 5000.0))
            assert bank.where_is("t0").pose.position_m == (-1.0, 0.0, 0.0)
    assert costs[1][0] <= 6 * costs[0][0], "no worse than the number of names"
    assert held or costs[1][1] <= 3, "no event of the other names is decoded"


COORDINATES = st.floats(-20.0, 20.0).map(lambda x: round(x, 1))
RECTANGLES = st.tuples(COORDINATES, COORDINATES, st.floats(0.1, 15.0), st.floats(0.1, 15.0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), RECTANGLES, st.integers(0, 5), st.booleans()), max_size=25),
    st.lists(st.tuples(COORDINATES, COORDINATES), min_size=1, max_size=5),
    st.none() | st.integers(0, 5).map(float),
)
def test_the_smallest_place_is_that_which_looking_at_all_places_finds(defined, points, as_of_s):
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        bank.append(factory.event(PlaceDefined("site", "site"), 0.0))
        for number, (name, (x, y, width, depth), time_s, empty) in enumerate(defined):
            polygon = () if empty and name % 2 else ((x, y), (x + width, y), (x + width, y + depth), (x, y + depth))
            event = factory.event(PlaceDefined(f"p{name}", "floor", "site", polygon), float(time_s), f"mapper/{number}")
            bank.append(event)
        for number, (x, y) in enumerate(points):
            seen = EntitySeen(f"thing_{number}", "cube", Pose((x, y, 0.0)))
            bank.append(factory.event(seen, 0.0, f"eye/{number}"))
        places = bank.places(as_of_s=as_of_s)
        for number, (x, y) in enumerate(points):
            around = [(abs(signed_area(one.polygon)), one.name) for one in places if one.holds((x, y, 0.0))]
            expected = min(around)[1] if around else ""
            assert bank.where_is(f"thing_{number}", as_of_s=as_of_s).place == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=3, max_size=5))
def test_each_corner_of_a_polygon_lies_in_one_of_its_cells(corners):
    cells = list(cells_of(tuple(corners)))
    assert len(cells) <= 16
    assert all((size, *cell_at(size, *corner)) in cells for size, *_ in cells[:1] for corner in corners)


def test_a_place_has_few_cells_whatever_its_size():
    draw = random.Random(1)
    for exponent in range(-6, 9):
        width, x = 10.0**exponent, draw.uniform(-1e3, 1e3)
        polygon = ((x, x), (x + width, x), (x + width, x + width))
        assert 1 <= len(list(cells_of(polygon))) <= 4
