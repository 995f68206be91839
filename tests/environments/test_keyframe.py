"""The memory tasks through Gymnasium's eyes."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence

import embodied.environments  # noqa: F401 - registers the tasks
from embodied.errors import ConfigError, IntentError, UnknownNameError
from embodied.geometry import Pose, compose, invert, pose_from_matrix
from embodied.seeding import derive_seed
from embodied.tasks.registry import make_task
from embodied.types import Request, Truth
from policies.scripted import ExpertConfig

IDS = [
    f"embodied/{name}-{tier}-v0"
    for name in ("ReopenDrawer", "PutBlockBack", "RearrangeBlock")
    for tier in ("faithful", "strict")
]
HOME = np.array([0.5, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def env():
    env = gymnasium.make("embodied/PutBlockBack-strict-v0", camera_px=16, keyframe_limit=12)
    yield env
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_nothing_to_complain_about(name):
    env = gymnasium.make(name, camera_px=16)
    check_env(env.unwrapped)
    env.close()


def test_no_import_is_needed_where_the_name_says_the_module():
    script = (
        "import gymnasium; env = gymnasium.make('embodied.environments:embodied/PutBlockBack-strict-v0', patches=8);"
        "print(env.unwrapped.spec.id, len(env.reset(seed=0)[0]['cameras'])); env.close()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "embodied/PutBlockBack-strict-v0 4" in done.stdout


def expert_action(env, truth_source, step):
    """What the expert does next, as an action in the frame of the robot's base."""
    core = env.unwrapped
    performance = core._performance
    truth = Truth(core._episode, core._simulator.state(), performance.progress, core._task.expert)
    seen = core._simulator.observe(core._robot, ())
    request = Request(
        seen,
        core._episode.instruction,
        step,
        derive_seed(core._episode.seed, "policy", core._robot, step),
        carry=truth_source["carry"],
        truth=truth,
    )
    decision = truth_source["policy"].act([request])[0]
    truth_source["carry"] = decision.carry
    (move,) = decision.intents
    tool = compose(invert(core._episode.scene.robots[0].base), Pose(move.position_m, move.orientation))
    return np.array([*tool.position_m, *tool.orientation, move.gripper_open, move.avoid_collisions], dtype=np.float64)


@pytest.mark.parametrize("task", ["PutBlockBack", "ReopenDrawer", "RearrangeBlock"])
def test_an_expert_that_acts_through_gymnasium_earns_one_reward_at_the_end(task):
    env = gymnasium.make(f"embodied/{task}-strict-v0", camera_px=16)
    source = {"policy": ExpertConfig().build(), "carry": None}
    _, info = env.reset(seed=5, options={"split": "test"})
    assert info["outcome"] == "running"
    rewards, done, step = [], False, 0
    while not done:
        observation, reward, terminated, truncated, info = env.step(expert_action(env, source, step))
        rewards.append(reward)
        done, step = terminated or truncated, step + 1
    assert (info["outcome"], terminated, truncated) == ("success", True, False)
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
    assert info["choice"] == env.unwrapped._episode.choice_goal.target
    assert info["phases"]
    assert observation["time_s"] == [step]
    with pytest.raises(ResetNeeded):
        env.unwrapped.step(HOME)
    env.close()


def test_the_same_seed_gives_the_same_episode_in_another_environment(env):
    actions = [env.action_space.sample() for _ in range(3)]
    courses = []
    other = gymnasium.make("embodied/PutBlockBack-strict-v0", camera_px=16, keyframe_limit=12)
    for one in (env, other, env):
        course = [one.reset(seed=7)[0]]
        for action in [HOME, *actions]:
            observation, reward, terminated, truncated, _ = one.step(action)
            course.append((observation, reward, terminated, truncated))
            if terminated or truncated:
                break
        courses.append(course)
    other.close()
    assert data_equivalence(courses[0], courses[1], exact=True)
    assert data_equivalence(courses[0], courses[2], exact=True)


def test_seeds_and_splits_choose_the_episode(env):
    names = [
        env.reset(seed=seed, options=options)[1]["episode_id"]
        for seed, options in [(1, None), (1, {"split": "train"}), (1, {"split": "test"}), (2, None)]
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert env.unwrapped._episode.id == make_task("put_block_back").sample(2, split="train").id
    first = env.reset(seed=3)[1]["episode_id"]
    following = [env.reset()[1]["episode_id"] for _ in range(3)]
    assert len({first, *following}) == 4
    env.reset(seed=3)
    assert [env.reset()[1]["episode_id"] for _ in range(3)] == following


def test_what_is_known_of_an_episode_does_not_name_its_seed():
    names = []
    for salt in ("one", "one", "other"):
        env = gymnasium.make("embodied/PutBlockBack-strict-v0", camera_px=8, salt=salt)
        _, information = env.reset(seed=20251127)
        env.close()
        assert "20251127" not in repr(information)
        names.append(information["episode_id"])
    assert names[0] == names[1] != names[2]


def test_an_action_is_a_pose_in_the_frame_of_the_robots_base(env):
    _, info = env.reset(seed=0)
    observation, *_ = env.step(HOME)
    tool = Pose(tuple(float(x) for x in observation["proprio"][7:10]), (0.0, 0.0, 0.0, 1.0))
    base = pose_from_matrix(info["world_from_base"])
    assert base.position_m != (0.0, 0.0, 0.0)
    np.testing.assert_allclose(compose(invert(base), tool).position_m, HOME[:3], atol=0.01)


def test_the_limit_of_keyframes_truncates_at_once(env):
    env.reset(seed=0)
    endings = []
    for index in range(12):
        action = HOME + 0.02 * (index % 2) * np.eye(9)[1]
        _, reward, terminated, truncated, info = env.step(action)
        endings.append((reward, terminated, truncated))
    assert endings == [(0.0, False, False)] * 11 + [(0.0, False, True)]
    assert info["reason"] == "limit of 12 intents"


FAR = np.array([-1.0, -1.0, -1.0, 1, 0, 0, 0, 1, 1], dtype=np.float64)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (FAR, "unreachable: "),
        (FAR * 1e9, "the position is more than 50 m away"),
        (np.array([0.5, 0, 0.5, 0, 0, 0, 0, 1, 1.0]), "the quaternion of the action is zero"),
    ],
)
def test_a_keyframe_that_cannot_be_carried_out_moves_nothing_and_says_why(env, action, reason):
    before, _ = env.reset(seed=0)
    after, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated, info["outcome"]) == (0.0, False, False, "running")
    assert info["keyframe_failure"].startswith(reason)
    np.testing.assert_allclose(after["proprio"], before["proprio"], atol=1e-3)
    *_, info = env.step(HOME)
    assert (info["keyframe_failure"], info["reason"]) == ("", "")


def test_on_request_a_failed_keyframe_ends_the_episode_as_in_evaluations():
    env = gymnasium.make("embodied/PutBlockBack-strict-v0", camera_px=8, on_failure="end")
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(FAR)
    env.close()
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["reason"] == f"controller: {info['keyframe_failure']}"


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.full(9, np.nan), "finite"),
        (np.zeros(8), "9 finite numbers"),
        ("up", "9 finite numbers"),
        (None, "9 finite numbers"),
        (["0.5"] * 9, "9 finite numbers"),
        ([[0.5], 0.5], "9 finite numbers"),
        ({"position": 1}, "9 finite numbers"),
        (np.full(9, 1j), "9 finite numbers"),
    ],
)
def test_a_malformed_action_is_refused_and_the_episode_goes_on(env, action, message):
    env.reset(seed=0)
    with pytest.raises(IntentError, match=message) as refused:
        env.unwrapped.step(action)
    assert refused.value.remedy
    assert not any(env.step(HOME)[2:4])


def test_unknown_names_are_refused_with_the_nearest_right_one(env):
    with pytest.raises(ConfigError, match="Did you mean 'patches'"):
        gymnasium.make("embodied/PutBlockBack-strict-v0", patchs=8)
    with pytest.raises(UnknownNameError, match="Did you mean 'split'"):
        env.reset(seed=0, options={"splits": "train"})
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        env.reset(seed=0, options={"split": "trian"})
    with pytest.raises(ResetNeeded):
        gymnasium.make("embodied/PutBlockBack-strict-v0", camera_px=16).unwrapped.step(HOME)


@pytest.mark.parametrize("option", [{"tier": "faithful"}, {"tier": "strict"}, {"task": "reopen_drawer"}])
def test_a_name_settles_task_and_tier(option):
    with pytest.raises(ConfigError, match="must be that of its name") as refused:
        gymnasium.make("embodied/PutBlockBack-strict-v0", camera_px=16, **option)
    assert refused.value.value in option.values()
    assert "Leave" in refused.value.remedy


def test_a_task_for_several_robots_is_refused():
    with pytest.raises(ConfigError, match="one robot"):
        gymnasium.make("embodied/TwoRobots-v0", camera_px=8)


def test_options_reach_the_task():
    env = gymnasium.make("embodied/PutBlockBack-strict-v0", patches=8, camera_px=16)
    assert len(env.unwrapped._episode.choice_goal.candidates) == 8
    assert env.observation_space["cameras"]["front"]["rgb"].shape == (16, 16, 3)
    env.close()


def test_rendering_shows_the_scene_and_changes_no_observation(env):
    recorded = gymnasium.make("embodied/PutBlockBack-strict-v0", render_mode="rgb_array", camera_px=16)
    seen, _ = recorded.reset(seed=4)
    plain, _ = env.reset(seed=4)
    assert data_equivalence(seen, plain, exact=True)
    frame = recorded.render()
    assert frame.shape == (240, 320, 3)
    assert frame.std() > 10
    recorded.close()
