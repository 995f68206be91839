"""The predicates of FindingDory at their thresholds, in a flat of two rooms made by hand."""

import numpy as np
import pytest

from embodied.errors import UnknownNameError
from embodied.geometry import Pose
from embodied.scenes.house import Door, House, HouseObject, Receptacle, Room, Surface
from embodied.scenes.scene import Body, Box, Part, RobotPlacement, Scene
from embodied.tasks.findingdory.home_map import HomeMap
from embodied.tasks.findingdory.predicates import Predicates

SEEN = {"cup": 0.001, "table": 0.4, "shelf": 0.4}
CUP_M, SIZE_M = (1.0, 1.0, 0.74), (0.08, 0.08, 0.08)


def box(name, low_m, high_m, category=""):
    size, middle = np.subtract(high_m, low_m), np.add(low_m, high_m) / 2
    return Body(name, (Part(Box(tuple(size.tolist()))),), Pose(tuple(middle.tolist())), category=category)


def flat():
    """Returns a kitchen (x from 0 to 4) and a bedroom (4 to 8), 4 m deep, with a door near y = 3.4 between them.

    A table stands free in the kitchen; a shelf stands in the bedroom with its back to the wall between the rooms.
    """
    walls = (
        box("wall_0", (-0.1, -0.1, 0.0), (8.1, 0.0, 2.4)),
        box("wall_1", (-0.1, 4.0, 0.0), (8.1, 4.1, 2.4)),
        box("wall_2", (-0.1, 0.0, 0.0), (0.0, 4.0, 2.4)),
        box("wall_3", (8.0, 0.0, 0.0), (8.1, 4.0, 2.4)),
        box("wall_4", (3.95, 0.0, 0.0), (4.05, 2.9, 2.4)),
    )
    table = box("table", (0.6, 0.6, 0.0), (1.4, 1.4, 0.7), "table")
    shelf = box("shelf", (4.05, 0.8, 0.0), (4.35, 1.6, 1.0), "shelves")
    cup = Body("cup", (Part(Box(SIZE_M)),), Pose(CUP_M), mass_kg=0.2, graspable=True)
    robot = RobotPlacement("robot", "differential_base", Pose((2.0, 2.0, 0.0)))
    outlines = [((x, 0.0), (x + 4.0, 0.0), (x + 4.0, 4.0), (x, 4.0)) for x in (0.0, 4.0)]
    rooms = tuple(Room(name, name, outline) for name, outline in zip(("kitchen", "bedroom"), outlines, strict=True))
    return House(
        seed=0,
        split="test",
        scene=Scene("flat", (*walls, table, shelf, cup), robots=(robot,)),
        rooms=rooms,
        doors=(Door("door", ("kitchen", "bedroom"), (4.0, 3.45), 1.1, "y"),),
        receptacles=(
            Receptacle("table", "table", "kitchen", (Surface("table_a", Pose((1.0, 1.0, 0.7)), (0.8, 0.8), 1.0),)),
            Receptacle("shelf", "shelves", "bedroom", (Surface("shelf_a", Pose((4.2, 1.2, 1.0)), (0.3, 0.8), 1.0),)),
        ),
        objects=(
            HouseObject("cup", "cup_0", "cup", "round", "red", "clay", "drinking", "", SIZE_M, "table", "table_a"),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def home_map():
    return HomeMap(flat())


@pytest.fixture(scope="module")
def predicates(home_map):
    return Predicates(home_map, {"cup": Pose(CUP_M)})


def at(x, y, degrees=180.0):
    return np.array([x, y, np.radians(degrees)])


def test_an_object_is_near_within_two_metres_of_its_free_point(home_map, predicates):
    # The cup is measured at the free point nearest to it, 0.25 m off the table.
    x, y = home_map.standing_point(Pose(CUP_M))
    gap = max(abs(x - 1.0), abs(y - 1.0)) - 0.4
    assert gap == pytest.approx(0.25, abs=0.06)
    assert home_map.object_distance_m((x + 0.0, y), Pose(CUP_M)) == 0.0
    for far, near in ((1.95, True), (2.05, False)):
        angle = np.linspace(0, 2 * np.pi, 60)
        around = [(x + far * np.cos(one), y + far * np.sin(one)) for one in angle]
        straight = [
            p for p in around if home_map.floor.contains(p) and home_map.floor.open_lines((x, y), np.array([p]))[0]
        ]
        assert straight
        for point in straight:
            degrees = np.degrees(np.arctan2(1.0 - point[1], 1.0 - point[0]))
            assert predicates.at_object("cup", at(*point, degrees), SEEN).distance is near


def test_walls_make_near_things_far(predicates):
    # The shelf is seen from its own room alone, though its back is 0.1 m from the kitchen.
    assert not predicates.at_receptacle("shelf", at(3.65, 1.2, 0.0), SEEN).distance
    assert predicates.at_receptacle("shelf", at(4.9, 1.2, 180.0), SEEN).holds


@pytest.mark.parametrize(("degrees", "object_holds", "receptacle_holds"),
                         [(180, True, True), (136, True, True), (134, False, True), (91, False, True),
                          (89, False, False), (224, True, True), (226, False, True)])  # fmt: skip
def test_headings_are_those_of_the_base_towards_the_thing(predicates, degrees, object_holds, receptacle_holds):
    here = at(1.9, 1.0, degrees)
    assert predicates.at_object("cup", here, SEEN).angle is object_holds
    assert predicates.at_receptacle("table", here, SEEN).angle is receptacle_holds


def test_a_thing_must_cover_a_thousandth_of_the_image(predicates):
    here = at(1.9, 1.0)
    assert predicates.at_object("cup", here, {"cup": 0.001}).holds
    seen = predicates.at_object("cup", here, {"cup": 0.00099})
    assert (seen.holds, seen.holds_without_coverage, seen.holds_without_distance) == (False, True, False)
    assert not predicates.at_object("cup", here, {}).coverage


def test_receptacles_are_near_within_a_metre_and_a_tenth(home_map, predicates):
    for gap, near in ((0.95, True), (1.2, False)):
        assert predicates.at_receptacle("table", at(1.4 + gap, 1.0), SEEN).distance is near
    points = home_map.viewpoints["table"]
    gaps = np.linalg.norm(points - np.clip(points, 0.6, 1.4), axis=1)
    assert gaps.min() >= 0.249
    assert gaps.max() <= 1.0 + 1e-9
    assert len(points) > 60


def test_rooms_are_those_of_the_base(predicates):
    assert predicates.in_room("kitchen", at(3.9, 3.4))
    assert not predicates.in_room("kitchen", at(4.1, 3.4))
    assert predicates.in_room("bedroom", at(4.1, 3.4))


def test_unknown_names_and_blocked_poses(predicates):
    for test in (lambda: predicates.at_object("cap", at(2, 2), {}), lambda: predicates.in_room("attic", at(2, 2)),
                 lambda: predicates.at_receptacle("desk", at(2, 2), {})):  # fmt: skip
        with pytest.raises(UnknownNameError):
            test()
    assert not predicates.at_object("cup", at(1.0, 1.0), SEEN).distance
    assert not predicates.at_receptacle("table", at(1.45, 1.0), SEEN).distance


def test_distances_lead_through_the_door(home_map):
    start = (3.5, 1.2)
    through = home_map.receptacle_distances_m(start)["shelf"]
    assert 3.0 < through < 5.0
    assert home_map.receptacle_distances_m((4.9, 1.2))["shelf"] < 0.11
    # The nearest free point to the back of the shelf is in the kitchen, but what lies there is in the bedroom.
    assert home_map.object_distance_m(start, Pose((4.08, 1.2, 1.04))) > 3.0
