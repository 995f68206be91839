"""The tracker of things on drawn images: what a camera keeps of a scene while a robot stands before it."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from embodied.geometry import intrinsics_matrix, look_at
from embodied.memory.perception.looks import ChangeKind, Look, Reference, Votes
from embodied.memory.perception.segments import SegmentedImage
from embodied.memory.perception.tracker import SceneTracker
from embodied.types import CameraImage

SIDE_PX, ABOVE_M = 64, 1.0
LOOKING_DOWN = np.diag([1.0, -1.0, -1.0, 1.0])
LOOKING_DOWN[2, 3] = ABOVE_M
TABLE, THING, ROBOT = 1, 2, 3
RGB = {TABLE: (120, 120, 120), THING: (200, 20, 20), ROBOT: (240, 240, 240)}
HEIGHTS_M = {"mark": (0.002, 0.002), "wedge": (0.02, 0.04)}


def drawn(time_s, *, thing="", robot=False):
    """Returns a look from above at a table: a mark or a wedge 12 pixels wide on it, a robot 20 pixels wide over it."""
    mask = np.full((SIDE_PX, SIDE_PX), TABLE, np.int32)
    depth_m = np.full(mask.shape, ABOVE_M, np.float32)
    rgb = np.full((*mask.shape, 3), RGB[TABLE], np.uint8)
    own_m = []
    for number, half_px, heights_m in (
        *([(THING, 6, HEIGHTS_M[thing])] if thing else []),
        *([(ROBOT, 10, (0.4, 0.4))] if robot else []),
    ):
        part = np.s_[32 - half_px : 32 + half_px, 32 - half_px : 32 + half_px]
        mask[part], depth_m[part], rgb[part] = number, ABOVE_M - np.linspace(*heights_m, 2 * half_px), RGB[number]
    image = CameraImage(rgb, depth_m, mask, intrinsics_matrix(SIDE_PX, SIDE_PX, 0.8), LOOKING_DOWN)
    if robot:
        seen = SegmentedImage(image)
        own_m.append(seen.points_m(np.flatnonzero(seen.mask == ROBOT)))
    return Look("above", image, time_s, own_m)


def tracker():
    numbers = count()
    return SceneTracker(lambda kind: f"{kind}_{next(numbers)}")


def see(known, look):
    """Returns the kind of each change by name; the box of a new thing, seen from above, is extended to the table."""
    changes = known.look(look)
    for change in changes:
        if change.kind is ChangeKind.NEW:
            known.stand(known.things[change.name])
    return {change.name: change.kind for change in changes}


def thing_of(known):
    (thing,) = (one for one in known.things.values() if not one.measured.surface)
    return thing


def test_the_drawn_things_are_a_surface_and_a_mark_or_a_wedge():
    for thing, shape in (("mark", "flat"), ("wedge", "box")):
        known = tracker()
        assert set(see(known, drawn(0.0, thing=thing)).values()) == {ChangeKind.NEW}
        assert sorted(one.shape for one in known.things.values()) == sorted(["surface", shape])


@pytest.mark.parametrize("thing", ["mark", "wedge"])
def test_a_thing_behind_a_robot_is_neither_gone_nor_moved_and_is_confirmed_once_the_robot_has_left(thing):
    known = tracker()
    see(known, drawn(0.0, thing=thing))
    name = thing_of(known).name
    assert name not in see(known, drawn(1.0, thing=thing, robot=True))
    assert see(known, drawn(2.0, thing=thing))[name] is ChangeKind.CONFIRMED
    assert len(known.things) == 2


@pytest.mark.parametrize("thing", ["mark", "wedge"])
def test_a_thing_that_was_taken_away_behind_a_robot_is_gone_once_the_robot_has_left(thing):
    """Of a mark only the colour of its pixels shows that: the camera must keep which of them showed it."""
    known = tracker()
    see(known, drawn(0.0, thing=thing))
    name = thing_of(known).name
    see(known, drawn(1.0, thing=thing, robot=True))
    see(known, drawn(2.0, robot=True))
    assert see(known, drawn(3.0))[name] is ChangeKind.GONE
    assert thing_of(known).lost


@pytest.mark.parametrize("thing", ["mark", "wedge"])
def test_a_thing_that_appears_on_a_known_table_is_gone_once_it_is_taken_away(thing):
    known = tracker()
    see(known, drawn(0.0))
    see(known, drawn(1.0, thing=thing))
    name = thing_of(known).name
    assert see(known, drawn(2.0, thing=thing))[name] is ChangeKind.CONFIRMED
    assert see(known, drawn(3.0))[name] is ChangeKind.GONE


def test_pixels_of_a_thing_count_for_it_also_where_a_robot_hides_them():
    """How much of a thing a mask shows is a share of all that the camera knew of it."""
    before, now = drawn(0.0, thing="wedge").image, drawn(1.0, thing="wedge", robot=True)
    label = before.instance.ravel().astype(np.intp)
    reference = Reference.first(SegmentedImage(before), label, np.zeros(label.shape, dtype=bool))
    ours = np.array([False, False, False, True])
    votes = Votes(SegmentedImage(now.image), reference, ours, np.array([False, False, True]))
    known_px = int((before.instance == TABLE).sum())
    assert votes.pixels_of(TABLE) == known_px
    assert votes.share_of_own(TABLE, TABLE) == (now.image.instance == TABLE).sum() / known_px < 1.0
    assert votes.pixels_of(THING) == (before.instance == THING).sum()
    assert votes.share_of_own(THING, THING) == 0.0


# --- Places decide before looks do, and small steps add up ---

CUBE_RGB = (200, 30, 30)
EYES_M = {"front": (0.6, 0.0, 0.5), "left": (0.0, 0.7, 0.5), "back": (-0.4, -0.4, 0.6)}


def cube_at(x_m, y_m=0.0, *, camera="front", size_m=(0.05, 0.05, 0.05), rgb=CUBE_RGB):
    """Returns an image of a box on a table, ray by ray."""
    height, width = 240, 320
    intrinsics, pose = intrinsics_matrix(width, height, 1.0), look_at(EYES_M[camera], (0.0, 0.0, 0.0)).matrix
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ahead = [(column - intrinsics[0, 2]) / intrinsics[0, 0], (row - intrinsics[1, 2]) / intrinsics[1, 1]]
    rays = np.stack([*ahead, np.ones_like(column)], axis=-1) @ pose[:3, :3].T
    origin, half = pose[:3, 3], np.divide(size_m, 2)
    with np.errstate(divide="ignore"):
        table = -origin[2] / rays[..., 2]
        near, far = ((np.array([x_m, y_m, half[2]]) + side * half - origin) / rays for side in (-1.0, 1.0))
    enter, leave = np.minimum(near, far).max(axis=-1), np.maximum(near, far).min(axis=-1)
    on_table, on_cube = (table > 0) & (table < 3.0), (enter < leave) & (enter > 0)
    depth_m = np.where(on_cube, enter, np.where(on_table, table, 0.0)).astype(np.float32)
    mask = np.where(on_cube, THING, np.where(on_table, TABLE, 0)).astype(np.int32)
    colours = np.zeros((*mask.shape, 3), np.uint8)
    colours[mask == TABLE], colours[mask == THING] = (150, 140, 130), rgb
    return CameraImage(colours, depth_m, mask, intrinsics, pose)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize(
    "changed",
    [
        lambda rgb: (rgb * 0.4).astype(np.uint8),
        lambda rgb: (rgb * 0.1).astype(np.uint8),
        lambda rgb: np.ascontiguousarray(rgb[..., ::-1]),
        lambda rgb: np.clip(rgb * np.array([1.2, 1.0, 0.6]), 0, 255).astype(np.uint8),
    ],
)
def test_a_lamp_or_a_camera_that_swaps_its_channels_makes_no_second_thing(changed, still):
    known, image, kinds = tracker(), cube_at(0.0), []
    for turn, light in enumerate((False, True, True, False)):
        shown = replace(image, rgb=changed(image.rgb)) if light else image
        kinds.append(see(known, Look("front", shown, float(turn), [], still=still)))
    assert len(known.things) == 2
    assert set(kinds[0].values()) == {ChangeKind.NEW}
    assert {kind for one in kinds[1:] for kind in one.values()} == {ChangeKind.CONFIRMED}


def test_another_camera_knows_a_thing_whose_colours_were_learned_in_the_dark():
    known = tracker()
    for time_s, camera, light in ((0.0, "front", 1.0), (1.0, "front", 0.15), (2.0, "left", 0.15), (3.0, "back", 0.15)):
        image = cube_at(0.0, camera=camera)
        see(known, Look(camera, replace(image, rgb=(image.rgb * light).astype(np.uint8)), time_s, []))
    assert len(known.things) == 2
    assert not thing_of(known).lost


def test_another_colour_in_the_same_light_is_another_thing():
    known = tracker()
    see(known, Look("front", cube_at(0.0), 0.0, []))
    see(known, Look("front", cube_at(0.0, rgb=(30, 40, 200)), 1.0, []))
    assert [thing.lost for thing in known.things.values() if not thing.measured.surface] == [True, False]


def test_the_category_of_a_thing_is_the_one_that_most_looks_give_it():
    known = tracker()
    for time_s, category in enumerate(("mug", "cup", "cup", "mug", "cup")):
        see(known, Look("front", cube_at(0.0), float(time_s), [], given={THING: ("", category)}))
    assert len(known.things) == 2
    assert thing_of(known).category == "cup"


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("cameras", [("front",), tuple(EYES_M)])
@pytest.mark.parametrize("step_m", [0.002, 0.004])
def test_a_thing_that_is_pushed_in_small_steps_has_moved_and_does_not_grow(step_m, cameras, still):
    known, steps, kinds = tracker(), round(0.04 / step_m), set()
    for turn in range(steps + 1):
        camera = cameras[turn % len(cameras)]
        look = Look(camera, cube_at(step_m * turn, camera=camera), float(turn), [], still=still)
        kinds.add(see(known, look).get("object_1"))
        thing = thing_of(known)
        assert max(thing.box.size_m[:2]) < 0.055 + 2 * step_m
        assert thing.box.pose.position_m[0] == pytest.approx(step_m * turn, abs=0.008 + 2 * step_m)
    assert ChangeKind.MOVED in kinds
    assert len(known.things) == 2


def test_a_long_thing_that_is_pushed_lengthwise_has_moved():
    known, kinds = tracker(), set()
    for turn in range(61):
        look = Look("front", cube_at(0.001 * turn, size_m=(0.3, 0.06, 0.04)), float(turn), [])
        kinds.add(see(known, look).get("object_1"))
    assert ChangeKind.MOVED in kinds
    assert thing_of(known).box.size_m[0] < 0.33
    assert thing_of(known).box.pose.position_m[0] == pytest.approx(0.06, abs=0.015)
