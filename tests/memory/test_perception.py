"""Perception: what is seen is found where it is, and only what was looked for and seen empty is gone."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.geometry import Pose, points_from_depth, transform_points
from embodied.memory import AbsenceSeen, EntitySeen
from embodied.memory.perception import NAMED_RGB, InstanceTable, MaskLabel, PerceptionConfig, Watch, events_of, perceive
from embodied.memory.schema.checks import check_envelope, check_payload
from embodied.scenes.scene import Body, Box, Part, Sphere
from embodied.scenes.tabletop import ROBOT, TABLE_TOP_M, on_table, tabletop_scene
from embodied.simulators.bullet import BulletConfig
from launch.benchmarks.perception import CAMERAS, compare, most_pixels, random_scene, remove_one, worn

VISIBLE_PX = 10
FAR = Pose((5.0, 0.0, 0.1))  # Behind the front camera, out of every view.


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


def watch_of(scene):
    return Watch(InstanceTable.of_scene(scene), config=PerceptionConfig())


def look(simulator, watch, time_s, cameras=CAMERAS):
    return watch.update(simulator.observe(ROBOT, cameras).images, time_s=time_s)


def _cube(name, colour, x_m):
    part = Part(Box((0.04, 0.04, 0.04)), rgba=(*NAMED_RGB[colour], 1.0))
    return Body(name, (part,), on_table(x_m, 0.1, height_m=0.02), 0.1, category="toy")


def _covered(image, centre_m, radius_m):
    """Returns the image with unknown depth within `radius_m` of the vertical line over a point."""
    points_m = transform_points(image.world_from_camera, points_from_depth(image.depth_m, image.intrinsics))
    near = np.linalg.norm(points_m[..., :2] - centre_m, axis=-1) < radius_m
    return replace(image, depth_m=np.where(near, np.float32(0), image.depth_m))


class Nameless:
    """Knows the table and the robot, and that everything else is a toy, but not which one."""

    def __init__(self, scene):
        self._table = InstanceTable.of_scene(scene)

    def label(self, instance, images):
        known = self._table.label(instance, images)
        return None if known is None else MaskLabel("toy")


# --- Must show ---


def test_every_visible_thing_on_20_random_tables_is_found_within_a_centimetre(simulator):
    results = []
    for seed in range(20):
        scene = random_scene(seed, camera_px=128)
        simulator.reset(scene)
        images = simulator.observe(ROBOT, CAMERAS).images
        visible = [name for name, pixels in most_pixels(scene, images).items() if pixels >= VISIBLE_PX]
        results += compare(scene, perceive(images, InstanceTable.of_scene(scene), config=PerceptionConfig()), visible)
    assert len(results) > 60
    assert all(result.found for result in results)
    assert np.median([result.centre_m for result in results]) <= 0.001
    assert max(result.centre_m for result in results) <= 0.005
    assert max(result.yaw_rad for result in results if result.yaw_rad is not None) <= np.radians(0.5)
    assert not any(result.crossed for result in results)


def test_a_noisy_sensor_with_bleeding_masks_still_finds_everything_within_a_centimetre(simulator):
    for seed in range(5):
        scene = random_scene(seed, camera_px=128)
        simulator.reset(scene)
        images = worn(simulator.observe(ROBOT, CAMERAS).images, seed, noise_m=0.002)
        visible = [name for name, pixels in most_pixels(scene, images).items() if pixels >= VISIBLE_PX]
        seen = perceive(images, InstanceTable.of_scene(scene), config=PerceptionConfig())
        results = compare(scene, seen, visible)
        assert all(result.found and result.centre_m <= 0.01 for result in results)
        assert all(result.deviations <= 3.0 for result in results), "the covariance promises too much"


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
    scene = two_things()
    simulator.reset(scene)
    seen = {
        thing.entity: thing
        for thing in perceive(
            simulator.observe(ROBOT, CAMERAS).images, InstanceTable.of_scene(scene), config=PerceptionConfig()
        )
    }
    assert not seen["ball"].box.turned
    assert seen["ball"].box.pose.yaw_rad == 0.0
    assert seen["brick"].box.turned
    assert seen["ball"].covariance[35] > 100 * seen["brick"].covariance[35]


def test_a_single_view_is_trusted_less_than_three(simulator):
    scene = two_things()
    simulator.reset(scene)
    table = InstanceTable.of_scene(scene)
    one, three = (
        perceive(simulator.observe(ROBOT, cameras).images, table, config=PerceptionConfig())[0].covariance
        for cameras in (CAMERAS[:1], CAMERAS)
    )
    variances = [np.diag(np.reshape(values, (6, 6))) for values in (one, three)]
    assert (variances[0][:2] > 1.5 * variances[1][:2]).all()
    assert (variances[1] > 0).all()


def test_a_ball_seen_from_above_reaches_down_to_the_table(simulator):
    simulator.reset(two_things())
    watch = watch_of(two_things())
    look(simulator, watch, 0.0, ["left_shoulder"])
    ball = watch.remembered["ball"]
    assert ball.box.pose.position_m[2] == pytest.approx(TABLE_TOP_M + 0.03, abs=0.004)


def test_a_thing_held_just_above_the_table_does_not_reach_down_to_it(simulator):
    simulator.reset(two_things())
    watch = watch_of(two_things())
    look(simulator, watch, 0.0)
    held = on_table(0.2, -0.15, 0.5, height_m=0.05)  # 3 cm of free room under its 4 cm.
    simulator.teleport("brick", held)
    lifted = look(simulator, watch, 1.0)
    assert lifted.moved == ("brick",)
    brick = watch.remembered["brick"]
    assert brick.box.pose.position_m == pytest.approx(held.position_m, abs=0.004)


# --- Over time ---


def test_a_thing_seen_elsewhere_has_moved_and_is_not_gone(simulator):
    scene = two_things()
    simulator.reset(scene)
    watch = watch_of(scene)
    look(simulator, watch, 0.0)
    place = on_table(0.4, -0.2, 0.1, height_m=0.02)
    simulator.teleport("brick", place)
    after = look(simulator, watch, 1.0)
    assert after.moved == ("brick",)
    assert after.gone == ()
    assert watch.remembered["brick"].box.pose.position_m == pytest.approx(place.position_m, abs=0.003)


def test_what_stays_is_fused_over_views_and_instants_and_never_moves(simulator):
    scene = two_things()
    simulator.reset(scene)
    watch = watch_of(scene)
    looks = [look(simulator, watch, float(index), [CAMERAS[index % 3]]) for index in range(9)]
    assert all(one.moved == () and one.gone == () for one in looks)
    brick = watch.remembered["brick"]
    assert brick.cloud.views == PerceptionConfig().instants
    assert brick.box.pose.position_m == pytest.approx(scene.body("brick").pose.position_m, abs=0.003)
    assert brick.box.size_m == pytest.approx((0.08, 0.05, 0.04), abs=0.004)


def test_without_ids_a_thing_keeps_its_name_where_it_stays_and_where_its_old_place_is_seen_empty(simulator):
    scene = two_things()
    simulator.reset(scene)
    watch = Watch(Nameless(scene), config=PerceptionConfig())
    first = look(simulator, watch, 0.0)
    names = {thing.colour.name: thing.entity for thing in first.seen}
    assert set(names) == {"red", "blue"}
    assert len(set(names.values())) == 2
    again = look(simulator, watch, 1.0)
    assert {thing.colour.name: thing.entity for thing in again.seen} == names
    simulator.teleport("brick", on_table(0.4, -0.2, 0.1, height_m=0.02))
    moved = look(simulator, watch, 2.0)
    assert moved.moved == (names["red"],)
    assert moved.gone == ()
    assert {thing.colour.name: thing.entity for thing in moved.seen} == names


def test_without_ids_a_lookalike_is_a_second_thing_while_the_old_place_is_out_of_sight(simulator):
    scene = two_things()
    simulator.reset(scene)
    watch = Watch(Nameless(scene), config=PerceptionConfig())
    first = {thing.colour.name: thing.entity for thing in look(simulator, watch, 0.0).seen}
    simulator.teleport("brick", on_table(0.4, -0.2, 0.1, height_m=0.02))
    images = simulator.observe(ROBOT, CAMERAS).images
    x, y, _ = scene.body("brick").pose.position_m
    hidden = {camera: _covered(image, (x, y), 0.12) for camera, image in images.items()}
    second = watch.update(hidden, time_s=1.0)
    red = [thing.entity for thing in second.seen if thing.colour.name == "red"]
    assert len(red) == 1
    assert red[0] not in first.values()
    assert second.gone == ()


def test_without_ids_another_colour_in_the_same_place_is_another_thing(simulator):
    before = tabletop_scene("before", bodies=[_cube("one", "red", 0.2)], camera_px=128)
    after = tabletop_scene("after", bodies=[_cube("one", "blue", 0.2)], camera_px=128)
    watch = Watch(Nameless(before), config=PerceptionConfig())
    names = []
    for time_s, scene in enumerate((before, after)):
        simulator.reset(scene)
        names += [thing.entity for thing in look(simulator, watch, float(time_s)).seen]
    assert len(set(names)) == 2


def test_without_ids_lookalikes_side_by_side_keep_their_own_names(simulator):
    scene = tabletop_scene("twins", bodies=[_cube("one", "red", 0.20), _cube("two", "red", 0.245)], camera_px=128)
    simulator.reset(scene)
    watch = Watch(Nameless(scene), config=PerceptionConfig())
    first, second = (look(simulator, watch, float(index)) for index in range(2))
    places = [{thing.entity: thing.box.pose.position_m for thing in one.seen} for one in (first, second)]
    assert len(places[0]) == len(places[1]) == 2
    for name, place in places[0].items():
        assert places[1][name] == pytest.approx(place, abs=0.003)


@pytest.mark.parametrize("order", [("part", "whole"), ("whole", "part")])
def test_a_thing_of_which_only_a_part_is_seen_for_once_has_not_moved(simulator, order):
    scene = two_things()
    simulator.reset(scene)
    whole = simulator.observe(ROBOT, CAMERAS).images
    x, y, _ = scene.body("brick").pose.position_m
    views = {
        "whole": whole,
        "part": {name: _covered(image, (x + 0.04, y + 0.02), 0.05) for name, image in whole.items()},
    }
    alone = watch_of(scene).update(views["part"], time_s=0.0)
    sizes = {thing.entity: thing.box.size_m for thing in alone.seen}
    assert sizes["brick"][0] < 0.05, "the test must hide half of the brick"
    watch = watch_of(scene)
    looks = [watch.update(views[view], time_s=float(index)) for index, view in enumerate(order)]
    assert all(one.moved == () for one in looks)
    assert watch.remembered["brick"].box.size_m == pytest.approx((0.08, 0.05, 0.04), abs=0.003)


def test_the_same_looks_give_the_same_bits(simulator):
    scene = random_scene(3, camera_px=128)
    runs = []
    for _ in range(2):
        simulator.reset(scene)
        watch = watch_of(scene)
        looks = [look(simulator, watch, float(index)) for index in range(2)]
        runs.append([event for one in looks for event in events_of(one, writer="eyes", first_seq=1)])
    assert runs[0] == runs[1]


# --- What the bank records ---


def test_a_look_becomes_events_that_the_bank_takes(simulator):
    scene = two_things()
    simulator.reset(scene)
    watch = watch_of(scene)
    look(simulator, watch, 0.0)
    simulator.teleport("ball", FAR)
    events = events_of(look(simulator, watch, 2.5), writer="panda/eyes", first_seq=4, robot="panda", evidence="frame")
    for event in events:
        check_envelope(event)
        check_payload(event)
    assert [event.writer_seq for event in events] == [4, 5]
    assert {event.valid_time_s for event in events} == {2.5}
    seen, absent = (event.payload for event in events)
    assert isinstance(seen, EntitySeen)
    assert (seen.entity, seen.category, seen.labels, seen.evidence) == ("brick", "toy", ("red",), "frame")
    assert seen.size_m == pytest.approx((0.08, 0.05, 0.04), abs=0.003)
    assert isinstance(absent, AbsenceSeen)
    assert absent.entity == "ball"
    assert absent.visible_fraction >= 0.5
    assert "ball" not in watch.remembered
