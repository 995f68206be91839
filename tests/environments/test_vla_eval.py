"""Our tasks as a benchmark of vla-eval: an expert solves them, and its command plays them with our server."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embodied.environments.vla_eval import VlaEvalBenchmark
from embodied.errors import ConfigError, IntentError
from embodied.serving import Identity, ServingSettings, serving
from embodied.types import Request, Truth
from policies.learned import LearnedPolicyConfig
from policies.scripted import ExpertConfig

ROOT = Path(__file__).parents[2]
CONFIG = """
server: {url: "URL", timeout: 300}
output_dir: OUTPUT
benchmarks:
  - benchmark: "embodied.environments.vla_eval:VlaEvalBenchmark"
    episodes_per_task: 2
    params: {tasks: [reopen_drawer], seed: 3}
"""


async def solved(benchmark: VlaEvalBenchmark, episode: int) -> dict:
    """Plays one episode as the expert does, in rows of the world frame."""
    (task,) = benchmark.get_tasks()
    await benchmark.start_episode({**task, "episode_idx": episode})
    env, expert, carry = benchmark._env, ExpertConfig().build(), None
    while not await benchmark.is_done():
        assert env._performance is not None
        truth = Truth(env._episode, env._simulator.state(), env._performance.progress, env._task.expert)
        (decision,) = expert.act([Request(env.seen, "", 0, 0, carry=carry, truth=truth)])
        carry, (move,) = decision.carry, decision.intents
        row = [*move.position_m, *move.orientation, move.gripper_open, move.avoid_collisions]
        await benchmark.apply_action({"actions": np.array(row, np.float32)})
    return await benchmark.get_result()


def test_an_expert_solves_its_episodes_in_rows_of_the_world_frame():
    benchmark = VlaEvalBenchmark(tasks=["reopen_drawer"], task_options={"camera_px": 16})
    assert benchmark.get_tasks() == [{"name": "reopen_drawer", "suite": "memorybench/strict"}]
    try:
        result = asyncio.run(solved(benchmark, 1))
        assert (result["success"], result["outcome"]) == (True, "success")
        seen = asyncio.run(benchmark.get_observation())
        assert seen["task_description"].startswith("shut the open drawer")
        assert (seen["images"]["front"].shape, seen["observation/front/depth_m"].shape) == ((16, 16, 3), (16, 16))
        assert not any("instance" in key for key in seen)
        for wrong in (None, np.zeros(9), np.full(9, np.nan), np.ones(7)):
            with pytest.raises(IntentError):
                asyncio.run(benchmark.apply_action({"actions": wrong}))
    finally:
        benchmark.cleanup()


def test_variants_for_learners_are_refused():
    with pytest.raises(ConfigError, match="all cameras"):
        VlaEvalBenchmark(task_options={"observations": "low_dim"})


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_the_command_of_vla_eval_plays_our_tasks_with_our_server(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tmp_path / "site"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", "vla-eval>=0.8"], check=True)
    policy = LearnedPolicyConfig(weights="sam2act_plus-memorybench")
    with serving(policy, Identity("sam2act_plus", "1", "w"), ServingSettings(port=0)) as server:
        config = CONFIG.replace("URL", f"{server.url}/vla-eval").replace("OUTPUT", str(tmp_path / "results"))
        (tmp_path / "config.yaml").write_text(config)
        options = ("--no-docker", "--yes", "--render", "cpu", "-c", "config.yaml")
        done = subprocess.run(
            [sys.executable, "-c", "from vla_eval.cli.main import main; main()", "run", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")])},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("*.json")]
    assert any(result.get("mean_success") == 1.0 for result in found), f"{found}\n{done.stderr}"
