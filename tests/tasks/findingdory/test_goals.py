"""Every template has its literal answer in a day written by hand."""

from typing import Any

import pytest
from msgspec.structs import replace

from embodied.errors import DataError
from embodied.tasks.findingdory.facts import DayFacts
from embodied.tasks.findingdory.goals import goal_of
from embodied.tasks.findingdory.templates import TEMPLATES, Question
from tests.tasks.findingdory.story import INTERACTIONS, OBJECTS, RECEPTACLES, ROOMS, story

SHELF = "shelf_low shelf_high"
CASES: list[tuple[str, dict[str, Any], str]] = [  # The names of one target; of several, with commas between.
    ("recall_obj", {"category": "cup"}, "o1 o5"),
    ("recall_obj", {"category": "Mouse Pad"}, "o4"),
    ("recall_obj", {"category": "hat"}, ""),
    ("recall_rec", {"receptacle": "table"}, "desk table"),
    ("recall_rec", {"receptacle": "shelves"}, SHELF),
    ("obj_int", {}, "o1 o2 o3 o4"),
    ("obj_not", {}, "o5"),
    ("rec_int", {}, f"counter {SHELF} desk stool"),
    ("rec_pick", {}, f"counter {SHELF} desk"),
    ("rec_place", {}, f"{SHELF} desk stool counter"),
    ("rec_not", {}, "couch bench table"),
    ("cobj_int", {"category": "cup"}, "o1"),
    ("cobj_int", {"category": "second teapot"}, "o3"),
    ("cobj_not", {"category": "cup"}, "o5"),
    ("cobj_not", {"category": "book"}, ""),
    ("crec_not", {"receptacle": "table"}, "table"),
    ("crec_pick", {"receptacle": "table"}, "desk"),
    ("crec_pick", {"receptacle": "stool"}, ""),
    ("crec_place", {"receptacle": "stool"}, "stool"),
    ("obj_from_rec", {"receptacle": "counter"}, "o1 o3"),
    ("rec_of_obj", {"category": "mouse pad"}, "desk"),
    ("rec_of_obj", {"category": "first teapot"}, SHELF),
    ("attr_shape", {"attribute": "round"}, "o2 o3"),
    ("attr_color", {"attribute": "blue and black"}, "o4"),
    ("attr_color", {"attribute": "blue"}, "o2"),
    ("attr_color", {"attribute": "green"}, ""),
    ("attr_material", {"attribute": "ceramic"}, "o1 o3"),
    ("attr_function", {"attribute": "brewing tea"}, "o2 o3"),
    ("attr_print", {"attribute": "logo"}, "o3"),
    ("far_obj", {}, "o1"),
    ("far_rec_int", {}, "desk"),
    ("far_rec_pick", {}, "desk"),
    ("far_rec_place", {}, "desk"),
    ("far_rec_not", {}, "couch"),
    ("room_not", {}, "attic"),
    ("room_pick_nth", {"ordinal": 4}, "bedroom"),
    ("room_place_nth", {"ordinal": 3}, "bathroom"),
    ("room_place_nth", {"ordinal": 5}, ""),
    ("room_pick_obj", {"category": "mouse pad"}, "bedroom"),
    ("room_pick_obj", {"category": "teapot"}, "bedroom kitchen"),
    ("room_place_obj", {"category": "mouse pad"}, "kitchen"),
    ("nth_obj", {"ordinal": 2}, "o2"),
    ("nth_obj", {"ordinal": 5}, ""),
    ("nth_rec_pick", {"ordinal": 3}, "counter"),
    ("nth_rec_place", {"ordinal": 1}, SHELF),
    ("obj_nth_rec", {"ordinal": 3}, "o3"),
    ("rec_nth_obj", {"ordinal": 2}, SHELF),
    ("obj_after", {"category": "cup"}, "o2"),
    ("obj_after", {"category": "mouse pad"}, ""),
    ("obj_before", {"category": "second teapot"}, "o2"),
    ("obj_before", {"category": "cup"}, ""),
    ("obj_k_after", {"category": "cup", "k": 3}, "o4"),
    ("obj_k_before", {"category": "mouse pad", "k": 2}, "o2"),
    ("pick_after", {"category": "first teapot"}, "counter"),
    ("place_before", {"category": "mouse pad"}, "stool"),
    ("pick_k_after", {"category": "cup", "k": 3}, "desk"),
    ("place_k_before", {"category": "second teapot", "k": 2}, SHELF),
    ("obj_between", {"category": "cup", "other_category": "second teapot"}, "o2"),
    ("obj_between", {"category": "mouse pad", "other_category": "first teapot"}, "o3"),
    ("pick_between", {"category": "first teapot", "other_category": "mouse pad"}, "counter"),
    ("place_between", {"category": "first teapot", "other_category": "mouse pad"}, "stool"),
    ("obj_at_t", {"time": "6:30"}, "o2"),
    ("obj_at_t", {"time": "7:04"}, "o3"),
    ("obj_at_t", {"time": "7:05"}, ""),
    ("rec_at_t", {"time": "6:10"}, "counter"),
    ("rec_at_t", {"time": "6:15"}, ""),
    ("rec_at_t", {"time": "6:21"}, SHELF),
    ("rec_at_t", {"time": "6:35"}, "desk"),
    ("dur_short", {}, "o2"),
    ("dur_long", {}, "o3"),
    ("room_longest", {}, "kitchen"),
    ("all_obj", {}, "o1, o2, o3, o4"),
    ("all_rec", {}, f"counter, {SHELF}, desk, stool"),
    ("all_rec_pick", {}, f"counter, {SHELF}, desk"),
    ("all_rec_place", {}, f"{SHELF}, desk, stool, counter"),
    ("all_crec_pick", {"receptacle": "counter"}, "counter"),
    ("all_crec_place", {"receptacle": "shelves"}, SHELF),
    ("ord_obj", {"order": [3, 1]}, "o3, o1"),
    ("ord_rec_pick", {"order": [4, 2, 1]}, f"desk, {SHELF}, counter"),
    ("ord_rec_place", {"order": [4, 3]}, "counter, stool"),
    ("ord_rec_place", {"order": [1, 9]}, f"{SHELF}, "),
]


def targets(text: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(part.split()) for part in text.split(","))


@pytest.mark.parametrize(("slug", "slots", "expected"), CASES)
def test_the_goal_of_each_template_in_the_story(slug: str, slots: dict[str, Any], expected: str) -> None:
    goal = goal_of(Question(slug, slots), story())
    assert goal.targets == targets(expected)
    assert goal.mode == TEMPLATES[slug].goals
    assert goal.possible == all(targets(expected))


def test_the_story_asks_for_each_template_and_kinds_of_goals_fit_their_predicates() -> None:
    assert {slug for slug, _, _ in CASES} == set(TEMPLATES)
    kinds = {slug: goal_of(Question(slug, slots), story()).kind for slug, slots, _ in CASES}
    places = {slug for slug, kind in kinds.items() if kind == "receptacle"}
    rooms = {slug for slug, kind in kinds.items() if kind == "room"}
    assert rooms == {"room_not", "room_pick_nth", "room_place_nth", "room_pick_obj", "room_place_obj", "room_longest"}
    assert (len(rooms), len(places), len(kinds)) == (6, 30, 60)


def test_furniture_is_as_far_as_its_nearest_receptacle() -> None:
    # The shelf is 7 m and 5 m away, so that the desk at 6 m is farther; without the nearer board it is not.
    alone = tuple(replace(one, distance_m=7.0) if one.name == "shelf_high" else one for one in RECEPTACLES)
    facts = DayFacts(OBJECTS, alone, ROOMS, INTERACTIONS)
    assert goal_of(Question("far_rec_pick", {}), facts).targets == targets(SHELF)


def test_an_object_touched_twice_has_two_ordinals_and_is_revisited_once() -> None:
    again = replace(
        INTERACTIONS[0], pick_start_min=440.0, carry_start_min=441.0, place_start_min=445.0, place_end_min=446.0
    )
    facts = DayFacts(OBJECTS, RECEPTACLES, ROOMS, (*INTERACTIONS, again))
    assert goal_of(Question("nth_obj", {"ordinal": 5}), facts).targets == targets("o1")
    assert goal_of(Question("all_obj", {}), facts).targets == targets("o1, o2, o3, o4")
    assert goal_of(Question("obj_after", {"category": "mouse pad"}), facts).targets == targets("o1")


def test_a_day_without_interactions_has_goals_of_no_entity() -> None:
    facts = DayFacts(OBJECTS, RECEPTACLES, ROOMS, ())
    possible = {slug for slug, slots, _ in CASES if goal_of(Question(slug, slots), facts).possible}
    untouched = {"obj_not", "rec_not", "cobj_not", "crec_not", "far_rec_not"}
    assert possible == {"recall_obj", "recall_rec", "room_not", "room_longest", *untouched}
    assert goal_of(Question("obj_not", {}), facts).targets == targets("o1 o2 o3 o4 o5")


@pytest.mark.parametrize(
    "change",
    [
        {"objects": (*OBJECTS, OBJECTS[0])},
        {"rooms": (*ROOMS, ROOMS[0])},
        {"receptacles": RECEPTACLES[1:]},
        {"objects": OBJECTS[1:]},
        {"rooms": ROOMS[1:]},
        {"interactions": INTERACTIONS[::-1]},
        {"interactions": (replace(INTERACTIONS[0], place_end_min=float("nan")),)},
        {"objects": (*OBJECTS, replace(OBJECTS[0], name="o7", distance_m=-1.0))},
        {"objects": (*OBJECTS, replace(OBJECTS[0], name="o7", distance_m=float("nan")))},
    ],
)
def test_facts_that_do_not_fit_together_are_refused(change: dict[str, Any]) -> None:
    plain = {"objects": OBJECTS, "receptacles": RECEPTACLES, "rooms": ROOMS, "interactions": INTERACTIONS}
    with pytest.raises(DataError):
        DayFacts(**(plain | change))
