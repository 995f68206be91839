"""Perception's parts, without a simulator: which pixels count, boxes, colours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.geometry import Pose, intrinsics_matrix, quaternion_from_yaw, transform_points
from embodied.memory.perception import NAMED_RGB, UprightBox
from embodied.memory.perception.boxes import contains, covers, fit_box, inside
from embodied.memory.perception.colours import lab_from_rgb, median_lab
from embodied.memory.perception.segments import SegmentedImage
from embodied.types import CameraImage


def shown(depth_m, mask, number, *, rgb=None):
    """Returns which pixels of a 64 x 64 camera show the thing of a mask; without `rgb` each mask has its own colour."""
    rgb = np.repeat((mask * 30).astype(np.uint8)[..., None], 3, axis=2) if rgb is None else rgb
    image = CameraImage(rgb, depth_m.astype(np.float32), mask, intrinsics_matrix(64, 64, 0.7), np.eye(4))
    sound = np.zeros(64 * 64, dtype=bool)
    sound[SegmentedImage(image).indices(number)] = True
    return sound.reshape(64, 64)


# --- Pixels ---


@pytest.mark.parametrize("beside_m", [2.0, 0.5], ids=["behind", "before"])
def test_a_mask_that_bleeds_onto_what_is_beside_it_loses_only_the_bled_rim(beside_m):
    mask = np.zeros((64, 64), np.int32)
    mask[20:30, 20:31] = 7  # Column 30 shows something else.
    depth_m = np.full((64, 64), beside_m)
    depth_m[20:30, 20:30] = 1.0
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[20:30, 20:30] = 200
    sound = shown(depth_m, mask, 7, rgb=rgb)
    assert not sound[:, 30].any()
    assert sound[20:30, 20:30].all()
    assert sound.sum() == 100


def test_the_narrow_side_of_a_block_that_is_seen_from_above_is_kept():
    mask = np.zeros((64, 64), np.int32)
    mask[20:31, 20:30] = 7  # The last row shows its side, 7 cm below its top, just above the table.
    depth_m = np.full((64, 64), 1.075)
    depth_m[20:30, 20:30], depth_m[30, 20:30] = 1.0, 1.07
    rgb = np.full((64, 64, 3), 120, np.uint8)
    rgb[20:30, 20:30], rgb[30, 20:30] = (40, 180, 60), (22, 98, 33)
    assert shown(depth_m, mask, 7, rgb=rgb).sum() == 110


@pytest.mark.parametrize(
    ("table", "side", "top"),
    [((130, 130, 130), (120, 120, 120), (122, 122, 122)), ((120, 120, 120), (22, 98, 33), (200, 0, 0))],
    ids=["like the table, and more like its top", "like neither"],
)
def test_a_side_of_a_block_is_bled_only_where_it_looks_like_the_table_and_less_like_the_top(table, side, top):
    mask = np.zeros((64, 64), np.int32)
    mask[20:31, 20:30] = 7
    depth_m = np.full((64, 64), 1.075)
    depth_m[20:30, 20:30], depth_m[30, 20:30] = 1.0, 1.07
    rgb = np.full((64, 64, 3), table, np.uint8)
    rgb[20:30, 20:30], rgb[30, 20:30] = top, side
    assert shown(depth_m, mask, 7, rgb=rgb).sum() == 110


def test_neighbours_on_a_rim_that_agree_on_a_depth_far_from_the_inside_are_left_out():
    mask = np.zeros((64, 64), np.int32)
    mask[20:30, 20:30] = 7
    depth_m = np.full((64, 64), 2.0)
    depth_m[20:30, 20:30] = 1.0
    depth_m[25:27, 29] = 0.85
    sound = shown(depth_m, mask, 7)
    assert not sound[25:27, 29].any()
    assert sound.sum() == 98


def test_a_narrow_part_of_a_mask_is_kept_though_it_has_no_inside():
    mask = np.zeros((64, 64), np.int32)
    mask[20:30, 20:30] = mask[25, 30:36] = 7
    assert shown(np.full((64, 64), 1.0), mask, 7).sum() == 106


@pytest.mark.parametrize("mixed_m", [1.0, 1.1, 0.7], ids=["as the inside", "off", "far off"])
def test_pixels_on_a_rim_that_mix_two_depths_are_left_out(mixed_m):
    mask = np.zeros((64, 64), np.int32)
    mask[20:30, 20:30] = 7
    depth_m = np.full((64, 64), 2.0)
    depth_m[20:30, 20:30] = 1.0
    depth_m[25, 29], depth_m[26, 29] = mixed_m, 1.0 + 2 * (mixed_m - 1.0)
    left_out = 0 if mixed_m == 1.0 else 2
    assert shown(depth_m, mask, 7).sum() == 100 - left_out


def test_pixels_without_depth_are_left_out():
    mask = np.zeros((64, 64), np.int32)
    mask[20:30, 20:30] = 7
    depth_m = np.full((64, 64), 1.0)
    depth_m[25, 25] = 0.0
    sound = shown(depth_m, mask, 7)
    assert not sound[25, 25]
    assert sound.sum() == 99


def test_a_mask_so_narrow_that_it_has_no_inside_is_kept_whole():
    mask = np.zeros((64, 64), np.int32)
    mask[20:22, 10:40] = 7
    assert shown(np.full((64, 64), 1.0), mask, 7).sum() == 60


# --- Boxes ---


@settings(max_examples=40, deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(0.03, 0.05), st.floats(0.06, 0.12), st.floats(0.03, 0.08))
def test_a_box_is_recovered_with_its_longer_side_along_x(yaw_rad, short_m, long_m, height_m):
    steps = np.linspace(-0.5, 0.5, 9)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    pose = Pose((0.3, -0.1, 0.8), quaternion_from_yaw(yaw_rad))
    box = fit_box(transform_points(pose.matrix, grid * (short_m, long_m, height_m)))
    assert box.turned
    assert box.size_m == pytest.approx((long_m, short_m, height_m), abs=5e-4)
    assert box.pose.position_m == pytest.approx(pose.position_m, abs=5e-4)
    assert abs(np.sin(box.pose.yaw_rad - yaw_rad - np.pi / 2)) <= np.sin(np.radians(0.2))
    assert abs(box.pose.yaw_rad) <= np.pi / 2 + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.floats(-1.5, 1.5), st.tuples(*[st.floats(-0.15, 0.15)] * 3))
def test_a_point_is_in_a_box_by_either_test(yaw_rad, offset_m):
    box = UprightBox(Pose((0.3, -0.1, 0.8), quaternion_from_yaw(yaw_rad)), (0.16, 0.06, 0.1))
    point_m = tuple(middle + shift for middle, shift in zip(box.pose.position_m, offset_m, strict=True))
    by_points = bool(inside(box, np.array([point_m]), margin_m=0.015)[0])
    assert contains(box, point_m, margin_m=0.015) == by_points
    assert covers(box, point_m, margin_m=0.015) >= by_points


# --- Colours ---


def test_lab_agrees_with_published_values():
    lab = lab_from_rgb(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]], atol=0.02)


@pytest.mark.parametrize("name", NAMED_RGB)
def test_a_known_colour_keeps_its_name_with_half_of_it_in_shade(name):
    lit = np.tile(NAMED_RGB[name], (10, 1))
    assert median_lab(lab_from_rgb(np.concatenate([lit, 0.5 * lit]))).name == name
