"""Frames of maps: what was recorded in a map moves with its placing, and what is in a map without one is nowhere."""

import math
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest

from embodied.errors import MemoryBankError
from embodied.geometry import Pose, quaternion_from_euler, quaternion_from_yaw
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    Event,
    LocationBelief,
    MapPlaced,
    MomentStored,
    Outbox,
    PlaceDefined,
    Query,
    Ranking,
    RelationSet,
    Retention,
    RetentionConfig,
    RobotRegistered,
    RobotReported,
    Situation,
    SkillSpec,
    Withdrawn,
    back_up,
    decode_event,
    describe,
    open_bank,
    open_read_only,
    rank,
)
from tests.memory.writers import CORNER, SQUARE, EventFactory, contents_of, unit

MAP = "panda/3"
QUARTER = quaternion_from_yaw(math.pi / 2)


@pytest.fixture
def write():
    return EventFactory()


@contextmanager
def opened(write, *payloads, url=":memory:"):
    with open_bank(url) as bank:
        for time_s, payload in enumerate(payloads, 1):
            log(bank, write, payload, float(time_s))
        yield bank


def log(bank, write, payload, time_s, **fields):
    robot = "panda" if isinstance(payload, RobotReported | MomentStored) else ""
    return bank.append(write.event(payload, time_s, robot=robot, **fields))[0]


def at(x, y=0.0, z=0.0, *, turned=None):
    return Pose((x, y, z), turned or Pose().orientation)


def cup(x, y=0.0, map_id=MAP):
    return EntitySeen("cup", "cup", at(x, y), map_id=map_id)


def place(x, y=0.0, *, turned=None, map_id=MAP):
    return MapPlaced(map_id, at(x, y, turned=turned))


def spot(belief):
    return tuple(round(value, 9) for value in belief.pose.position_m) if belief.pose else None


def test_a_thing_in_a_placed_map_is_answered_in_the_site_frame(write):
    with opened(write, place(10.0, turned=QUARTER), cup(1.0, 2.0)) as bank:
        found = bank.where_is("cup")
        assert spot(found) == (8.0, 1.0, 0.0)
        assert found.pose.yaw_rad == pytest.approx(math.pi / 2)
        assert (found.map_id, found.map_pose, found.seq) == ("", None, 2)
        assert bank.map_placing(MAP) == at(10.0, turned=QUARTER)
        assert bank.map_placing(MAP, as_of_s=0.5) is None


def test_a_map_may_be_placed_with_any_rotation_in_space(write):
    forward = quaternion_from_euler(-math.pi / 2, 0.0, -math.pi / 2)  # A camera's axes: z is forward in the site.
    with opened(write, MapPlaced(MAP, Pose((1.0, 0.0, 1.5), forward)), cup(0.0)) as bank:
        log(bank, write, EntitySeen("jug", "jug", at(0.5, 0.25, 2.0), map_id=MAP), 3.0)
        assert spot(bank.where_is("jug")) == (3.0, -0.5, 1.25)


def test_what_is_in_a_map_without_a_placing_has_no_pose_in_the_site_but_one_in_the_map(write):
    with opened(write, cup(1.0, 2.0)) as bank:
        assert bank.where_is("cup") == LocationBelief("cup", None, "", "", "", 1.0, 1.0, 1, 0, (), MAP, at(1.0, 2.0))


def test_a_new_placing_moves_all_that_was_recorded_in_the_map_and_no_earlier_answer(write):
    with opened(write, cup(1.0), place(10.0)) as bank:
        before = bank.snapshot()
        answers = repr([before.where_is("cup"), before.where_is("cup", as_of_s=1.5), before.history("cup")])
        log(bank, write, place(20.0), 5.0)
        assert spot(bank.where_is("cup")) == (21.0, 0.0, 0.0)
        assert spot(bank.where_is("cup", as_of_s=4.0)) == (11.0, 0.0, 0.0)
        assert bank.where_is("cup", as_of_s=1.5).map_id == MAP
        assert repr([before.where_is("cup"), before.where_is("cup", as_of_s=1.5), before.history("cup")]) == answers
        log(bank, write, place(30.0), 3.0, writer="panda/late")  # A correction from then on, until the next placing.
        assert [x_at(bank, time_s) for time_s in (2.5, 4.0, 6.0)] == [11.0, 31.0, 21.0]


def x_at(bank, time_s):
    return bank.where_is("cup", as_of_s=time_s).pose.position_m[0]


def test_a_withdrawn_placing_leaves_the_one_before_or_none(write):
    with opened(write, cup(1.0), place(10.0)) as bank:
        wrong = log(bank, write, place(20.0), 3.0)
        before = bank.snapshot()
        log(bank, write, Withdrawn((wrong,), "lost"), 4.0)
        assert spot(bank.where_is("cup")) == (11.0, 0.0, 0.0)
        assert spot(before.where_is("cup")) == (21.0, 0.0, 0.0)
        log(bank, write, Withdrawn((2,)), 5.0)
        assert bank.where_is("cup").map_pose == at(1.0)
        tables = contents_of(bank)
        bank.rebuild()
        assert contents_of(bank) == tables
        assert bank.verify().problems == ()


def test_a_thing_on_a_tray_moves_with_it_within_a_map_and_with_the_map(write):
    tray = [EntitySeen("tray", "tray", at(x), map_id=MAP) for x in (1.0, 4.0)]
    with opened(write, tray[0], RelationSet("cup", "on", "tray"), cup(1.0, 0.25), tray[1]) as bank:
        found = bank.where_is("cup")
        assert (found.pose, found.map_id, found.map_pose) == (None, MAP, at(4.0, 0.25))
        assert (found.parent, bank.contents("tray")) == ("tray", ["cup"])
        log(bank, write, place(0.0, 10.0), 9.0)
        assert spot(bank.where_is("cup")) == (4.0, 10.25, 0.0)


def test_what_came_to_a_holder_in_a_map_without_a_placing_has_left_its_old_pose(write):
    robot = RobotReported(at(5.0), tool=at(5.5), map_id=MAP)
    with opened(write, cup(1.0, map_id=""), robot, RelationSet("cup", "held_by", "panda")) as bank:
        found = bank.where_is("cup")
        assert (found.pose, found.map_id, found.map_pose) == (None, MAP, at(5.5))
        log(bank, write, place(10.0), 9.0)
        assert spot(bank.where_is("cup")) == (15.5, 0.0, 0.0)


def test_a_grasp_is_judged_across_maps(write):
    """The same place has other coordinates in the map: only where it is placed, the cup is out of the robot's grasp."""
    robot = RobotReported(at(5.0), tool=at(5.5), map_id=MAP)
    seen = EntitySeen("cup", "cup", at(5.5), size_m=(0.1, 0.1, 0.1))
    with opened(write, robot, RelationSet("cup", "held_by", "panda"), seen) as bank:
        assert bank.where_is("cup").parent == "panda"
        log(bank, write, place(10.0), 9.0)
        assert (bank.where_is("cup").parent, spot(bank.where_is("cup"))) == ("", (5.5, 0.0, 0.0))


def test_places_turn_and_shift_with_their_map(write):
    home, kitchen = PlaceDefined("home", "site", polygon=((-99.0, -99.0), (99.0, -99.0), (0.0, 99.0))), kitchen_in(MAP)
    with opened(write, home, kitchen, cup(1.0, 0.5), cup(1.0, 0.5, map_id="")) as bank:
        assert (bank.where_is("cup").place, bank.where_is("cup", as_of_s=3.5).place) == ("home", "kitchen")
        assert (bank.places()[1].polygon, bank.places()[1].map_id) == ((), MAP)
        log(bank, write, place(10.0, turned=QUARTER), 5.0)
        log(bank, write, EntitySeen("jug", "jug", at(9.5, 1.0)), 6.0)
        assert [bank.where_is(name).place for name in ("cup", "jug")] == ["home", "kitchen"]
        corners = [tuple(round(value, 9) for value in corner) for corner in bank.places()[1].polygon]
        assert corners == [(10.0, 0.0), (10.0, 2.0), (8.0, 2.0), (8.0, 0.0)]
        assert bank.places()[1].map_id == ""
        log(bank, write, RelationSet("jug", "in", "kitchen"), 7.0)
        assert bank.contents("kitchen") == ["jug"]
        log(bank, write, place(50.0), 8.0)
        assert (bank.where_is("jug").place, bank.where_is("jug").pose) == ("kitchen", None)


def kitchen_in(map_id):
    return PlaceDefined("kitchen", "region", "home", CORNER, map_id=map_id)


def test_a_tilted_map_has_no_ground_for_places_and_a_slight_tilt_raises_them(write):
    steep, slight = (quaternion_from_euler(0.0, -tilt, 0.0) for tilt in (0.2, 0.05))
    with opened(write, PlaceDefined("home", "site"), kitchen_in(MAP), MapPlaced(MAP, at(0.0, turned=steep))) as bank:
        assert (bank.places()[1].polygon, bank.places()[1].map_id) == ((), MAP)
        log(bank, write, MapPlaced(MAP, at(0.0, turned=slight)), 4.0)
        kitchen = bank.places()[1]
        assert (kitchen.bottom_m, kitchen.top_m) == pytest.approx((0.0, 3.0 + 2.0 * math.sin(0.05)), abs=0.01)


def test_the_map_of_a_place_in_an_event_of_schema_version_1_has_no_effect(write):
    with opened(write, PlaceDefined("home", "site")) as bank:
        old = msgspec.structs.replace(write.event(kitchen_in("old"), 2.0), schema_version=1)
        bank.append(old)
        assert (bank.places()[1].polygon, bank.places()[1].map_id) == (CORNER, "")
        log(bank, write, cup(1.0, 1.0, map_id=""), 3.0)
        assert bank.where_is("cup").place == "kitchen"


def test_robots_in_a_map_are_candidates_once_it_is_placed(write):
    robot = RobotRegistered("panda", "arm", (SkillSpec("pick"),), reach_m=1.0)
    with opened(write, robot, RobotReported(at(0.0), map_id=MAP)) as bank:
        assert bank.skill_candidates("pick", (10.5, 0.0, 0.0)) == []
        log(bank, write, place(10.0), 3.0)
        (found,) = bank.skill_candidates("pick", (10.5, 0.0, 0.0))
        assert found.distance_m == 0.5
        assert bank.skill_candidates("pick", (0.5, 0.0, 0.0)) == []


def moment(x, map_id=MAP, axis=0):
    return MomentStored("e", "m", unit(4, axis), (x, 0.5, 0.0), map_id=map_id)


def test_moments_are_recalled_by_where_their_map_lies(write):
    home, kitchen = PlaceDefined("home", "site"), kitchen_in("")
    with opened(write, home, kitchen, moment(1.0), moment(1.0, ""), moment(11.0, axis=1)) as bank:
        found = bank.recall(Query(region="kitchen"))
        assert [one.seq for one in found] == [4]
        everything = {one.seq: one for one in bank.recall(Query())}
        assert (everything[3].map_id, everything[3].map_position_m) == (MAP, (1.0, 0.5, 0.0))
        assert all(map(math.isnan, everything[3].moment.position_m))
        ranked = rank(list(everything.values()), Situation(time_s=4.0, position_m=(1.0, 0.5, 0.0)), Ranking())
        assert {one.recalled.seq: one.parts["place"] for one in ranked} == {3: 0.0, 4: 1.0, 5: 0.0}
        before = bank.snapshot()
        log(bank, write, place(-10.0), 9.0)
        found = bank.recall(Query(region="kitchen", embedding=np.eye(4, dtype="f4")[1], model_id="m"))
        assert {one.seq: one.moment.position_m for one in found} == {4: (1.0, 0.5, 0.0), 5: (1.0, 0.5, 0.0)}
        assert {one.seq: one.map_id for one in bank.recall(Query())} == {3: "", 4: "", 5: ""}
        assert [one.seq for one in before.recall(Query(region="kitchen"))] == [4]


def test_a_region_is_a_place_whose_map_is_placed(write):
    with opened(write, PlaceDefined("home", "site"), kitchen_in(MAP), moment(1.0)) as bank:
        with pytest.raises(MemoryBankError, match="map is placed level"):
            bank.recall(Query(region="kitchen"))
        log(bank, write, place(10.0), 4.0)
        assert [one.seq for one in bank.recall(Query(region="kitchen"))] == [3]
        assert bank.recall(Query(region=SQUARE)) == []


@pytest.mark.parametrize("writer", ["kuka", "kuka/panda", "site"])
def test_the_map_of_a_robot_is_placed_by_it_or_by_the_site(writer):
    with open_bank(":memory:") as bank:
        with pytest.raises(MemoryBankError, match="placed by that robot or by the site"):
            bank.append(Event(writer, 1, 0.0, place(1.0)))
        bank.append(Event("panda/maps", 1, 0.0, place(1.0)))
        bank.append(Event("site/desk", 1, 0.0, place(2.0)), as_site=True)
        bank.append(Event(writer, 1, 0.0, place(3.0, map_id="floor 2")))
        assert [bank.map_placing(name).position_m[0] for name in (MAP, "floor 2")] == [2.0, 3.0]
        with pytest.raises(MemoryBankError, match="must not be empty"):
            bank.append(Event(writer, 2, 0.0, place(3.0, map_id="")))


def test_retention_keeps_the_last_placing_of_each_map_and_keeps_maps_apart(write):
    """A sighting of the same coordinates in another map is another place."""
    seen = [cup(1.0, map_id=map_id) for map_id in ("", "", MAP, "", "")]
    with opened(write, place(10.0), place(20.0), place(5.0, map_id="plan"), *seen) as bank:
        for time_s in range(9, 12):
            log(bank, write, cup(1.0), float(time_s))
        answers = [bank.where_is("cup"), bank.map_placing(MAP), bank.map_placing("plan")]
        bank_before = [event.seq for event in bank.changes_since(0)]
        Retention(RetentionConfig(fresh_s=0.0, gap_s=100.0, observations=100)).apply(bank)
        assert [event.seq for event in bank.changes_since(0) if event.seq <= len(bank_before)] == [
            1, 2, 3, 4, 5, 6, 7, 8, 9, 11,
        ]  # fmt: skip
        Retention(RetentionConfig(fresh_s=0.0, observations=0)).apply(bank)
        assert [event.kind for event in bank.changes_since(0) if event.kind != "forgotten"] == [
            "map_placed", "map_placed", "entity_seen",
        ]  # fmt: skip
        assert [bank.where_is("cup"), bank.map_placing(MAP), bank.map_placing("plan")] == answers
        tables = contents_of(bank)
        bank.rebuild()
        assert contents_of(bank) == tables
        assert bank.verify().problems == ()


def test_clients_readers_backups_and_exports_have_maps_as_the_owner_has(write, tmp_path):
    url = f"sqlite:///{tmp_path / 'site.db'}"
    with opened(write, cup(1.0), place(10.0), moment(2.0, "other"), url=url) as bank:
        exported = [msgspec.json.encode(event) for event in bank.changes_since(0)]
        expected = bank.where_is("cup"), bank.where_is("cup", as_of_s=1.5), bank.map_placing(MAP)
        with open_read_only(url) as beside:
            assert (beside.where_is("cup"), beside.where_is("cup", as_of_s=1.5), beside.map_placing(MAP)) == expected
        back_up(tmp_path / "site.db", tmp_path / "copy.db")
    copy = open_bank(f"sqlite:///{tmp_path / 'copy.db'}")
    with BankService(copy) as service, BankClient(service, Outbox(None), writer="desk") as client:
        assert (client.where_is("cup"), client.where_is("cup", as_of_s=1.5), client.map_placing(MAP)) == expected
        assert [one.map_id for one in client.recall(Query())] == ["other"]
    events = [decode_event(line) for line in exported]
    with open_bank(":memory:") as again:
        again.append([msgspec.structs.replace(event, seq=0, received_time_s=0.0) for event in events])
        assert again.where_is("cup") == expected[0]


def test_timelines_name_the_map():
    assert describe(Event("panda", 1, 0.0, place(1.0, 2.0, turned=QUARTER))) == (
        "map panda/3 placed at (1.000, 2.000, 0.000) m, heading 90.0°"
    )
    assert describe(Event("panda", 1, 0.0, cup(1.0))) == "cup (cup) seen at (1.000, 0.000, 0.000) m in map panda/3"
