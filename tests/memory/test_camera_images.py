"""Images as cameras and drivers really give them: refused with a remedy, or understood, and never believed wrongly."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import SceneError
from embodied.memory.perception.looks import ChangeKind
from tests.memory.test_tracker import ABOVE_M, THING, drawn, see, thing_of, tracker


def changed(look, **parts):
    return replace(look, image=replace(look.image, **parts))


def millimetres(image):
    return (1000 * image.depth_m).astype(np.float32) + np.linspace(0, 50, image.depth_m.size).reshape(64, 64)


@pytest.mark.parametrize(
    ("part", "wrong", "remedy"),
    [
        ("depth_m", lambda image: (1000 * image.depth_m).astype(np.uint16), "Divide millimetres"),
        ("depth_m", millimetres, "Divide millimetres"),
        ("depth_m", lambda image: image.depth_m[..., None], "axis of channels"),
        ("rgb", lambda image: np.dstack([image.rgb, np.full((64, 64), 255, np.uint8)]), "alpha"),
        ("rgb", lambda image: (image.rgb / 255).astype(np.float32), "multiply"),
        ("rgb", lambda image: image.rgb[:32], "of the size of the depth"),
        ("rgb", lambda image: image.rgb[..., 0], "three channels"),
        ("instance", lambda image: None, "segment"),
        ("instance", lambda image: image.instance[:, :32], "segment"),
        ("intrinsics", lambda image: np.eye(3, 4), "fourth column"),
        ("intrinsics", lambda image: np.zeros((3, 3)), "focal"),
        ("world_from_camera", lambda image: np.diag([1.0, 1.0, -1.0, 1.0]), "reflection"),
        ("world_from_camera", lambda image: 2 * image.world_from_camera, "scale"),
        ("world_from_camera", lambda image: np.full((4, 4), np.nan), "4 x 4"),
        ("world_from_camera", lambda image: image.world_from_camera.T.copy(), "transpose"),
        ("world_from_camera", lambda image: image.world_from_camera.astype(np.float16), "4 x 4"),
        ("world_from_camera", lambda image: image.world_from_camera.tolist(), "array"),
        ("intrinsics", lambda image: image.intrinsics.T.copy(), "transpose or scale"),
        ("intrinsics", lambda image: image.intrinsics / image.intrinsics[0, 0], "transpose or scale"),
        ("intrinsics", lambda image: image.intrinsics + np.eye(3, k=1), "skew"),
        ("depth_m", lambda image: image.depth_m.tolist(), "array"),
        ("instance", lambda image: image.instance * np.int64(3_000_000_000), "Number them from 1"),
        ("instance", lambda image: np.arange(64 * 64).reshape(64, 64), "Merge the parts"),
    ],
)
def test_an_image_that_is_not_as_documented_is_refused_and_changes_nothing(part, wrong, remedy):
    known = tracker()
    see(known, drawn(0.0, thing="wedge"))
    before = thing_of(known).box
    look = drawn(1.0, thing="wedge")
    with pytest.raises(SceneError, match=remedy):
        known.look(changed(look, **{part: wrong(look.image)}))
    assert thing_of(known).box == before
    assert ChangeKind.CONFIRMED in see(known, drawn(2.0, thing="wedge")).values()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0, 65.535])
@pytest.mark.parametrize("rows", [slice(None), slice(0, 30), slice(20, 40)])
def test_pixels_without_a_return_say_nothing(value, rows):
    known = tracker()
    see(known, drawn(0.0, thing="wedge"))
    before = thing_of(known).box
    look = drawn(1.0, thing="wedge")
    depth_m = look.image.depth_m.copy()
    depth_m[rows] = value
    assert ChangeKind.GONE not in see(known, changed(look, depth_m=depth_m)).values()
    assert thing_of(known).box.size_m == pytest.approx(before.size_m, abs=0.005)
    assert not thing_of(known).lost


@pytest.mark.parametrize("patch", [65.535, np.inf, np.nan])
def test_a_patch_without_a_return_on_a_new_thing_does_not_stretch_it(patch):
    known, look = tracker(), drawn(0.0, thing="wedge")
    depth_m = look.image.depth_m.copy()
    rows, columns = np.nonzero(look.image.instance == THING)
    depth_m[rows[::3], columns[::3]] = patch
    see(known, changed(look, depth_m=depth_m))
    assert max(thing_of(known).box.size_m) < 0.3 * ABOVE_M


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32])
def test_masks_may_have_any_type_and_minus_one_for_the_background(kind):
    known, look = tracker(), drawn(0.0, thing="wedge")
    mask = look.image.instance.astype(kind)
    if kind is not np.uint8:
        mask[0] = -1
    assert len(see(known, changed(look, instance=mask))) == 2


def test_a_still_camera_may_change_its_resolution_and_its_zoom():
    known = tracker()
    see(known, drawn(0.0, thing="wedge"))
    before = thing_of(known).box
    look = drawn(1.0, thing="wedge")
    lens = look.image.intrinsics.copy()
    lens[:2] *= 2
    twice = {
        name: getattr(look.image, name).repeat(2, axis=0).repeat(2, axis=1) for name in ("depth_m", "instance", "rgb")
    }
    changes = see(known, changed(look, **twice, intrinsics=lens))
    assert ChangeKind.GONE not in changes.values()
    assert len(known.things) == 2
    assert thing_of(known).box.size_m == pytest.approx(before.size_m, abs=0.01)
    assert ChangeKind.CONFIRMED in see(known, drawn(2.0, thing="wedge")).values()


def test_a_still_camera_that_zooms_at_the_same_size_is_not_compared_with_its_earlier_pixels():
    known = tracker()
    see(known, drawn(0.0, thing="wedge"))
    before = thing_of(known).box
    changes = see(known, zoomed(drawn(1.0, thing="wedge"), 1.5))
    assert set(changes.values()) <= {ChangeKind.CONFIRMED, ChangeKind.REFINED}
    assert len(known.things) == 2
    assert thing_of(known).box.size_m == pytest.approx(before.size_m, abs=0.01)
    assert set(see(known, drawn(2.0, thing="wedge")).values()) <= {ChangeKind.CONFIRMED, ChangeKind.REFINED}


def zoomed(look, times):
    """The middle of a look, each of its pixels `times` times as wide and high, at the size of the look."""
    size, lens = look.image.depth_m.shape[0], look.image.intrinsics.copy()
    shown = ((np.arange(size) + 0.5 - size / 2) / times + size / 2).astype(int)
    lens[0, 0] *= times
    lens[1, 1] *= times
    return changed(
        look,
        **{name: getattr(look.image, name)[np.ix_(shown, shown)] for name in ("depth_m", "instance", "rgb")},
        intrinsics=lens,
    )
