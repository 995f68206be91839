import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_cluster_is_joined_its_stopped_worker_killed_on_another_node_and_the_cluster_left_running():
    command = [sys.executable, "-m", "tests.rollout.cluster_script"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert json.loads(said.stdout.splitlines()[-1]) == {
        "attempts": {"0": 1, "1": 2, "2": 1},
        "connected": False,
        "stopped": [],
        "nodes_alive": 2,
    }
