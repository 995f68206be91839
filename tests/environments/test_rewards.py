"""Shaped rewards: potentials over phases and distances, which change no order of policies."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.environments.keyframe import KeyframeEnv
from embodied.environments.rewards import Rewards
from embodied.errors import ConfigError
from embodied.geometry import compose, invert
from embodied.protocols import ShapedTask
from embodied.tasks.registry import make_task
from embodied.types import Outcome, Progress, Request, Truth
from policies.scripted import ExpertConfig

TASKS = ("reopen_drawer", "put_block_back", "rearrange_block")


class Plain:
    """A task that names its phases and measures nothing."""

    name = "plain"
    phases = ("one", "two")


@pytest.fixture(scope="module", params=TASKS)
def played(request):
    """An episode of the expert: its rewards, and the potential after every step."""
    env = KeyframeEnv(request.param, "strict", observations="low_dim", reward="shaped", discount=0.9)
    expert, carry = ExpertConfig().build(), None
    env.reset(seed=2)
    potentials, rewards, done = [env._rewards._potential], [], False
    while not done:
        core = env._performance
        truth = Truth(env._episode, env._simulator.state(), core.progress, env._task.expert)
        (decision,) = expert.act([Request(env._simulator.observe("panda", ()), "", 0, 0, carry=carry, truth=truth)])
        carry, (move,) = decision.carry, decision.intents
        tool = compose(invert(env._episode.scene.robots[0].base), move_pose(move))
        row = [*tool.position_m, *tool.orientation, move.gripper_open, move.avoid_collisions]
        _, reward, terminated, truncated, info = env.step(np.array(row))
        done = terminated or truncated
        rewards.append(reward)
        potentials.append(env._rewards._potential)
    env.close()
    assert info["is_success"]
    return rewards, potentials


def move_pose(move):
    from embodied.geometry import Pose

    return Pose(move.position_m, move.orientation)


def test_the_discounted_return_of_shaping_depends_on_the_beginning_alone(played):
    rewards, potentials = played
    returned = sum(reward * 0.9**step for step, reward in enumerate(rewards))
    assert potentials[-1] == 0.0
    assert returned == pytest.approx(0.9 ** (len(rewards) - 1) - potentials[0])


def test_the_potential_of_the_expert_rises_with_each_phase(played):
    _, potentials = played
    assert all(0.0 <= value <= 1.0 for value in potentials)
    assert potentials[0] < 0.35
    assert max(potentials) > 0.6
    steps = np.diff(potentials[:-1])
    assert (steps > -0.15).all()  # Backing off from a handle, or from the button, costs a little.


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_the_tasks_of_memorybench_measure_the_way_to_each_phase(task, tier):
    env = KeyframeEnv(task, tier, observations="low_dim")
    env.reset(seed=0)
    judge, state = env._task, env._simulator.state()
    assert isinstance(judge, ShapedTask)
    for count in range(len(judge.phases) + 1):
        metres = judge.remaining_m(env._episode, Progress(reached=judge.phases[:count]), state)
        assert 0.0 <= metres < 3.0
    env.close()


def test_without_distances_the_phases_alone_count():
    rewards = Rewards("shaped", Plain(), discount=1.0)
    begun = Progress()
    rewards.begin(None, None, begun)
    one, both = replace(begun, reached=("one",)), replace(begun, reached=("one", "two"), outcome=Outcome.SUCCESS)
    assert rewards.step(None, None, one) == 0.5
    assert rewards.step(None, None, replace(one, outcome=Outcome.TIMEOUT)) == 0.0
    assert rewards.step(None, None, both) == 1.0 - 0.5


def test_sparse_rewards_need_no_phases():
    rewards = Rewards("sparse", make_task("reopen_drawer"), discount=0.5)
    rewards.begin(None, None, Progress())
    assert rewards.step(None, None, Progress(outcome=Outcome.FAILURE)) == 0.0
    assert rewards.step(None, None, Progress(outcome=Outcome.SUCCESS)) == 1.0


def test_shaping_needs_phases_and_a_discount():
    with pytest.raises(ConfigError, match="phases"):
        Rewards("shaped", type("Bare", (), {"name": "bare"})(), discount=0.9)
    for discount in (0.0, 1.1):
        with pytest.raises(ConfigError, match="discount"):
            Rewards("sparse", Plain(), discount=discount)
