"""Homes are valid by construction, equal in every process, and refuse settings that cannot be met."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embodied.errors import SceneError
from embodied.geometry import Pose, compose, matrices_from_poses, quaternion_from_yaw, transform_points
from embodied.scenes.house import CAMERA, RECEPTACLES, House, HouseConfig, Reach, Receptacle, Surface, make_house
from embodied.scenes.house.floor_plan import draw_floor_plan
from embodied.scenes.house.furniture import BUILDERS, furniture
from embodied.scenes.house.pieces import Style
from embodied.scenes.house.stocking import stock
from embodied.scenes.meshing import triangulate
from embodied.scenes.objects import object_model
from embodied.scenes.parts import bounds
from embodied.scenes.scene import Body, Box, Part
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.opengl import CameraView, OpenGLRenderer, Visual

ROOT = Path(__file__).parents[2]
SEEDS = range(30)


@pytest.fixture(scope="module")
def homes():
    return [make_house(seed) for seed in SEEDS]


def boxes(home, names):
    """Returns the boxes (N, 2, 3) in the world around what of the named bodies is solid or seen."""
    found = []
    for name in names:
        body = home.scene.body(name)
        low, high = bounds(body.parts)
        corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        placed = transform_points(body.pose.matrix, corners)
        found.append((placed.min(axis=0), placed.max(axis=0)))
    return np.array(found)


def fixed(home):
    return [body for body in home.scene.bodies if body.mass_kg == 0.0]


def overlapping(found, by_m):
    """Returns the pairs of boxes (N, 2, 3) that share more than `by_m` along every axis."""
    low, high = found[:, 0], found[:, 1]
    shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    pairs = np.argwhere((shared > by_m).all(axis=-1))
    return [(int(a), int(b)) for a, b in pairs if a < b]


def test_homes_have_the_promised_numbers_of_rooms_receptacles_and_objects(homes):
    for home in homes:
        assert 4 <= len(home.rooms) <= 9
        assert 12 <= len(home.receptacles) <= 30
        assert 20 <= len(home.objects) <= 40
        assert sum(len(body.parts) for body in home.scene.bodies) < 1000
        assert {one.category for one in home.receptacles} <= set(RECEPTACLES)
        assert {region.name for region in home.scene.regions} == {room.name for room in home.rooms}
    assert len(RECEPTACLES) == 16
    assert {one.category for home in homes for one in home.receptacles} == set(RECEPTACLES)
    assert len({one.category for home in homes for one in home.objects}) >= 30
    assert {len(home.rooms) for home in homes} == set(range(4, 10))
    assert all(any(len(one.surfaces) == 2 for one in home.receptacles) for home in homes[:10])
    assert all(max(Counter(one.category for one in home.receptacles).values()) >= 2 for home in homes)


def test_every_room_and_every_surface_can_be_reached_by_the_base(homes):
    for home in homes:
        reach = Reach(home.scene.bodies, home.rooms, 0.25)
        assert reach.unreached_rooms() == ()
        for one in home.receptacles:
            for surface in one.surfaces:
                assert reach.viewpoint(one.room, surface, 1.0) is not None, (home.seed, one.name)


def test_furniture_lies_within_its_footprint_and_carries_boards_that_are_free():
    style = Style(np.random.default_rng(0))
    for kind in BUILDERS:
        for _ in range(5):
            piece = furniture(kind, style)
            low, high = bounds(piece.parts)
            half = np.array(piece.footprint_m) / 2 + 1e-3
            assert (-half <= low[:2]).all(), kind
            assert (high[:2] <= half).all(), kind
            assert abs(low[2]) < 0.021, kind
            for board in piece.boards:
                middle, half = np.array(board.centre_m), np.array([*board.size_m, 0.0]) / 2
                above = np.array([middle - half, middle + half])
                above[1, 2] += board.clear_height_m
                solids = [np.array(bounds([part])) for part in piece.parts]
                assert not [one for one in solids if overlapping(np.array([above, one]), 2e-3)], kind
                assert any(abs(one[1][2] - middle[2]) < 0.011 for one in solids), kind


def test_nothing_overlaps_and_objects_rest_on_their_surfaces(homes):
    for home in homes:
        furniture = boxes(home, [body.name for body in home.scene.bodies if body.name.startswith("furniture")])
        assert overlapping(furniture, 1e-3) == []
        things = boxes(home, [one.name for one in home.objects])
        assert overlapping(things, 1e-3) == []
        surfaces = {surface.name: surface for one in home.receptacles for surface in one.surfaces}
        for one, (low, high) in zip(home.objects, things, strict=True):
            surface = surfaces[one.surface]
            assert 0.0 <= low[2] - surface.pose.position_m[2] <= 0.002
            assert high[2] - surface.pose.position_m[2] <= surface.clear_height_m
            reach = np.array(surface.size_m[:: -1 if abs(np.sin(surface.pose.yaw_rad)) > 0.5 else 1]) / 2 + 1e-3
            assert (np.abs((low + high) / 2 - surface.pose.position_m)[:2] <= reach).all()


def test_doors_join_rooms_and_two_rooms_have_a_single_door(homes):
    for home in homes:
        names = {room.name for room in home.rooms}
        assert all(set(door.rooms) <= names for door in home.doors)
        count = Counter(name for door in home.doors for name in door.rooms)
        assert sum(count[name] == 1 for name in names) >= 2
        floor = {region.name: region for region in home.scene.regions}
        for door in home.doors:
            (x, y), step = door.centre_m, ((0.0, 0.2) if door.axis == "x" else (0.2, 0.0))
            sides = [(x - step[0], y - step[1], 0.5), (x + step[0], y + step[1], 0.5)]
            assert {name for point in sides for name in names if floor[name].holds(point)} == set(door.rooms)


def test_many_floor_plans_have_two_rooms_with_a_single_door_and_no_narrow_rooms():
    drawn = 0
    for seed in range(400):
        try:
            plan = draw_floor_plan(np.random.default_rng(seed), 4 + seed % 3)
        except SceneError:
            continue
        drawn += 1
        count = Counter(name for door in plan.doors for name in door.rooms)
        assert sum(number == 1 for number in count.values()) >= 2
        assert set(count) == {room.name for room in plan.rooms}
        assert all(min(one.width, one.depth) > 1.7 for one in plan.rectangles)
    assert drawn > 200


def test_a_room_behind_a_blocked_door_is_not_reached():
    home = make_house(3)
    shell = [body for body in home.scene.bodies if body.category in ("floor", "wall")]
    name = next(one.name for one in home.rooms if sum(one.name in door.rooms for door in home.doors) == 1)
    door = next(door for door in home.doors if name in door.rooms)
    size = (door.width_m, 0.2, 1.0) if door.axis == "x" else (0.2, door.width_m, 1.0)
    blockade = Body("blockade", (Part(Box(size)),), Pose((*door.centre_m, 0.5)))
    assert Reach(shell, home.rooms, 0.25).unreached_rooms() == ()
    blocked = Reach([*shell, blockade], home.rooms, 0.25)
    assert blocked.unreached_rooms() == (name,)
    surface = Surface("top", Pose((*home.rooms[0].outline_m[0], 0.8)), (0.5, 0.5), 1.0)
    assert blocked.viewpoint(name, surface, 1.0) is None


def test_two_objects_of_a_category_never_share_a_receptacle():
    wide = Surface("top", Pose((0.0, 0.0, 0.8)), (2.0, 2.0), 1.0)
    models = [object_model("mug", "test", index) for index in range(2)]
    tables = [Receptacle(name, "table", "kitchen", (wide,)) for name in ("one", "other")]
    rng = np.random.default_rng(0)
    assert len(stock(rng, tables[:1], {"kitchen": "kitchen"}, models)) == 1
    assert {one.receptacle.name for one in stock(rng, tables, {"kitchen": "kitchen"}, models)} == {"one", "other"}


def test_each_object_is_seen_by_the_camera_of_the_robot_from_a_place_nearby(homes):
    home, renderer = homes[6], OpenGLRenderer()
    ids, camera, reach = home.scene.instance_ids(), home.scene.camera(CAMERA), Reach(fixed(home), home.rooms, 0.25)
    rooms = {one.name: one.room for one in home.receptacles}
    poses = matrices_from_poses([body.pose for body in home.scene.bodies])
    try:
        renderer.load(
            [
                Visual(node, transform_points(part.pose.matrix, mesh.vertices), mesh.faces, part.rgba, ids[body.name])
                for node, body in enumerate(home.scene.bodies)
                for part in body.parts
                if part.visible
                for mesh in [triangulate(part.shape)]
            ]
        )
        for one in home.objects:
            at = np.array(home.scene.body(one.name).pose.position_m[:2])
            places = reach.places(rooms[one.receptacle])
            places = places[np.linalg.norm(places - at, axis=1) < 1.5]
            pixels = []
            for x, y in places[:: max(1, len(places) // 10)]:
                base = Pose((x, y, 0.0), quaternion_from_yaw(float(np.arctan2(at[1] - y, at[0] - x))))
                pose = compose(base, camera.pose).matrix
                view = CameraView(CAMERA, camera.width_px, camera.height_px, camera.fov_y_rad, pose)
                pixels.append(int((renderer.render(poses, [view])[CAMERA].instance == ids[one.name]).sum()))
            assert max(pixels) > 0.001 * camera.width_px * camera.height_px, one
    finally:
        renderer.close()


def test_objects_have_untouched_twins_elsewhere(homes):
    for home in homes:
        by_category = {}
        for one in home.objects:
            by_category.setdefault(one.category, []).append(one)
        pairs = [same for same in by_category.values() if len(same) > 1]
        assert len(pairs) >= len(home.objects) // 4
        for first, second in pairs:
            assert first.receptacle != second.receptacle
            assert first.model != second.model


def test_names_of_objects_and_furniture_are_independent_of_what_they_are(homes):
    numbers = {}
    for home in homes:
        for one in (*home.objects, *home.receptacles):
            numbers.setdefault(one.category, []).append(int(one.name.rpartition("_")[2]))
    common = [values for values in numbers.values() if len(values) >= 15]
    assert len(common) > 30
    assert all(len(set(values)) > 5 for values in common)


def test_a_home_and_its_scene_survive_json(homes):
    for home in homes[:5]:
        assert House.from_json(home.to_json()) == home
        assert type(home.scene).from_json(home.scene.to_json()) == home.scene
    with pytest.raises(SceneError, match="well-formed JSON"):
        House.from_json('{"seed": 1}')


def test_a_home_is_the_same_in_another_process():
    script = "import hashlib; from embodied.scenes.house import make_house; "
    script += "print(hashlib.sha256(''.join(make_house(s).to_json() for s in (3, 4)).encode()).hexdigest())"
    texts = "".join(make_house(seed).to_json() for seed in (3, 4))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": "123"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(texts.encode()).hexdigest()


def test_splits_have_different_homes_and_models():
    homes = {split: make_house(0, split=split) for split in ("train", "validation", "test")}
    models = {split: {one.model for one in home.objects} for split, home in homes.items()}
    assert not models["train"] & models["test"]
    assert not models["train"] & models["validation"]
    assert not models["validation"] & models["test"]
    assert len({home.rooms for home in homes.values()}) == 3


def test_settings_are_met_or_refused():
    config = HouseConfig(rooms=(5, 5), receptacles=(14, 16), objects=(24, 24), image_px=(480, 640))
    home = make_house(2, config=config)
    assert len(home.rooms) == 5
    assert 14 <= len(home.receptacles) <= 16
    assert len(home.objects) == 24
    assert (home.scene.cameras[0].width_px, home.scene.cameras[0].height_px) == (480, 640)
    for settings in (
        {"rooms": (3, 9)},
        {"rooms": (6, 5)},
        {"receptacles": (12, 31)},
        {"objects": (20.0, 30)},
        {"base_radius_m": 0.5},
        {"viewpoint_m": 1.5},
        {"image_px": (0, 160)},
    ):
        with pytest.raises(SceneError, match=f"HouseConfig.{next(iter(settings))} must") as caught:
            HouseConfig(**settings)
        assert caught.value.remedy
        assert caught.value.value == next(iter(settings.values()))
    for seed, split in ((-1, "test"), (0, "holdout")):
        with pytest.raises(SceneError, match="must be"):
            make_house(seed, split=split)


def test_nothing_moves_in_physics(homes):
    simulator = BulletConfig().build()
    try:
        for home in homes[:3]:
            simulator.reset(home.scene)
            start = {name: np.array(pose.position_m) for name, pose in simulator.state().pose.items()}
            for _ in range(20):
                simulator.advance({})
            moved = {
                name: float(np.linalg.norm(np.array(pose.position_m) - start[name]))
                for name, pose in simulator.state().pose.items()
            }
            assert max(moved.values()) < 0.005, max(moved, key=lambda name: moved[name])
    finally:
        simulator.close()
