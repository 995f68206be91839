"""Vectors of environments, and the wrappers that learners use: no hang after a fork, no key of theirs in `info`."""

import subprocess
import sys

import gymnasium
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics

import embodied.environments  # noqa: F401 - registers the tasks

NAME = "embodied/PutBlockBack-strict-v0"
HOME = np.array([0.5, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0])
RESERVED = {"episode", "final_obs", "final_info", "final_observation", "terminal_observation", "TimeLimit.truncated"}
FORKED = """
import sys
import gymnasium, numpy as np
import embodied.environments

def main():
    name, options = sys.argv[1], {"camera_px": 16}
    shown = gymnasium.make(name, render_mode="rgb_array", **options)
    seen, _ = shown.reset(seed=5)
    frame = shown.render()
    envs = gymnasium.make_vec(name, num_envs=2, vectorization_mode="async", **options)
    envs.reset_async(seed=[5, 6])
    both, infos = envs.reset_wait(timeout=60)
    assert (both["cameras"]["front"]["rgb"][0] == seen["cameras"]["front"]["rgb"]).all()
    envs.step_async(np.tile(np.float64([0.5, 0.0, 0.5, 1, 0, 0, 0, 1, 1]), (2, 1)))
    both, rewards, ended, cut, infos = envs.step_wait(timeout=60)
    envs.close()
    assert (shown.render() == frame).all(), "the parent renders on"
    shown.close()
    print(rewards.tolist(), infos["keyframe_failure"].tolist(), infos["choice"].tolist())

main()
"""


def test_an_asynchronous_vector_starts_by_fork_after_its_parent_has_rendered():
    done = subprocess.run(
        [sys.executable, "-c", FORKED, NAME], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "[0.0, 0.0] ['', ''] [None, None]"


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_information_of_a_vector_is_that_of_its_environments():
    envs = gymnasium.make_vec(NAME, num_envs=2, vectorization_mode="sync", camera_px=8, keyframe_limit=2)
    alone = [gymnasium.make(NAME, camera_px=8, keyframe_limit=2) for _ in range(2)]
    _, infos = envs.reset(seed=[1, 2])
    expected = [env.reset(seed=seed)[1] for env, seed in zip(alone, (1, 2), strict=True)]
    for _ in range(2):
        for key, values in infos.items():
            if not key.startswith("_"):
                assert infos[f"_{key}"].all()
                assert values.tolist() == [plain(info[key]) for info in expected], key
        assert not RESERVED & set(expected[0])
        assert not any(key.startswith("_") for key in expected[0])
        far = np.where(np.arange(9) < 3, -1.0, HOME)  # Not reached by the second one.
        *_, infos = envs.step(np.stack([HOME, far]))
        expected = [env.step(action)[4] for env, action in zip(alone, (HOME, far), strict=True)]
    assert infos["keyframe_failure"][1].startswith("unreachable")
    assert infos["outcome"].tolist() == ["timeout", "timeout"]
    for env in (envs, *alone):
        env.close()


def test_statistics_of_an_episode_are_recorded():
    env = RecordEpisodeStatistics(gymnasium.make(NAME, camera_px=8, keyframe_limit=3, reward="shaped"))
    env.reset(seed=1)
    rewards, ended = [], False
    while not ended:
        _, reward, terminated, truncated, info = env.step(HOME)
        rewards.append(reward)
        ended = terminated or truncated
    env.close()
    assert (info["episode"]["r"], info["episode"]["l"]) == (sum(rewards), 3)
    assert len(info["episode_id"]) == 16
