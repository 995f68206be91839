"""Policies and clients in environments of their own: other versions of numpy, and openpi's own client."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from embodied.serving import one_file
from tests.serving.clients import Counting, served

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
# Ten lines that wrap a callable.
SERVER = """
import numpy as np
from one_file import serve

def policy(observation, memory):
    memory["frames"] = memory.get("frames", 0) + 1
    assert observation["observation/image"].shape == (224, 224, 3), observation["observation/image"].shape
    assert observation["prompt"] and observation["observation/state"].shape == (8,)
    return np.tile([0, 0, -0.2, 0, 0, 0, -1 if memory["frames"] % 2 else 1], (5, 1))

serve(policy, port=0, name="down_" + np.__version__, version="1", weights="none")
"""
CLIENT = """
import sys
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

policy = WebsocketClientPolicy(sys.argv[1])
assert policy.get_server_metadata()["name"] == "counting"
observation = {
    "observation/front/rgb": np.zeros((8, 8, 3), np.uint8),
    "observation/front/depth_m": np.ones((8, 8), np.float32),
    "observation/front/intrinsics": np.eye(3),
    "observation/front/world_from_camera": np.eye(4),
    "observation/proprio": np.zeros(7, np.float32),
    "observation/gripper": np.float32(1.0),
    "prompt": "go",
}
for step in range(100):
    answer = policy.infer(observation)
    assert answer["actions"].shape == (1, 9) and answer["actions"].dtype == np.float32
    assert round(float(answer["actions"][0, 0]) / 0.1) == step + 1
    policy.reset()
try:
    policy.infer({**observation, "prompt": "fail"})
except RuntimeError as error:
    assert "no such thing" in str(error)
print(np.__version__)
"""


def environment(folder: Path, *requirements: str) -> Path:
    """Makes a virtual environment with these packages from a registry, and returns its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    return python


def evaluated(url: str, output: Path) -> "subprocess.CompletedProcess[str]":
    """Plays twenty episodes of one task with the policy at `url`."""
    settings = ("suite.tasks=[put_block_back]", "episodes=20", "videos=0", "compute=inline", f"output={output}")
    return subprocess.run(
        [sys.executable, "-m", "launch.evaluate", "policy=[remote]", f"policy_options.remote.url={url}", *settings],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("numpy", ["numpy==1.26.4", "numpy>=2"])
def test_a_policy_in_an_environment_of_its_own_plays_twenty_episodes(tmp_path, numpy):
    python = environment(tmp_path / "env", numpy, "msgpack", "websockets")
    shutil.copy(one_file.__file__, tmp_path)
    (tmp_path / "server.py").write_text(SERVER)
    with subprocess.Popen([python, "server.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            name, url = server.stdout.readline().split()[1::2]
            assert name.startswith("down_1.26" if "1.26" in numpy else "down_2")
            played = evaluated(url, tmp_path / "out")
        finally:
            server.terminate()
    assert played.returncode == 0, played.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "episodes.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert {row["outcome"] for row in rows} <= {"failure", "timeout", "success"}


def test_the_client_of_openpi_gets_a_hundred_answers(tmp_path):
    python = environment(tmp_path / "env", "openpi-client", "typing_extensions")
    with served(Counting()) as server:
        done = subprocess.run([python, "-c", CLIENT, server.url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(".")[0]) < 2 <= int(np.__version__.split(".")[0])
