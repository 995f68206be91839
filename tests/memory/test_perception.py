"""Perception: what is seen is found where it is, and only what was looked for and seen empty is gone."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import SceneError
from embodied.geometry import points_from_depth, transform_points
from embodied.memory.perception import NAMED_RGB, ChangeKind
from embodied.scenes.scene import Body, Box, Part, Sphere
from embodied.scenes.tabletop import ROBOT, TABLE_TOP_M, on_table, tabletop_scene
from embodied.simulators.bullet import BulletConfig
from launch.benchmarks.perception.comparison import CAMERAS, TrackedTable, compare, matched, remove_one
from launch.benchmarks.perception.scenes import degraded_looks, most_pixels, random_scene

VISIBLE_PX = 10


@pytest.fixture(scope="module")
def simulator():
    built = BulletConfig().build()
    yield built
    built.close()


def two_things():
    brick = (Part(Box((0.08, 0.05, 0.04)), rgba=(*NAMED_RGB["red"], 1.0)),)
    ball = (Part(Sphere(0.03), rgba=(*NAMED_RGB["blue"], 1.0)),)
    placed = [
        Body("brick", brick, on_table(0.2, -0.15, 0.5, height_m=0.02), 0.1, category="toy"),
        Body("ball", ball, on_table(0.3, 0.15, height_m=0.03), 0.1, category="toy"),
    ]
    return tabletop_scene("two_things", bodies=placed, camera_px=128)


def table_of(simulator, scene):
    """Returns a tracker of a scene that has just been loaded."""
    simulator.reset(scene)
    return TrackedTable(simulator, scene, seed=3)


def names(table):
    """Returns the names of the things on the table by their colour."""
    found = {thing.measured.colour.name: thing.name for thing in table.known()}
    assert len(found) == len(table.known())
    return found


def kinds(changes, name):
    return {change.kind for change in changes if change.name == name}


def _cube(name, colour, x_m):
    part = Part(Box((0.04, 0.04, 0.04)), rgba=(*NAMED_RGB[colour], 1.0))
    return Body(name, (part,), on_table(x_m, 0.1, height_m=0.02), 0.1, category="toy")


def _covered(look, centre_m, radius_m):
    """Returns the look with unknown depth within `radius_m` of the vertical line over a point."""
    image = look.image
    points_m = transform_points(image.world_from_camera, points_from_depth(image.depth_m, image.intrinsics))
    near = np.linalg.norm(points_m[..., :2] - centre_m, axis=-1) < radius_m
    return replace(look, image=replace(image, depth_m=np.where(near, np.float32(0), image.depth_m)))


# --- Must show ---


def _compared(simulator, seed, *, noise_m=None):
    """Returns how each visible thing of a random table was perceived, and how many are believed that are not there."""
    scene = random_scene(seed, camera_px=128)
    table = table_of(simulator, scene)
    looks = table.looks()
    table.take_in(looks if noise_m is None else degraded_looks(looks, seed, noise_m=noise_m))
    images = simulator.observe(ROBOT, CAMERAS).images
    visible = [name for name, pixels in most_pixels(scene, images).items() if pixels >= VISIBLE_PX]
    surplus = len(table.known()) - len(matched(scene, table.known()))
    return compare(scene, table.known(), visible), surplus


def test_every_visible_thing_on_20_random_tables_is_found_within_a_centimetre(simulator):
    results = []
    for seed in range(20):
        found, surplus = _compared(simulator, seed)
        results += found
        assert surplus == 0
    assert len(results) > 60
    assert all(result.found for result in results)
    assert np.median([result.centre_m for result in results]) <= 0.001
    assert max(result.centre_m for result in results) <= 0.005
    yaws_rad = [result.yaw_rad for result in results if result.yaw_rad is not None]
    assert np.median(yaws_rad) <= np.radians(0.5)
    assert max(yaws_rad) <= np.radians(4.0)
    assert not any(result.crossed for result in results)
    assert sum(result.colour for result in results) >= 0.95 * len(results)


def test_a_noisy_sensor_with_bleeding_masks_still_finds_everything_within_15_mm(simulator):
    results = []
    for seed in range(10):
        found, surplus = _compared(simulator, seed, noise_m=0.002)
        results += found
        assert surplus == 0, "a bled mask must not become a thing"
    assert all(result.found for result in results)
    assert np.median([result.centre_m for result in results]) <= 0.005
    assert max(result.centre_m for result in results) <= 0.015


@pytest.mark.parametrize("seed", range(8))
def test_a_removed_thing_is_gone_once_looked_at_and_never_before(simulator, seed):
    scene = random_scene(seed, camera_px=128)
    simulator.reset(scene)
    missed = remove_one(simulator, scene, seed, visible_px=VISIBLE_PX)
    assert not missed.away, "declared gone though the camera looked away"
    assert not missed.covered, "declared gone though it was covered"
    assert missed.in_sight, "not declared gone though its place was in sight"
    assert missed.wrongly == 0, "another thing, which was there, was declared gone"


# --- Boxes ---


def test_a_round_outline_has_no_yaw(simulator):
    table = table_of(simulator, two_things())
    table.see(time_s=0.0)
    things = matched(two_things(), table.known())
    assert (things["ball"].box.turned, things["ball"].shape) == (False, "round")
    assert things["ball"].box.pose.yaw_rad == 0.0
    assert (things["brick"].box.turned, things["brick"].shape) == (True, "box")


def test_a_ball_seen_from_above_reaches_down_to_the_table(simulator):
    table = table_of(simulator, two_things())
    table.see(["front"], time_s=0.0)
    ball = matched(two_things(), table.known())["ball"]
    assert ball.box.pose.position_m[2] == pytest.approx(TABLE_TOP_M + 0.03, abs=0.004)


def test_a_thing_above_the_table_does_not_reach_down_to_it(simulator):
    table = table_of(simulator, two_things())
    table.see(time_s=0.0)
    brick = names(table)["red"]
    held = on_table(0.2, -0.15, 0.5, height_m=0.06)  # 4 cm of free room under its 4 cm.
    simulator.teleport("brick", held)
    assert ChangeKind.MOVED in kinds(table.see(time_s=1.0), brick)
    assert table.tracker.things[brick].box.pose.position_m == pytest.approx(held.position_m, abs=0.004)


# --- Over time ---


def test_a_thing_seen_elsewhere_has_moved_and_is_not_gone(simulator):
    table = table_of(simulator, two_things())
    table.see(time_s=0.0)
    before = names(table)
    place = on_table(0.4, -0.2, 0.1, height_m=0.02)
    simulator.teleport("brick", place)
    after = table.see(time_s=1.0)
    assert names(table) == before
    assert ChangeKind.MOVED in kinds(after, before["red"])
    assert ChangeKind.GONE not in {change.kind for change in after}
    assert table.tracker.things[before["red"]].box.pose.position_m == pytest.approx(place.position_m, abs=0.003)


def test_what_stays_keeps_its_name_and_its_size_and_never_moves(simulator):
    scene = two_things()
    table = table_of(simulator, scene)
    changes = [change for index in range(9) for change in table.see([CAMERAS[index % 3]], time_s=float(index))]
    assert {change.kind for change in changes} <= {ChangeKind.NEW, ChangeKind.REFINED, ChangeKind.CONFIRMED}
    assert sum(change.kind is ChangeKind.NEW for change in changes) == 3, "the table, the brick and the ball"
    brick = matched(scene, table.known())["brick"]
    assert brick.box.pose.position_m == pytest.approx(scene.body("brick").pose.position_m, abs=0.003)
    assert brick.box.size_m == pytest.approx((0.08, 0.05, 0.04), abs=0.004)


def test_a_lookalike_is_a_second_thing_while_the_old_place_is_out_of_sight(simulator):
    scene = two_things()
    table = table_of(simulator, scene)
    table.see(time_s=0.0)
    first = names(table)
    simulator.teleport("brick", on_table(0.4, -0.2, 0.1, height_m=0.02))
    x, y, _ = scene.body("brick").pose.position_m
    changes = table.take_in([_covered(look, (x, y), 0.12) for look in table.looks(time_s=1.0)])
    red = [thing.name for thing in table.known() if thing.measured.colour.name == "red"]
    assert len(red) == 2
    assert first["red"] in red
    assert ChangeKind.GONE not in {change.kind for change in changes}


def test_another_colour_in_the_same_place_is_another_thing(simulator):
    before = tabletop_scene("before", bodies=[_cube("one", "red", 0.2)], camera_px=128)
    after = tabletop_scene("after", bodies=[_cube("one", "blue", 0.2)], camera_px=128)
    table = table_of(simulator, before)
    table.see(time_s=0.0)
    red = names(table)
    simulator.reset(after)
    changes = table.see(time_s=1.0)
    assert names(table).keys() == {"blue"}
    assert names(table)["blue"] != red["red"]
    assert ChangeKind.GONE in kinds(changes, red["red"])


def test_lookalikes_side_by_side_keep_their_own_names(simulator):
    scene = tabletop_scene("pair", bodies=[_cube("one", "red", 0.20), _cube("two", "red", 0.245)], camera_px=128)
    table = table_of(simulator, scene)
    places = []
    for time_s in (0.0, 1.0):
        table.see(time_s=time_s)
        places.append({thing.name: thing.box.pose.position_m for thing in table.known()})
    assert len(places[0]) == len(places[1]) == 2
    for name, place in places[0].items():
        assert places[1][name] == pytest.approx(place, abs=0.003)


@pytest.mark.parametrize("order", [("part", "whole"), ("whole", "part")])
def test_a_thing_of_which_only_a_part_is_seen_for_once_is_known_whole(simulator, order):
    scene = two_things()
    x, y, _ = scene.body("brick").pose.position_m

    def looks(table, view, time_s):
        whole = table.looks(time_s=time_s)
        return whole if view == "whole" else [_covered(look, (x + 0.04, y + 0.02), 0.05) for look in whole]

    alone = table_of(simulator, scene)
    alone.take_in(looks(alone, "part", 0.0))
    (part,) = [thing for thing in alone.known() if thing.measured.colour.name == "red"]
    assert part.box.size_m[0] < 0.05, "the test must hide half of the brick"
    table = table_of(simulator, scene)
    changes = [change for index, view in enumerate(order) for change in table.take_in(looks(table, view, float(index)))]
    assert ChangeKind.GONE not in {change.kind for change in changes}
    assert sum(change.kind is ChangeKind.NEW for change in changes) == 3, "the table, the brick and the ball"
    brick = table.tracker.things[names(table)["red"]]
    assert brick.box.pose.position_m == pytest.approx(scene.body("brick").pose.position_m, abs=0.003)
    assert brick.box.size_m == pytest.approx((0.08, 0.05, 0.04), abs=0.004)


def test_the_same_looks_give_the_same_bits(simulator):
    scene = random_scene(3, camera_px=128)
    runs = []
    for _ in range(2):
        table = table_of(simulator, scene)
        changes = [table.see(time_s=float(index)) for index in range(2)]
        boxes = {name: (thing.box, thing.measured.colour) for name, thing in table.tracker.things.items()}
        runs.append((changes, boxes))
    assert runs[0] == runs[1]


def test_images_without_masks_are_refused(simulator):
    table = table_of(simulator, two_things())
    (look,) = table.looks(["front"])
    with pytest.raises(SceneError, match="segmentation of each image"):
        table.take_in([replace(look, image=replace(look.image, instance=None))])
