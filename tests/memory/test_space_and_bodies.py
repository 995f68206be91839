"""Where things are and were, who can do what, and the n-th time something happened."""

import math
import random
import time
from itertools import combinations

import pytest

from embodied.errors import MemoryBankError
from embodied.geometry import Pose
from embodied.memory import (
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    EventFilter,
    Interaction,
    LeaseGranted,
    PlaceDefined,
    Query,
    RelationEnded,
    RelationSet,
    RobotRegistered,
    RobotReported,
    SimulatedClock,
    SkillEnded,
    SkillSpec,
    open_bank,
)
from embodied.memory.schema import places
from embodied.memory.schema.places import check_polygon, inside_polygon
from tests.memory.writers import EventFactory, home


@pytest.fixture
def bank():
    with open_bank(":memory:", half_life_s={"cube": 100.0}, clock=SimulatedClock(ahead_s=1e6)) as made:
        map_maker = EventFactory()
        made.append([map_maker.event(place, 0.0, "map") for place in home()])
        yield made


def place(bank, name, x, y, z=0.0):
    factory = EventFactory()
    factory.numbers["pin"] = bank.last_of_writer("pin")[0]
    return bank.append(factory.event(EntitySeen(name, "cube", Pose((x, y, z))), 1.0, "pin"))


def test_the_last_sighting_by_valid_time_counts_however_late_it_is_logged(bank, factory):
    bank.append([factory.seen("block", 1.0, 10.0), factory.seen("block", 3.0, 30.0)])
    bank.append(factory.seen("block", 2.0, 20.0, "late"))
    assert bank.where_is("block").pose.position_m[0] == 3.0
    at = {t: bank.where_is("block", as_of_s=t) for t in (9.9, 10.0, 19.9, 20.0, 29.0, 31.0)}
    assert at.pop(9.9) is None
    assert [found.pose.position_m[0] for found in at.values()] == [1.0, 1.0, 2.0, 2.0, 3.0]
    assert [found.seq for found in at.values()] == [3, 3, 5, 5, 4]


def test_the_place_is_the_smallest_one_around(bank):
    for name, x, y, expected in (("a", 1.0, 1.0, "kitchen"), ("b", 3.0, 3.0, "home"), ("c", 9.0, 0.0, "")):
        place(bank, name, x, y)
        assert bank.where_is(name).place == expected
    place(bank, "flying", 1.0, 1.0, 5.0)
    assert bank.where_is("flying").place == ""


def test_a_place_can_be_redrawn_and_the_old_drawing_holds_for_before(bank, factory):
    bank.append(factory.seen("block", 3.5, 1.0))
    assert bank.where_is("block").place == "home"
    bank.append(factory.event(PlaceDefined("kitchen", "region", "home", ((0.0, 0.0), (3.9, 0.0), (3.9, 3.9))), 50.0))
    assert bank.where_is("block").place == "kitchen"
    assert bank.where_is("block", as_of_s=49.0).place == "home"


def test_a_thing_goes_where_its_holder_goes_until_it_is_seen_elsewhere(bank, factory):
    bank.append([factory.seen("block", 1.0, 1.0), factory.put("block", "held_by", "kuka", 0, time_s=2.0)])
    assert bank.where_is("block").pose.position_m[0] == 1.0, "the pose of the holder is unknown"
    bank.append(factory.state("kuka", 3.0, 1.5))
    found = bank.where_is("block")
    assert (found.pose.position_m[0], found.parent, found.predicate, found.since_s) == (3.0, "kuka", "held_by", 2.0)
    bank.append(factory.state("kuka", 5.0, 3.0))
    assert bank.where_is("block").pose.position_m[0] == 5.0
    assert bank.where_is("block", as_of_s=2.5).pose.position_m[0] == 3.0
    bank.append(factory.seen("block", 7.0, 4.0))
    assert bank.where_is("block").pose.position_m[0] == 7.0
    bank.append([factory.put("block", "in", "kitchen", 1, time_s=5.0)])
    found = bank.where_is("block")
    assert (found.pose, found.place, found.version) == (None, "kitchen", 2), "it was carried on, out of sight"
    assert bank.contents("kuka") == []
    assert bank.contents("kitchen") == ["block"]
    assert bank.contents("kuka", as_of_s=4.5) == ["block"]


def test_a_thing_in_a_box_on_a_shelf_is_where_the_shelf_stands(bank, factory):
    bank.append([factory.seen("shelf", 1.0, 1.0), factory.put("shelf", "in", "kitchen", 0, time_s=1.0)])
    bank.append([factory.put("box", "on", "shelf", 0, time_s=2.0), factory.put("pen", "in", "box", 0, time_s=3.0)])
    found = bank.where_is("pen")
    assert (found.pose.position_m[0], found.place, found.parent) == (1.0, "kitchen", "box")
    bank.append(factory.event(RelationEnded("pen", "in", "box", 1), 4.0))
    found = bank.where_is("pen")
    assert (found.pose, found.parent, found.predicate, found.version) == (None, "", "", 2)
    bank.append(factory.put("pen", "in", "box", time_s=5.0))
    assert bank.where_is("pen").version == 3


def test_being_unseen_is_no_proof_but_seeing_the_empty_place_is(bank, factory):
    bank.append(factory.seen("block", 1.0, 0.0, confidence=0.8))
    assert bank.where_is("block", as_of_s=0.0).existence == pytest.approx(0.8)
    assert bank.where_is("block", as_of_s=100.0).existence == pytest.approx(0.4), "a half-life has passed"
    bank.append(factory.event(AbsenceSeen("block", 0.75, 0.8), 100.0))
    assert bank.where_is("block", as_of_s=99.0).existence > 0.4
    assert bank.where_is("block", as_of_s=100.0).existence == pytest.approx(0.4 * 0.4)
    bank.append(factory.seen("block", 2.0, 100.0, confidence=0.9))
    assert bank.where_is("block", as_of_s=100.0).existence == pytest.approx(0.9), "seen again"
    bank.append(factory.event(AbsenceSeen("block", 1.0), 50.0, "late"))
    assert bank.where_is("block", as_of_s=100.0).existence == pytest.approx(0.9), "what was before does not count"


def test_two_merged_entities_share_history_and_contents(bank, factory):
    bank.append([factory.seen("box", 1.0, 1.0), factory.seen("crate", 2.0, 2.0)])
    bank.append(
        [factory.put("pen", "in", "crate", 0, time_s=2.0), factory.put("crate", "in", "kitchen", 0, time_s=2.0)]
    )
    held = bank.snapshot()
    bank.append(factory.event(EntityMerged("crate", "box"), 3.0))
    assert bank.where_is("box").pose.position_m[0] == 2.0
    assert bank.where_is("crate").pose == bank.where_is("box").pose
    assert bank.contents("box") == bank.contents("crate") == ["pen"]
    assert (bank.contents("kitchen"), held.contents("kitchen")) == (["box"], ["crate"])
    bank.append(factory.seen("crate", 4.0, 4.0))
    assert bank.where_is("box").pose.position_m[0] == 4.0
    assert [event.seq for event in bank.history("box", kinds=["entity_seen"])] == [3, 4, 8]
    assert bank.where_is("box", as_of_s=2.5).pose.position_m[0] == 1.0
    assert held.where_is("box").pose.position_m[0] == 1.0
    assert held.contents("crate") == ["pen"]
    with pytest.raises(MemoryBankError, match="only once"):
        bank.append(factory.event(EntityMerged("crate", "pen"), 5.0))
    assert bank.verify().problems == ()


def test_a_thing_cannot_be_merged_into_what_it_holds(bank, factory):
    bank.append([factory.put("pen", "in", "box", 0), factory.put("box", "in", "bag", 0)])
    with pytest.raises(MemoryBankError, match="inside itself"):
        bank.append(factory.event(EntityMerged("bag", "pen"), 1.0))


def test_other_relations_may_be_many(bank, factory):
    bank.append([factory.put("a", "near", "b"), factory.put("a", "near", "c"), factory.put("a", "near", "b")])
    bank.append(factory.event(RelationEnded("a", "near", "b")))
    assert bank.related("a") == [("a", "near", "c")]
    assert bank.related("c") == [("a", "near", "c")]
    assert bank.snapshot(5).related("a") == [("a", "near", "b"), ("a", "near", "c")]


def test_a_merged_entity_has_the_relations_of_both(bank, factory):
    bank.append([factory.put("mug", "near", "sink"), factory.put("cup", "near", "mug")])
    bank.append([factory.put("cup", "near", "tap", time_s=1.0), factory.put("pot", "near", "cup", time_s=2.0)])
    bank.append(factory.event(EntityMerged("cup", "mug"), 3.0))
    whole = [("mug", "near", "sink"), ("mug", "near", "tap"), ("pot", "near", "mug")]
    assert bank.related("cup") == bank.related("mug") == whole
    assert bank.related("tap") == [("mug", "near", "tap")]
    assert bank.related("cup", as_of_s=1.5) == [("cup", "near", "mug"), ("cup", "near", "tap")]
    bank.append(factory.event(RelationEnded("mug", "near", "tap"), 4.0))
    assert bank.related("cup") == [("mug", "near", "sink"), ("pot", "near", "mug")]
    assert bank.related("kettle") == []


def register(factory, robot, x, **fields):
    card = RobotRegistered(robot, "arm", (SkillSpec("pick", cost_s=2.0),), **fields)
    return [factory.event(card, 1.0, "clerk"), factory.state(robot, x, 1.0)]


def test_who_can_do_a_skill_comes_cheapest_first_and_the_unable_not_at_all(bank, factory):
    bank.append(register(factory, "near", 0.0, reach_m=1.0))
    bank.append(register(factory, "far", 5.0, reach_m=1.0, speed_mps=2.0))
    bank.append(register(factory, "fixed", 5.0, reach_m=1.0))
    bank.append(register(factory, "fenced", 0.5, workspace=((4.0, 4.0), (5.0, 4.0), (5.0, 5.0))))
    bank.append(
        [*register(factory, "empty", 0.0), factory.event(RobotReported(Pose(), 0.05), 2.0, "empty", robot="empty")]
    )
    bank.append([*register(factory, "broken", 0.0), factory.state("broken", 0.0, 2.0)])
    bank.append(factory.event(RobotReported(Pose(), 1.0, "error"), 3.0, "broken", robot="broken"))
    found = bank.skill_candidates("pick", (0.5, 0.0, 0.0))
    assert [able.robot for able in found] == ["near", "far"]
    assert found[0].cost_s == pytest.approx(2.0 / 0.5)
    assert found[1].cost_s == pytest.approx((3.5 / 2.0 + 2.0) / 0.5)
    assert found[1].distance_m == pytest.approx(4.5)
    assert bank.skill_candidates("fly", (0.5, 0.0, 0.0)) == []
    for success in (False, False, False):
        bank.append(factory.event(SkillEnded("pick", success, "mug"), 4.0, "near", robot="near"))
    bank.append([factory.event(SkillEnded("pick", True, "cube"), 4.0, "near", robot="near")])
    assert [able.robot for able in bank.skill_candidates("pick", (0.5, 0.0, 0.0), context="mug")] == ["far", "near"]
    assert bank.skill_candidates("pick", (0.5, 0.0, 0.0), context="mug")[1].success == pytest.approx(1 / 5)
    assert bank.skill_candidates("pick", (0.5, 0.0, 0.0), context="cube")[0].success == pytest.approx(2 / 3)
    assert sorted(able.success for able in bank.skill_candidates("pick", (0.5, 0.0, 0.0))) == pytest.approx(
        [2 / 6, 0.5]
    )


def test_a_robot_with_a_lease_is_queued_for(bank, factory):
    bank.append(register(factory, "near", 0.0))
    before = bank.skill_candidates("pick", (0.0, 0.0, 0.0))[0].cost_s
    bank.append(factory.event(LeaseGranted("wash", 1, 100.0), 5.0, "leases", robot="near"), as_site=True)
    assert bank.skill_candidates("pick", (0.0, 0.0, 0.0))[0].cost_s == pytest.approx(2 * before)
    assert bank.skill_candidates("pick", (0.0, 0.0, 0.0), as_of_s=200.0)[0].cost_s == pytest.approx(before)


def test_the_nth_interaction_counts_by_valid_time(bank, factory):
    for t, robot, action, entity in (
        (30.0, "a", "open", "drawer_top"),
        (10.0, "b", "open", "drawer_low"),
        (20.0, "b", "close", "drawer_top"),
        (40.0, "a", "open", "drawer_low"),
    ):
        factory.numbers["w" + str(t)] = 0
        bank.append(factory.event(Interaction(action, entity, t - 1, t - 1, t, t), t, f"w{t}", robot=robot))

    def when(*asked, **fits):
        found = bank.nth_interaction(*asked, **fits)
        return found.valid_time_s if found else None

    assert [when(n) for n in (1, 2, 3, 4, 5, -1, -4, -5)] == [10.0, 20.0, 30.0, 40.0, None, 40.0, 10.0, None]
    assert when(1, entity="drawer_top") == 20.0
    assert when(1, entity="drawer_top", action="open") == 30.0
    assert when(2, robot="a") == 40.0
    assert when(1, robot="b", entity="drawer_top") == 20.0
    assert when(1, between_s=(15.0, 35.0)) == 20.0
    assert [event.valid_time_s for event in bank.history(from_s=15.0, to_s=30.0)] == [20.0, 30.0]


def test_what_was_done_to_a_thing_is_found_under_all_its_names(bank, factory):
    """By `nth_interaction`, `changes_since` and subscriptions, like by `history`; snapshots know what they knew."""
    bank.append(
        [factory.event(Interaction("push", name, t, t, t, t), t, robot="a") for t, name in ((1.0, "mug"), (2.0, "cup"))]
    )
    after = bank.head
    bank.append([factory.seen("mug", 1.0, 3.0), factory.seen("cup", 1.0, 3.0), factory.seen("pan", 1.0, 3.0)])
    held = bank.snapshot()
    wanted = EventFilter(kinds=("entity_seen",), entities=("cup",))
    subscription, to_come = bank.subscribe(wanted, after_seq=after), bank.subscribe(wanted)
    assert [bank.nth_interaction(n, entity="cup").valid_time_s for n in (1, -1)] == [2.0, 2.0]
    bank.append([factory.event(EntityMerged("mug", "cup"), 4.0), factory.event(EntityMerged("cup", "tin"), 4.0)])
    bank.append([factory.seen("mug", 1.0, 5.0), factory.seen("tin", 1.0, 5.0)])
    for name in ("mug", "cup", "tin"):
        assert [bank.nth_interaction(n, entity=name).payload.entity for n in (1, 2, -1)] == ["mug", "cup", "cup"]
        assert bank.nth_interaction(3, entity=name) is None
        assert bank.nth_interaction(1, entity=name, robot="a", action="push").valid_time_s == 1.0
        found = bank.changes_since(after, wanted=EventFilter(kinds=("entity_seen",), entities=(name,)))
        assert [event.payload.entity for event in found] == ["mug", "cup", "mug", "tin"]
    assert [event.payload.entity for event in subscription.poll()] == ["mug", "cup", "mug", "tin"]
    assert [event.payload.entity for event in to_come.poll()] == ["mug", "tin"]
    assert held.nth_interaction(2, entity="cup") is None
    assert [event.payload.entity for event in held.changes_since(after, wanted=wanted)] == ["cup"]


@pytest.mark.parametrize("shift", range(4))
def test_the_border_of_a_polygon_belongs_to_it(shift):
    bent = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (2.0, 1.0), (0.0, 4.0))
    polygon = bent[shift:] + bent[:shift]
    check_polygon(polygon)
    check_polygon(polygon[::-1])
    for ring in (polygon, polygon[::-1]):
        assert all(inside_polygon(ring, x, y) for x, y in (*ring, (2.0, 0.5), (0.5, 2.0), (2.0, 0.0), (3.0, 2.5)))
        assert not any(inside_polygon(ring, x, y) for x, y in ((2.0, 1.5), (-0.1, 0.0), (4.1, 0.0), (2.0, 4.0)))


@pytest.mark.parametrize(
    "polygon",
    [
        ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)),
        ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0), (2.0, 1.0), (0.0, 1.0)),
        ((0.0, 0.0), (2.0, 0.0), (1.0, 0.0), (1.0, 1.0)),
        ((0.0, 0.0), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),
    ],
)
def test_a_polygon_that_touches_itself_is_refused(polygon):
    with pytest.raises(MemoryBankError, match="cross"):
        check_polygon(polygon)


def test_a_confidence_of_a_relation_is_kept_with_its_event(bank, factory):
    bank.append(factory.event(RelationSet("a", "near", "b", 0.25)))
    assert bank.history("a")[0].payload.confidence == 0.25


def crossing_edges(corners):
    """All pairs of edges that meet, found by looking at every pair."""
    return [(i, j) for i, j in combinations(range(len(corners)), 2) if places._cross(corners, i, j)]


@pytest.mark.parametrize("grid", [3, 8, 1_000, 10**9])
def test_the_fast_search_for_crossing_edges_finds_what_looking_at_every_pair_finds(grid):
    choose = random.Random(grid)
    crossing = 0
    for count in (3, 5, 13, 20, 40) * 20:
        corners = [(choose.randrange(grid) / grid, choose.randrange(grid) / grid) for _ in range(count)]
        if choose.random() < 0.5:
            corners.sort(key=lambda one: math.atan2(one[1] - 0.5, one[0] - 0.5))  # Mostly simple.
        expected = crossing_edges(corners)
        assert [pair for pair in places._meeting_edges(corners) if places._cross(corners, *pair)] == expected
        crossing += bool(expected)
    assert crossing > 10, "both kinds of polygons must occur"


def test_a_place_with_as_many_corners_as_allowed_is_checked_within_milliseconds():
    def around(k):
        return [(math.cos(2 * math.pi * i * k / 499), math.sin(2 * math.pi * i * k / 499)) for i in range(499)]

    check_polygon(around(1))  # Imports what is imported lazily.
    started_s = time.process_time()
    check_polygon(around(1))
    with pytest.raises(MemoryBankError, match="cross itself"):
        check_polygon(around(2))
    assert time.process_time() - started_s < 0.15  # Looking at every pair takes 0.3 s.


@pytest.mark.parametrize(("height_m", "place"), [(-0.02, "kitchen"), (0.0, "kitchen"), (-0.2, ""), (3.5, "")])
def test_what_stands_on_a_floor_is_in_the_room_though_it_is_measured_a_little_below(factory, height_m, place):
    with open_bank(":memory:") as bank:
        bank.append([factory.event(one) for one in home()])
        bank.append(factory.event(RobotReported(Pose((1.0, 1.0, height_m))), robot="panda"))
        assert bank.where_is("panda").place == place
        bank.append(factory.event(EntitySeen("shoe", "shoe", Pose((1.0, 1.0, 0.05)))))
        bank.append(factory.put("shoe", "in", "kitchen"))
        bank.append(factory.event(EntitySeen("shoe", "shoe", Pose((1.0, 1.0, height_m))), 1.0))
        assert bank.contents("kitchen") == (["shoe"] if place else [])


def test_a_ring_whose_first_corner_is_repeated_as_in_geojson_is_the_same_place(factory):
    ring = ((0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 1.0))
    with open_bank(":memory:") as bank:
        bank.append(factory.event(PlaceDefined("home", "site", polygon=(*ring, ring[0]))))
        bank.append([factory.seen("cup", 1.0), factory.seen("jug", 3.0)])
        assert (bank.where_is("cup").place, bank.where_is("jug").place) == ("home", "")
        bank.append(factory.moment())
        assert len(bank.recall(Query(region=[*ring, ring[0]]))) == 1
        for bad in ((ring[0],) * 2, (ring[0], ring[1], ring[0]), (*ring, ring[1], ring[0])):
            with pytest.raises(MemoryBankError):
                bank.append(factory.event(PlaceDefined("shed", "region", "home", polygon=bad)))
            factory.numbers["panda"] -= 1
