"""Perception's parts, without a simulator: absence, clouds, boxes, colours, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import ConfigError, SceneError
from embodied.geometry import Pose, intrinsics_matrix, quaternion_from_yaw, transform_points
from embodied.memory.perception import (
    NAMED_RGB,
    InstanceTable,
    PerceptionConfig,
    UprightBox,
    Watch,
    perceive,
    visible_fraction,
)
from embodied.memory.perception.absence import absences
from embodied.memory.perception.boxes import fit_box, lowered
from embodied.memory.perception.clouds import Cloud, fuse, sound_pixels
from embodied.memory.perception.colours import lab_from_rgb, median_colour
from embodied.types import CameraImage

BOX = UprightBox(Pose((0.0, 0.0, 1.0)), (0.2, 0.2, 0.2))  # One metre ahead of the cameras of `wall`.


def wall(depth_m, *, instance=None):
    """Returns a camera at the origin that looks along +z at 64 x 64 depths."""
    depth = np.broadcast_to(np.asarray(depth_m, dtype=np.float32), (64, 64))
    mask = np.zeros((64, 64), np.int32) if instance is None else instance
    return CameraImage(np.zeros((64, 64, 3), np.uint8), depth, mask, intrinsics_matrix(64, 64, 0.7), np.eye(4))


# --- Absence ---


@pytest.mark.parametrize(
    ("depth_m", "share"),
    [(2.0, 1.0), (0.5, 0.0), (0.0, 0.0), (0.9, 0.0)],
    ids=["seen through", "hidden behind something nearer", "depth unknown", "its own front face"],
)
def test_only_space_that_is_seen_through_is_empty(depth_m, share):
    assert visible_fraction(BOX, {"camera": wall(depth_m)}) == share


def test_a_half_covered_place_counts_half():
    depth = np.where(np.arange(64) < 32, 0.5, 2.0)
    assert 0.4 <= visible_fraction(BOX, {"camera": wall(depth)}) <= 0.6


@pytest.mark.parametrize(("columns", "gone"), [(20, True), (36, False)])
def test_a_thing_is_gone_only_where_half_of_its_place_is_seen_empty(columns, gone):
    depth = np.where(np.arange(64) < columns, 0.5, 2.0)
    found = absences({"box": BOX}, {"camera": wall(depth)}, least=0.5)
    assert [absence.entity for absence in found] == (["box"] if gone else [])


def test_two_cameras_add_what_each_sees():
    left, right = np.where(np.arange(64) < 32, 0.5, 2.0), np.where(np.arange(64) < 32, 2.0, 0.5)
    assert visible_fraction(BOX, {"left": wall(left), "right": wall(right)}) == 1.0


@settings(max_examples=50, deadline=None)
@given(st.floats(-np.pi, np.pi), st.floats(0.3, 3.0), st.floats(-2.0, 2.0))
def test_nothing_behind_a_camera_or_beside_its_view_is_seen_empty(angle_rad, reach_m, height_m):
    x, z = reach_m * np.sin(angle_rad), reach_m * np.cos(angle_rad)
    away = UprightBox(Pose((x, height_m, z)), (0.05, 0.05, 0.05))
    outside = z < 0.05 or max(abs(x), abs(height_m)) - 0.05 > (z + 0.05) * np.tan(0.35)
    if outside:
        assert visible_fraction(away, {"camera": wall(100.0)}) == 0.0


# --- Clouds and boxes ---


def test_a_mask_that_bleeds_onto_the_background_loses_only_the_bled_rim():
    mask = np.zeros((64, 64), np.int32)
    mask[20:40, 20:41] = 7  # Column 40 lies behind.
    depth = np.full((64, 64), 2.0)
    depth[20:40, 20:40] = 1.0
    sound = sound_pixels(depth, mask, jump_m=np.full((64, 64), 0.02)) & (mask == 7)
    assert not sound[:, 40].any()
    assert sound[20:40, 20:40].all()


def test_flying_pixels_and_pixels_without_depth_are_left_out():
    mask = np.ones((64, 64), np.int32)
    depth = np.full((64, 64), 1.0)
    depth[10, 10], depth[30, 30] = 0.7, 0.0
    sound = sound_pixels(depth, mask, jump_m=np.full((64, 64), 0.02))
    assert not sound[10, 10]
    assert not sound[30, 30]
    assert np.count_nonzero(~sound) == 2


def test_a_stray_point_is_no_part_of_a_fused_cloud_and_views_are_counted():
    plane = np.stack([*np.meshgrid(np.linspace(0, 0.05, 20), np.linspace(0, 0.05, 20)), np.zeros((20, 20))], axis=-1)
    points = np.concatenate([plane.reshape(-1, 3), [[0.025, 0.025, 0.05]]])
    part = Cloud(points, np.full(points.shape, 0.5), np.zeros((0, 3)), len(points), 1, 0.001)
    fused = fuse([part, replace(part, pixels=9)], voxel_m=0.002)
    assert fused.points_m[:, 2].max() < 1e-9
    assert len(fused.points_m) <= len(plane.reshape(-1, 3))
    assert (fused.views, fused.pixels) == (2, len(points))


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


@pytest.mark.parametrize(("bottom_m", "height_m"), [(0.7, 0.4), (0.95, 0.2), (1.5, 0.2)])
def test_a_box_is_let_down_but_never_raised(bottom_m, height_m):
    box = lowered(BOX, bottom_m)
    assert box.size_m == pytest.approx((0.2, 0.2, height_m))
    assert box.pose.position_m[2] + height_m / 2 == pytest.approx(1.1)


# --- Colours ---


def test_lab_agrees_with_published_values():
    lab = lab_from_rgb(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]], atol=0.02)


@pytest.mark.parametrize("name", NAMED_RGB)
def test_a_known_colour_keeps_its_name_with_half_of_it_in_shade(name):
    lit = np.tile(NAMED_RGB[name], (10, 1))
    assert median_colour(np.concatenate([lit, 0.5 * lit])).name == name


# --- Refusals ---


def test_images_without_instances_are_refused():
    image = replace(wall(1.0), instance=None)
    with pytest.raises(SceneError, match="instance mask of camera 'front'"):
        perceive({"front": image}, InstanceTable({}), config=PerceptionConfig())


@pytest.mark.parametrize("wrong", [{"least_pixels": 0}, {"voxel_m": 0.0}, {"gone_fraction": 0.4}, {"instants": 0}])
def test_a_configuration_that_means_nothing_is_refused(wrong):
    with pytest.raises(ConfigError):
        Watch(InstanceTable({}), config=PerceptionConfig(**wrong))
