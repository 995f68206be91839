"""An oracle's day in a generated home: what it did is possible, what it saw is recorded, and a file gives it back."""

import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest

from embodied.archive import read_archive, write_archive
from embodied.errors import ConfigError, DataError
from embodied.geometry import rotation_matrix
from embodied.scenes.house import HouseConfig, make_house
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.findingdory.day import Day, carried_pose
from embodied.tasks.findingdory.day_archive import read_day, write_day
from embodied.tasks.findingdory.day_facts import facts_of
from embodied.tasks.findingdory.frame_answers import completed, valid_frames
from embodied.tasks.findingdory.goals import goal_of
from embodied.tasks.findingdory.home_map import HomeMap
from embodied.tasks.findingdory.image_coding import depth_at, rgb_at
from embodied.tasks.findingdory.metrics import high_level_success
from embodied.tasks.findingdory.oracle import DayConfig, live_day
from embodied.tasks.findingdory.predicates import Predicates
from embodied.tasks.findingdory.sampling import sample_questions
from embodied.tasks.findingdory.steps import (
    FORWARD,
    MANIPULATE,
    TURN_LEFT,
    TURN_RIGHT,
    clock_at,
    even_frames,
)
from embodied.tasks.findingdory.templates import TEMPLATES, Question
from embodied.tasks.findingdory.viewing import HomeView

HOUSE = HouseConfig(rooms=(4, 5), receptacles=(12, 15), objects=(20, 24))
CONFIG = DayConfig(interactions=(3, 3), frame_px=(120, 160))
SEED = 5
IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from tests.tasks.test_findingdory_day import lived, write_day
print(write_day(Path(sys.argv[1]), lived()))
"""


def lived():
    simulator = BulletConfig().build()
    try:
        return live_day(make_house(SEED, config=HOUSE), SEED, simulator, config=CONFIG)
    finally:
        simulator.close()


@pytest.fixture(scope="module")
def day():
    return lived()


@pytest.fixture(scope="module")
def home_map(day):
    return HomeMap(day.house)


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig().build()
    yield simulator
    simulator.close()


def shares(day: Day, step: int):
    return day.seen.shares_at(step)


def equal_days(one: Day, other: Day):
    for name in (field.name for field in fields(Day)):
        first, second = getattr(one, name), getattr(other, name)
        if isinstance(first, np.ndarray):
            assert first.dtype == second.dtype, name
            assert np.array_equal(first, second), name
        elif hasattr(first, "first"):
            assert (first.names, first.image_px) == (second.names, second.image_px)
            for column in ("first", "things", "pixels"):
                assert np.array_equal(getattr(first, column), getattr(second, column)), (name, column)
        elif hasattr(first, "coded"):
            assert (first.width_px, first.height_px, first.coded) == (second.width_px, second.height_px, second.coded)
        else:
            assert first == second, name


def test_every_step_is_what_its_action_does_and_touches_nothing(day, home_map):
    moved = np.diff(day.poses[:, :2], axis=0)
    turned = (np.diff(day.poses[:, 2]) + np.pi) % (2 * np.pi) - np.pi
    for action, by, turn in zip(day.actions[1:], moved, turned, strict=True):
        length = 0.25 if action == FORWARD else 0.0
        angle = {TURN_LEFT: 10.0, TURN_RIGHT: -10.0}.get(int(action), 0.0)
        assert np.hypot(*by) == pytest.approx(length, abs=1e-9)
        assert np.degrees(turn) == pytest.approx(angle, abs=1e-6)
    for pose, by in zip(day.poses[:-1], moved, strict=True):
        if by.any():
            assert by / 0.25 == pytest.approx([np.cos(pose[2]), np.sin(pose[2])], abs=1e-9)
    assert all(home_map.floor.contains(pose) for pose in day.poses)
    starts, ends = day.poses[:-1, :2], day.poses[1:, :2]
    assert home_map.floor.clearance.open_lines(starts, ends, 0.25 - 0.004).all()


def test_a_day_has_interactions_that_questions_can_distinguish(day):
    assert len(day.interactions) == 3
    assert 400 <= day.steps <= 3500
    durations = sorted(one.place_end - one.pick_start for one in day.interactions)
    assert np.diff(durations).min() >= 5
    objects = {one.name: one for one in day.house.objects}
    touched = [objects[one.object].category for one in day.interactions]
    assert len(set(touched)) == len(touched)
    kinds = Counter(one.category for one in day.house.objects)
    assert sum(kinds[category] > 1 for category in touched) >= 2
    assert len(set(range(len(day.house.rooms))) - set(day.rooms.tolist())) >= 1
    most = Counter(day.rooms.tolist()).most_common(2)
    assert most[0][1] - most[1][1] >= 10


def test_what_is_picked_and_placed_is_seen_from_where_predicates_hold(day, home_map):
    for one in day.interactions:
        for step, objects, receptacle in (
            (one.pick_start, day.object_poses(one.pick_start), one.source),
            (one.place_end, day.object_poses(one.place_end), one.destination),
        ):
            predicates = Predicates(home_map, objects)
            assert predicates.at_object(one.object, day.poses[step], shares(day, step)).holds
            assert predicates.at_receptacle(receptacle, day.poses[step], shares(day, step)).holds
        assert (day.modes[one.pick_start : one.carry_start] == MANIPULATE).all()
        still = day.poses[one.place_start : one.place_end + 1]
        assert (still == still[0]).all()


def test_objects_are_carried_before_the_base_and_rest_on_their_surfaces(day):
    surfaces = {surface.name: surface for one in day.house.receptacles for surface in one.surfaces}
    objects = {one.name: one for one in day.house.objects}
    for one in day.interactions:
        middle = (one.carry_start + one.place_start) // 2
        assert day.object_poses(middle)[one.object] == carried_pose(day.poses[middle])
        assert day.object_poses(one.carry_start - 1)[one.object] == day.initial_poses[one.object]
        assert day.object_poses(one.place_end)[one.object] == one.pose == day.final_poses[one.object]
        surface, size = surfaces[one.destination_surface], objects[one.object].size_m
        offset = np.subtract(one.pose.position_m, surface.pose.position_m)
        local = rotation_matrix(surface.pose.orientation).T @ offset
        assert (np.abs(local[:2]) + min(size[:2]) / 2 <= np.array(surface.size_m) / 2 + 1e-4).all()
        assert local[2] == pytest.approx(size[2] / 2, abs=0.002)
        for other, pose in day.final_poses.items():
            if other != one.object and np.hypot(*np.subtract(pose.position_m, one.pose.position_m)[:2]) < 0.03:
                assert abs(pose.position_m[2] - one.pose.position_m[2]) > size[2] / 2


def test_frames_show_every_pick_and_every_final_place(day, home_map):
    predicates = Predicates(home_map, day.final_poses)
    for one in day.interactions:
        assert ((day.frames >= one.pick_start) & (day.frames < one.carry_start)).any()
        tests = [
            predicates.at_object(one.object, day.poses[step], day.frame_seen.shares_at(number))
            for number, step in enumerate(day.frames.tolist())
            if one.place_start < step <= one.place_end
        ]
        assert any(test.holds for test in tests)


def test_the_farthest_things_from_the_end_are_farthest_by_a_margin(day, home_map):
    end = day.poses[-1]
    distances = home_map.receptacle_distances_m(end)
    for kind in ({one.source for one in day.interactions}, {one.destination for one in day.interactions}):
        ranked = sorted((distances[name] for name in kind), reverse=True)
        assert len(ranked) == 1 or ranked[0] - ranked[1] >= 0.25
    ranked = sorted((home_map.object_distance_m(end, one.pose) for one in day.interactions), reverse=True)
    assert ranked[0] - ranked[1] >= 0.25


def test_facts_of_a_day_allow_questions_of_nearly_all_templates(day, home_map):
    facts = facts_of(day, home_map)
    assert len(facts.objects) == len(day.house.objects)
    assert [one.object for one in facts.interactions] == [one.object for one in day.interactions]
    assert sum(room.steps for room in facts.rooms) == day.steps
    touched = {one.object: one for one in day.interactions}
    for one in facts.objects:
        assert one.receptacle == (touched[one.name].destination if one.name in touched else where(day, one.name))
        assert one.position_m == day.final_poses[one.name].position_m
        assert one.candidate or one.name not in touched
    assert not all(one.candidate for one in facts.objects)  # Nothing was seen in the room that was not entered.
    missing = set(TEMPLATES) - set(sample_questions(facts, 1))
    assert missing <= {"attr_print", "obj_between", "pick_between", "place_between", "all_crec_pick", "all_crec_place"}


def where(day, name):
    return next(one.receptacle for one in day.house.objects if one.name == name)


def test_what_was_recorded_is_what_a_simulator_renders_at_that_step(day, simulator):
    view = HomeView(day.house, simulator, CONFIG.image_px)
    one = day.interactions[0]
    for step in (0, one.carry_start + 3, one.place_end, day.steps - 1):
        image = view.image(day.poses[step], day.object_poses(step))
        assert view.counted(image) == day.seen.pixels_at(step)
        assert np.array_equal(rgb_at(day.rgb, step), image.rgb)
        assert np.abs(depth_at(day.depth, step) - image.depth_m).max() <= 0.00051
    for one in day.interactions:
        carried = [one.object in day.seen.pixels_at(step) for step in range(one.carry_start, one.place_start)]
        assert np.mean(carried) > 0.9


def test_a_day_is_read_back_exactly_and_written_to_the_same_bytes(day, tmp_path):
    path = tmp_path / "day.zip"
    digest = write_day(path, day)
    again = read_day(path)
    equal_days(day, again)
    assert write_day(tmp_path / "again.zip", again) == digest
    assert not again.poses.flags.writeable


def test_damaged_and_foreign_files_are_refused_by_name(day, tmp_path):
    path = tmp_path / "day.zip"
    write_day(path, day)
    header, arrays = read_archive(path)
    for what, changed in {
        "held": {**arrays, "held": np.zeros_like(arrays["held"])},
        "poses": {**arrays, "poses": arrays["poses"][:-1]},
        "rooms": {**arrays, "rooms": arrays["rooms"].astype(np.float64)},
        "images": {**arrays, "rgb.first": arrays["rgb.first"] + 1},
        "frames": {name: array for name, array in arrays.items() if name != "frames"},
        "pixels": {**arrays, "seen.pixels": -arrays["seen.pixels"]},
    }.items():
        write_archive(path, header, changed)
        with pytest.raises(DataError, match=r"day\.zip"):
            read_day(path)
        assert what
    other = msgspec.json.decode(header) | {"version": 99}
    write_archive(path, msgspec.json.encode(other), arrays)
    with pytest.raises(DataError, match="version 99"):
        read_day(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"day\.zip"):
        read_day(path)


def test_days_whose_parts_disagree_cannot_be_made(day):
    first, *rest = day.interactions
    for change in (
        {"interactions": (msgspec.structs.replace(first, place_end=first.carry_start), *rest)},
        {"interactions": (msgspec.structs.replace(first, source=first.destination), *rest)},
        {"interactions": tuple(rest)},
        {"frames": even_frames(day.steps - 1)},
        {"rooms": np.full(day.steps, 99, dtype=np.int16)},
        {"poses": np.full((day.steps, 3), np.nan)},
    ):
        with pytest.raises(DataError):
            replace(day, **change)


def test_clock_and_frames_are_those_of_the_benchmark():
    assert [clock_at(step) for step in (0, 30, 2000, 4000)] == ["6:00", "6:07", "14:00", "22:00"]
    assert even_frames(951).tolist() == list(range(0, 951, 10))
    assert len(even_frames(7)) == 96


def test_settings_that_cannot_be_are_refused():
    for settings in ({"interactions": (1, 5)}, {"interactions": (5, 4)}, {"steps": (50, 90)}, {"image_px": (4, 4)}):
        with pytest.raises(ConfigError):
            DayConfig(**settings)


@pytest.mark.proof
def test_another_process_lives_the_same_day(day, tmp_path):
    digest = write_day(tmp_path / "day.zip", day)
    found = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path / "other.zip")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split()[-1] == digest


@pytest.fixture(scope="module")
def asked(day, home_map):
    """Returns the facts of the day, and questions about what was seen in it."""
    facts = facts_of(day, home_map)
    return facts, sample_questions(facts, SEED)


def test_the_day_has_a_valid_question_of_every_template(day, home_map, asked):
    facts, questions = asked
    assert list(questions) == list(TEMPLATES)
    first = day.interactions[0]
    [target] = goal_of(questions["room_not"], facts).targets
    assert target == {room.name for at, room in enumerate(day.house.rooms) if at not in day.rooms}
    assert goal_of(Question("nth_obj", {"ordinal": 1}), facts).targets == (frozenset((first.object,)),)
    at = Question("obj_at_t", {"time": clock_at((first.carry_start + first.place_start) // 2)})
    assert goal_of(at, facts).targets == (frozenset((first.object,)),)
    moved = next(one for one in facts.objects if one.name == first.object)
    assert (moved.receptacle, moved.position_m) == (first.destination, first.pose.position_m)
    assert moved.distance_m == home_map.object_distance_m(day.poses[-1], first.pose)
    assert sum(room.steps for room in facts.rooms) == int((day.rooms >= 0).sum())


def test_frames_and_poses_answer_questions_as_predicates_say(day, home_map, asked):
    facts, questions = asked
    predicates = Predicates(home_map, day.final_poses)
    goals = [goal_of(question, facts) for question in questions.values()]
    frames = dict(zip(questions, valid_frames(predicates, day, goals), strict=True))
    # As in the official data: what was not touched or visited need not be near any sampled frame.
    unseen = {slug for slug, own in frames.items() if not all(own)}
    assert {"room_not"} <= unseen <= {"rec_not", "cobj_not", "crec_not", "far_rec_not", "room_not"}
    for slug, goal in zip(questions, goals, strict=True):
        answer = [min(own, default=0) for own in frames[slug]]
        images = [(day.poses[day.frames[frame]], day.frame_seen.shares_at(frame)) for frame in answer]
        found = [completed(predicates, goal, pose, image) for pose, image in images]
        ordered = questions[slug].template.goals == "ordered"
        success = high_level_success([one.hl for one in found], len(goal.targets), ordered=ordered)
        assert success == all(frames[slug]), slug
        assert all(one.hl <= one.dtg & one.sc for one in found)
    [last] = goals[-1:]
    away = completed(predicates, last, np.array([1e3, 1e3, 0.0]), {})
    assert not away.hl and not away.dtg and not away.sc
