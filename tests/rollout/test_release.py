"""Placement errors: whichever way a block is set down, it comes to rest beside its place by the draw of its grasp."""

import numpy as np
import pytest

from embodied.rollout.action_noise import release_errors
from embodied.types import Command
from launch.benchmarks.placement.offsets import offset_of, picked_world
from launch.benchmarks.placement.scenario import BLOCK, METHODS, NOISE_M, NOISE_RAD, ROBOT_NAME, Placing

EPISODES = 6


@pytest.fixture(scope="module")
def world():
    world = picked_world()
    yield world
    world.close()


@pytest.mark.parametrize("method", METHODS)
def test_a_block_comes_to_rest_displaced_by_the_draw_of_its_grasp(world, method):
    task = Placing()
    exact = offset_of(world, method, Placing(noise_m=0.0, noise_rad=0.0).sample(0))
    offsets, draws = [], []
    for seed in range(EPISODES):
        episode = task.sample(seed)
        offsets.append(offset_of(world, method, episode))
        draws.append(release_errors(episode, {ROBOT_NAME: 1})[ROBOT_NAME])
    error = np.abs(np.subtract(offsets, draws) - exact)
    assert error[:, :2].max() < 0.001
    assert error[:, 2].max() < 0.03
    assert np.abs(draws)[:, :2].max() <= NOISE_M
    assert np.abs(draws)[:, 2].max() <= NOISE_RAD


def test_without_noise_a_chunk_sets_a_block_down_where_it_is_meant_to(world):
    assert np.abs(offset_of(world, "chunk", Placing(noise_m=0.0, noise_rad=0.0).sample(0))).max() < 0.003


def test_a_restored_instant_after_a_release_goes_on_alike(world):
    """The block overlaps a finger that no longer touches it: that they do not collide yet is part of the instant."""
    error = {ROBOT_NAME: {"gripper": (0.009, -0.009, 0.7)}}
    world.reset(Placing().sample(0).scene)
    world.inner.advance({ROBOT_NAME: Command(gripper=1.0, release_error=error[ROBOT_NAME])})
    saved = world.inner.save()
    ends = []
    for _ in range(2):
        world.inner.restore(saved)
        for _ in range(10):
            world.inner.advance({})
        ends.append(world.inner.state().pose[BLOCK])
    assert ends[0] == ends[1]
