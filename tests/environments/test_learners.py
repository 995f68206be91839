"""What learners use: Stable-Baselines3 on vectors of processes, videos, and PPO against a random agent."""

import json
import os
import subprocess

import av
import numpy as np
import pytest

from tests.docs.snippets import ROOT, blocks
from tests.environments.learners import environment_with

PAGE = ROOT / "docs" / "tutorials" / "gymnasium.md"
KEYFRAMES = 8_000
FIRST = 1000
CHECKED = """
import warnings
import gymnasium
from stable_baselines3.common.env_checker import check_env
import embodied.environments

warnings.simplefilter("error")
for actions in ("tool_down", "pose6d"):
    for observations in ("low_dim", "single_camera"):
        options = {"actions": actions, "observations": observations, "camera_px": 64, "reward": "shaped"}
        env = gymnasium.make("embodied/RearrangeBlock-strict-v0", **options).unwrapped
        check_env(env)
        env.close()
"""
PROCESSES = """
import sys
import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv

def make():
    import embodied.environments
    options = {"actions": "tool_down", "observations": "single_camera", "camera_px": 16, "keyframe_limit": 2}
    return gymnasium.make("embodied/PutBlockBack-strict-v0", render_mode="rgb_array", **options)

if __name__ == "__main__":
    shown = make()
    seen, _ = shown.reset(seed=5)
    assert shown.render().std() > 10
    envs = SubprocVecEnv([make, make], start_method=sys.argv[1])
    envs.seed(5)
    assert (envs.reset()["rgb"][0] == seen["rgb"]).all()
    for _ in range(2):
        _, _, ended, infos = envs.step(np.zeros((2, 5), np.float32))
    assert ended.all()
    assert all(info["TimeLimit.truncated"] and "rgb" in info["terminal_observation"] for info in infos)
    assert [info["is_success"] for info in infos] == [False, False]
    envs.close()
"""
RECORDED = """
import sys
import gymnasium
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo
import embodied.environments

options = {"actions": "tool_down", "camera_px": 16, "keyframe_limit": 4}
env = gymnasium.make("embodied/ReopenDrawer-strict-v0", render_mode="rgb_array", **options)
env = RecordEpisodeStatistics(RecordVideo(env, sys.argv[1]))
env.reset(seed=1)
env.action_space.seed(1)
done = False
while not done:
    *_, terminated, truncated, info = env.step(env.action_space.sample())
    done = terminated or truncated
env.close()
assert info["episode"]["l"] == 4
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return environment_with(tmp_path_factory.mktemp("learners") / "env", "stable-baselines3>=2.7", "moviepy>=2")


def run(python, script, *arguments, folder, limit_s=200):
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [python, "script.py", *arguments], cwd=folder, capture_output=True, text=True, timeout=limit_s, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def script_of_the_page():
    (script,) = (block.text for block in blocks(PAGE) if block.file == "train_ppo.py")
    return script


@pytest.mark.proof
def test_stable_baselines_finds_nothing_to_complain_about(python, tmp_path):
    run(python, CHECKED, folder=tmp_path)


@pytest.mark.proof
@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_processes_of_stable_baselines_start_after_a_render_in_their_parent(python, tmp_path, start):
    run(python, PROCESSES, start, folder=tmp_path)


@pytest.mark.proof
def test_a_video_has_a_frame_before_and_after_every_keyframe(python, tmp_path):
    run(python, RECORDED, str(tmp_path / "videos"), folder=tmp_path)
    (video,) = (tmp_path / "videos").glob("*.mp4")
    with av.open(video) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    assert frames[0].shape == (240, 320, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 0.5


@pytest.mark.proof
@pytest.mark.timeout(2700)
def test_ppo_of_the_tutorial_earns_more_than_a_random_agent(python, tmp_path):
    run(python, script_of_the_page(), str(KEYFRAMES), "0", str(FIRST), folder=tmp_path, limit_s=2400)
    rows = [json.loads(line) for line in (tmp_path / "rows_0.jsonl").read_text().splitlines()]
    returns = {agent: np.array([row["return"] for row in rows if row["agent"] == agent]) for agent in ("ppo", "random")}
    assert [len(found) for found in returns.values()] == [100, 100]
    halves = {agent: 1.96 * found.std(ddof=1) / 10 for agent, found in returns.items()}
    assert returns["ppo"].mean() - halves["ppo"] > returns["random"].mean() + halves["random"]


def test_the_page_trains_as_the_proof_does():
    script = script_of_the_page()
    compile(script, "train_ppo.py", "exec")
    assert f"python train_ppo.py {KEYFRAMES} 0 {FIRST}\n" in PAGE.read_text()
