"""Shaped rewards: progress over phases and distances, and potentials, which change no order of policies."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.environments.keyframe import KeyframeEnv
from embodied.environments.rewards import Rewards
from embodied.errors import CommandError, ConfigError
from embodied.geometry import compose, invert
from embodied.protocols import ShapedTask
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
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
    """An episode of the expert: its rewards, and the progress before them and after each."""
    env = KeyframeEnv(request.param, "strict", observations="low_dim", reward="potential", discount=0.9)
    expert, carry = ExpertConfig().build(), None
    env.reset(seed=2)
    progress, rewards, done = [env._rewards._before], [], False
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
        progress.append(env._rewards.progress_of(env._episode, env._simulator.state(), core.progress))
    env.close()
    assert info["is_success"]
    return rewards, progress


def move_pose(move):
    from embodied.geometry import Pose

    return Pose(move.position_m, move.orientation)


def test_the_discounted_return_of_potentials_depends_on_the_beginning_alone(played):
    rewards, progress = played
    returned = sum(reward * 0.9**step for step, reward in enumerate(rewards))
    assert returned == pytest.approx(0.9 ** (len(rewards) - 1) - progress[0])


def test_the_progress_of_the_expert_rises_with_each_phase(played):
    _, progress = played
    assert all(0.0 <= value <= 1.0 for value in progress)
    assert progress[0] < 0.35
    assert progress[-1] == 1.0
    assert (np.diff(progress) > -0.15).all()  # Backing off from a handle, or from the button, costs a little.


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


ONE = Progress(reached=("one",))
SUCCESS = Progress(reached=("one", "two"), outcome=Outcome.SUCCESS)


def rewards_of(name, *progress):
    """The rewards of a task without distances, as an episode has this progress step by step."""
    rewards = Rewards(name, Plain(), discount=1.0)
    rewards.begin(None, None, Progress())
    return [rewards.step(None, None, one) for one in progress]


def test_potentials_are_given_back_where_an_episode_terminates_and_kept_where_it_is_truncated():
    assert rewards_of("potential", ONE, replace(ONE, outcome=Outcome.TIMEOUT)) == [0.5, 0.0]
    assert rewards_of("potential", ONE, replace(ONE, outcome=Outcome.FAILURE)) == [0.5, -0.5]
    assert rewards_of("potential", ONE, SUCCESS) == [0.5, 0.5]


def test_progress_is_rewarded_once_and_never_taken_back():
    assert rewards_of("shaped", ONE, replace(ONE, outcome=Outcome.FAILURE)) == [0.5, 0.0]
    assert rewards_of("shaped", ONE, SUCCESS) == [0.5, 1.5]


def test_a_new_best_is_rewarded_and_a_step_back_is_not():
    class Line(ReopenDrawer):
        def remaining_m(self, episode, progress, state):
            return state

    rewards = Rewards("shaped", Line(), discount=1.0)
    rewards.begin(None, 0.3, Progress())
    found = [rewards.step(None, metres, Progress()) for metres in (0.6, 0.3, 0.0, 0.3)]
    assert found == pytest.approx([0.0, 0.0, (1 - np.exp(-1)) / 3, 0.0])


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


def test_a_closed_environment_raises_an_error_of_this_project():
    env = KeyframeEnv("put_block_back", "strict", observations="low_dim")
    env.reset(seed=1)
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(env.action_space.sample())):
        with pytest.raises(CommandError, match="must be open"):
            call()
