import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from embodied.geometry import (
    angle_between,
    multiply_quaternions,
    quaternion,
    quaternion_from_axis_angle,
    quaternion_from_euler,
    quaternion_from_matrix,
    rotation_matrix,
)
from policies.heads.bins import RotationBins, euler_angles, orientation_from_euler

BINS = RotationBins()
HALF_BIN = math.radians(2.5)
ORIENTATIONS = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)
YAWS = st.floats(-math.pi, math.pi)


def tensor(orientation) -> torch.Tensor:
    return torch.tensor(orientation, dtype=torch.float64)


def away_from_singularity(orientation, degrees: float = 15.0) -> bool:
    """Whether the tool's y axis is at least so far from vertical."""
    return abs(rotation_matrix(orientation)[2, 1]) <= math.cos(math.radians(degrees))


def steps_between(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    apart = (left - right).abs()
    return torch.minimum(apart, BINS.count - apart)


def downwards(yaw: float):
    return quaternion_from_euler(math.pi, 0.0, yaw)


def ahead(yaw: float):
    level = quaternion_from_matrix(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    return multiply_quaternions(quaternion_from_euler(0.0, 0.0, yaw), level)


@given(orientation=ORIENTATIONS)
def test_angles_and_back_are_the_same_orientation_even_where_fingers_stand_upright(orientation):
    orientation = quaternion(orientation)
    back = orientation_from_euler(euler_angles(tensor(orientation)))
    assert angle_between(orientation, back.tolist()) < 1e-6


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("turn", [0.0, 0.3, 2.0])
def test_fingers_that_stand_exactly_upright_have_no_first_angle(sign, turn):
    upright = quaternion_from_axis_angle([sign * math.pi / 2, 0.0, 0.0])
    orientation = multiply_quaternions(quaternion_from_axis_angle([0.0, 0.0, turn]), upright)
    assert euler_angles(tensor(orientation))[0] == 0.0
    assert angle_between(orientation, BINS.decode(BINS.encode(tensor(orientation))).tolist()) < 2 * HALF_BIN


@given(orientation=ORIENTATIONS)
def test_no_angle_is_off_by_more_than_half_a_bin_away_from_the_singularity(orientation):
    orientation = quaternion(orientation)
    assume(away_from_singularity(orientation))
    bins = BINS.encode(tensor(orientation))
    decoded = BINS.decode(bins)
    off = euler_angles(tensor(orientation)) - bins * (2 * math.pi / BINS.count)
    off = (off + math.pi) % (2 * math.pi) - math.pi
    assert off.abs().max() <= HALF_BIN + 1e-9
    # Three angles off at once add up to no more than this: outer axes lean towards each other with the middle angle.
    lean = abs(rotation_matrix(orientation)[2, 1])
    assert angle_between(orientation, decoded.tolist()) <= HALF_BIN * math.sqrt(3 + 2 * lean) * 1.03
    assert (BINS.encode(decoded.double()) == bins).all()


@given(orientation=ORIENTATIONS, axis=st.lists(st.floats(-1, 1), min_size=3, max_size=3), turn=st.floats(0, 2))
def test_a_small_turn_moves_bins_by_a_few_at_most(orientation, axis, turn):
    orientation = quaternion(orientation)
    assume(np.linalg.norm(axis) > 0.1 and away_from_singularity(orientation, 17.0))
    vector = np.asarray(axis) / np.linalg.norm(axis) * math.radians(turn)
    turned = multiply_quaternions(quaternion_from_axis_angle(vector), orientation)
    moved = steps_between(BINS.encode(tensor(orientation)), BINS.encode(tensor(turned)))
    assert moved.max() <= 2


@given(yaw=YAWS)
def test_tools_that_point_down_or_ahead_differ_in_the_last_angle_alone(yaw):
    for pose, roll_bin in ((downwards, 54), (ahead, 0)):
        bins = BINS.encode(tensor(pose(yaw)))
        assert bins[:2].tolist() == [roll_bin, 0]
        assert steps_between(bins[2], BINS.encode(tensor(pose(yaw + math.radians(5))))[2]) == 1
        assert angle_between(pose(yaw), BINS.decode(bins).tolist()) <= HALF_BIN + 1e-6


def test_bins_are_counted_for_any_shape_and_a_quaternion_and_its_negative_are_one():
    torch.manual_seed(0)
    orientations = torch.nn.functional.normalize(torch.randn(4, 3, 4), dim=-1)
    bins = BINS.encode(orientations)
    assert bins.shape == (4, 3, 3)
    assert bins.dtype == torch.int64
    assert bins.min() >= 0
    assert bins.max() < 72
    assert (BINS.encode(-orientations) == bins).all()
    assert BINS.decode(bins).shape == (4, 3, 4)
