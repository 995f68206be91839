"""A timed path keeps every speed limit, starts and ends at rest, and visits what was planned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.controllers.motion.timing import PEAK_OVER_MEAN, minimum_jerk, timed_path
from embodied.controllers.settings import SpeedLimits
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics
from tests.controllers.worlds import HOME

MOVING = kinematics(robot_model("panda"))
PERIOD_S = 0.05


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), points=st.integers(2, 12), spread=st.floats(0.001, 0.4), tool_mps=st.floats(0.1, 1.0))
def test_no_joint_and_no_tool_is_ever_faster_than_its_limit(seed, points, spread, tool_mps):
    way = HOME + np.random.default_rng(seed).uniform(-spread, spread, (points, 7)).cumsum(axis=0) * 0.3
    limits = SpeedLimits(np.linspace(0.5, 2.0, 7), tool_mps, 2.0)
    path = np.concatenate([way[:1], timed_path(MOVING, way, limits, PERIOD_S)])
    steps = np.diff(path, axis=0)
    assert (np.abs(steps) <= limits.joint_radps * PERIOD_S * 1.001).all()
    tools = np.array([MOVING.tool(joints).position_m for joints in path])
    # Between two waypoints the tool runs on an arc: a little longer than the chord that the limit was met on.
    assert (np.linalg.norm(np.diff(tools, axis=0), axis=1) <= tool_mps * PERIOD_S * 1.1).all()
    assert path[-1] == pytest.approx(way[-1], abs=1e-12)


def test_a_move_takes_no_longer_than_its_slowest_joint_needs():
    way = np.stack([HOME, HOME + np.array([0.5, 0, 0, 0, 0, 0, 0])])
    path = timed_path(MOVING, way, SpeedLimits(np.ones(7), 100.0, 100.0), PERIOD_S)
    assert len(path) == np.ceil(PEAK_OVER_MEAN * 0.5 / PERIOD_S)
    speeds = np.diff(np.concatenate([way[:1], path]), axis=0)[:, 0] / PERIOD_S
    assert speeds.max() > 0.97
    assert speeds[0] < 0.1
    assert speeds[-1] < 0.1


def test_the_tool_turns_no_faster_than_its_limit():
    way = np.stack([HOME, HOME + np.array([0, 0, 0, 0, 0, 0, 0.5])])
    path = timed_path(MOVING, way, SpeedLimits(np.full(7, 100.0), 100.0, 1.0), PERIOD_S)
    assert np.abs(np.diff(path[:, 6])).max() <= 1.0 * PERIOD_S
    assert len(path) == np.ceil(PEAK_OVER_MEAN * 0.5 / PERIOD_S)


def test_standing_still_takes_one_period():
    assert np.array_equal(
        timed_path(MOVING, np.stack([HOME, HOME]), SpeedLimits(np.ones(7), 1.0, 1.0), PERIOD_S), [HOME]
    )


def test_the_profile_rests_at_both_ends_and_never_turns_back():
    time = np.linspace(0.0, 1.0, 1001)
    share = minimum_jerk(time)
    assert (share[0], share[-1]) == (0.0, 1.0)
    assert (np.diff(share) > 0.0).all()
    assert np.gradient(share, time).max() == pytest.approx(PEAK_OVER_MEAN, rel=1e-3)
    assert np.abs(np.gradient(np.gradient(share, time), time))[[1, -2]].max() < 0.2
