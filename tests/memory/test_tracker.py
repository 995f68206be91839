"""The tracker of things on drawn images: what a camera keeps of a scene while a robot stands before it."""

from itertools import count

import numpy as np
import pytest

from embodied.geometry import intrinsics_matrix
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
    reference = Reference(before.depth_m.ravel().copy(), before.rgb.reshape(-1, 3).copy(), label)
    ours = np.array([False, False, False, True])
    votes = Votes(SegmentedImage(now.image), reference, ours, np.array([False, False, True]))
    known_px = int((before.instance == TABLE).sum())
    assert votes.pixels_of(TABLE) == known_px
    assert votes.share_of_own(TABLE, TABLE) == (now.image.instance == TABLE).sum() / known_px < 1.0
    assert votes.pixels_of(THING) == (before.instance == THING).sum()
    assert votes.share_of_own(THING, THING) == 0.0
