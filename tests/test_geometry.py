"""Rotations, poses and cameras agree with each other, and with scipy-free first principles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied import geometry as g
from embodied.errors import PoseError, SceneError

angles = st.floats(-math.pi, math.pi)
lengths = st.floats(-5.0, 5.0)
quaternions = st.builds(g.quaternion_from_euler, angles, st.floats(-1.5, 1.5), angles)
poses = st.builds(g.Pose, st.tuples(lengths, lengths, lengths), quaternions)


@given(quaternions)
def test_a_rotation_survives_the_way_through_a_matrix(orientation):
    rotation = g.rotation_matrix(orientation)
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert g.rotation_matrix(g.quaternion_from_matrix(rotation)) == pytest.approx(rotation, abs=1e-9)


@given(angles, st.floats(-1.5, 1.5), angles)
def test_euler_angles_turn_about_fixed_axes_in_the_order_x_y_z(roll, pitch, yaw):
    def about(axis, angle):
        return g.rotation_matrix(g.quaternion_from_axis_angle(np.eye(3)[axis] * angle))

    expected = about(2, yaw) @ about(1, pitch) @ about(0, roll)
    assert g.rotation_matrix(g.quaternion_from_euler(roll, pitch, yaw)) == pytest.approx(expected, abs=1e-9)


@given(poses, poses, st.tuples(lengths, lengths, lengths))
def test_composing_poses_is_multiplying_their_matrices(left, right, point):
    both = g.compose(left, right)
    assert both.matrix == pytest.approx(left.matrix @ right.matrix, abs=1e-9)
    moved = g.transform_points(both.matrix, np.array(point))
    assert moved == pytest.approx(g.transform_points(left.matrix, g.transform_points(right.matrix, np.array(point))))


@given(poses)
def test_a_pose_and_its_inverse_cancel(pose):
    assert g.compose(pose, g.invert(pose)).matrix == pytest.approx(np.eye(4), abs=1e-9)
    assert g.pose_from_matrix(pose.matrix).matrix == pytest.approx(pose.matrix, abs=1e-9)


@given(angles)
def test_the_yaw_of_a_turn_about_z_is_its_angle(angle):
    yaw = g.Pose(orientation=g.quaternion_from_yaw(angle)).yaw_rad
    assert math.cos(yaw - angle) == pytest.approx(1.0)
    assert g.angle_between(g.quaternion_from_yaw(angle), g.quaternion_from_yaw(0.0)) == pytest.approx(
        abs(angle), abs=1e-6
    )


def test_a_camera_looks_along_z_with_x_to_the_right_and_y_down():
    matrix = g.look_at((0.0, -2.0, 1.0), (0.0, 0.0, 1.0)).matrix
    assert matrix[:3, 2] == pytest.approx((0.0, 1.0, 0.0))
    assert matrix[:3, 0] == pytest.approx((1.0, 0.0, 0.0))
    assert matrix[:3, 1] == pytest.approx((0.0, 0.0, -1.0))


def test_a_camera_that_looks_along_its_up_axis_is_refused():
    with pytest.raises(SceneError, match="up"):
        g.look_at((0.0, 0.0, 1.0), (0.0, 0.0, 0.0))


@given(st.integers(0, 63), st.integers(0, 47), st.floats(0.1, 9.0))
def test_a_pixel_and_its_depth_give_back_the_point_that_projects_there(column, row, depth):
    intrinsics = g.intrinsics_matrix(64, 48, 0.8)
    point = g.points_from_depth(np.full((48, 64), depth), intrinsics)[row, column]
    u, v, w = intrinsics @ point
    assert (u / w, v / w) == pytest.approx((column + 0.5, row + 0.5))
    assert point[2] == pytest.approx(depth)


@pytest.mark.parametrize(
    ("position", "orientation"),
    [((math.nan, 0, 0), (0, 0, 0, 1)), ((0, 0, math.inf), (0, 0, 0, 1)), ((0, 0, 0), (0, 0, 0, 1.1))],
)
def test_a_pose_that_is_not_finite_or_not_unit_is_refused(position, orientation):
    with pytest.raises(SceneError, match=r"finite|unit"):
        g.Pose(position, orientation)


@given(poses, st.tuples(*[st.floats(0.1, 2.0)] * 3), st.tuples(*[st.floats(-0.99, 0.99)] * 3))
def test_a_point_is_inside_a_box_where_its_local_coordinates_say_so(box, size, share):
    inside = g.transform_points(box.matrix, np.array(share) * size / 2)
    assert g.inside_box(inside, box, size)
    outside = g.transform_points(box.matrix, np.array([size[0] / 2 + 0.01, 0.0, 0.0]))
    assert not g.inside_box(outside, box, size)


@given(poses, poses, st.tuples(*[st.floats(0.1, 2.0)] * 3), st.tuples(*[st.floats(0.1, 2.0)] * 3))
def test_boxes_overlap_exactly_where_no_direction_separates_them(left, right, left_size, right_size):
    overlap = g.boxes_overlap(left, left_size, right, right_size)
    assert overlap == g.boxes_overlap(right, right_size, left, left_size)
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 7)] * 3), axis=-1).reshape(-1, 3)
    points = g.transform_points(left.matrix, grid * left_size)
    if any(g.inside_box(point, right, right_size) for point in points):
        assert overlap
    if (
        np.linalg.norm(np.subtract(left.position_m, right.position_m))
        > (np.linalg.norm(left_size) + np.linalg.norm(right_size)) / 2
    ):
        assert not overlap


@pytest.mark.parametrize("values", [((1.0, 2.0),), ((1.0, 2.0, 3.0, 4.0),), ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))])
def test_a_pose_of_too_few_or_too_many_values_is_refused(values):
    with pytest.raises(PoseError, match="position of 3 and a quaternion of 4"):
        g.Pose(*values)


@pytest.mark.parametrize(
    "values",
    [
        ("abc",), (3,), (None,), (("a", 0.0, 0.0),), ((1j, 0.0, 0.0),), (np.zeros((3, 1)),), (np.float64(1.0),),
        ((10**400, 0, 0),), ({0.0, 1.0, 2.0},), ({0: 0.0, 1: 1.0, 2: 2.0},), ((0.0, 0.0, 0.0), "0001"),
        ((0.0, 0.0, 0.0), None), ((0.0, 0.0, 0.0), ([1.0], 0.0, 0.0, 0.0)), (["1", "2", "3"],),
    ],
)  # fmt: skip
def test_a_pose_of_what_are_no_numbers_is_refused(values):
    with pytest.raises(PoseError, match=r"position of 3 and a quaternion of 4 numbers|finite numbers") as caught:
        g.Pose(*values)
    assert "unit quaternion xyzw" in caught.value.remedy


@pytest.mark.parametrize("kind", [list, np.array, lambda values: np.array(values, np.float32)])
def test_lists_and_arrays_make_the_same_pose_as_tuples(kind):
    pose = g.Pose(kind([1.0, 2.0, 3.0]), kind([0.0, 0.0, 1.0, 0.0]))
    assert pose == g.Pose((1.0, 2.0, 3.0), (0.0, 0.0, 1.0, 0.0))
    assert {type(value) for value in (*pose.position_m, *pose.orientation)} == {float}
    assert hash(pose) == hash(g.Pose((1.0, 2.0, 3.0), (0.0, 0.0, 1.0, 0.0)))
