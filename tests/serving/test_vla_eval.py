"""Policies are model servers of vla-eval: its envelope is answered, and its own command asks our server."""

import io
import json
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from embodied.serving import Access, PolicyServer
from embodied.specs import ActionSpec, Field
from embodied.types import ActionChunk, Decision
from tests.serving.clients import Counting, served
from tests.serving.test_server import page

TOKEN = "a-token-of-enough-characters"
RATED = ActionSpec("delta", (Field("translation", (2,)),), rate_hz=10.0)
BENCHMARK = """
import numpy as np
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.specs import IMAGE_RGB, LANGUAGE, RAW


class Counting(StepBenchmark):
    def get_tasks(self):
        return [{"name": "count", "suite": "counting"}]

    def reset(self, task):
        self.seen = []
        return 0

    def step(self, action):
        self.seen.append(round(float(np.asarray(action["actions"])[0]) / 0.1))
        return StepResult(obs=len(self.seen), reward=0.0, done=len(self.seen) == 5, info={})

    def make_obs(self, raw_obs, task):
        image = np.full((8, 8, 3), raw_obs, np.uint8)
        return {"images": {"agentview": image}, "task_description": "go", "states": np.zeros(7)}

    def get_step_result(self, step_result):
        return {"success": self.seen == [1, 2, 3, 4, 5]}

    def get_action_spec(self):
        return {"actions": RAW}

    def get_observation_spec(self):
        return {"image": IMAGE_RGB, "language": LANGUAGE}
"""
CONFIG = """
server: {url: "URL", timeout: 20}
output_dir: OUTPUT
benchmarks:
  - benchmark: "counting_benchmark:Counting"
    episodes_per_task: 3
    max_steps: 20
"""


class Chunks(Counting):
    """Answers with three rows that say how many requests came before."""

    action_spec = RATED

    def _decide(self, request):
        decision = super()._decide(request)
        rows = np.full((3, 2), float(decision.carry["count"]))
        return Decision((ActionChunk(RATED, rows),), carry=decision.carry)


@contextmanager
def harness(server: PolicyServer) -> Iterator[ClientConnection]:
    with connect(f"{server.url}/vla-eval", compression=None, max_size=None) as connection:
        yield connection


def said(connection: ClientConnection, kind: str, payload: Any, seq: int = 1) -> None:
    connection.send(msgpack.packb({"type": kind, "payload": payload, "seq": seq, "timestamp": 0.0}))


def heard(connection: ClientConnection) -> dict[str, Any]:
    message = connection.recv(timeout=10)
    assert isinstance(message, bytes)
    return msgpack.unpackb(message)


def compressed(image: np.ndarray, form: str) -> dict[str, Any]:
    if form == "raw":
        return {"__image__": True, "format": form, "data": image.tobytes(), "dtype": "|u1", "shape": list(image.shape)}
    content = io.BytesIO()
    Image.fromarray(image).save(content, format=form)
    return {"__image__": True, "format": form, "data": content.getvalue(), "shape": list(image.shape)}


def observation(form: str = "png", **more: Any) -> dict[str, Any]:
    image = np.full((4, 6, 3), 200, np.uint8)
    return {"images": {"agentview": compressed(image, form)}, "task_description": "go", "states": [0.0] * 7, **more}


def number(answer: dict[str, Any]) -> float:
    assert answer["type"] == "action", answer
    array = answer["payload"]["actions"]
    return round(float(np.frombuffer(array["data"], array["dtype"]).reshape(array["shape"])[0]), 3)


def test_a_hello_says_who_serves_and_an_episode_begins_with_an_empty_memory():
    policy = Counting()
    with served(policy) as server, harness(server) as connection, harness(server) as other:
        said(connection, "hello", {"harness_version": "0.8.0", "protocol_version": 1}, seq=7)
        hello = heard(connection)
        assert (hello["type"], hello["seq"]) == ("hello", 7)
        assert hello["payload"]["model_server"] == "counting"
        assert hello["payload"]["action_spec"]["actions"]["dims"] == 9
        numbers = []
        for form in ("png", "raw", "jpeg"):
            said(connection, "episode_start", {"task": {"name": "count"}})
            for seq in (1, 2):
                said(connection, "observation", observation(form), seq=seq)
                answer = heard(connection)
                assert answer["seq"] == seq
                numbers.append(number(answer))
            said(connection, "episode_end", {"metrics": {"success": True}})
        said(other, "observation", observation())
        assert (numbers, number(heard(other))) == ([0.1, 0.2] * 3, 0.1)
        assert page(server, "/health") == "OK\n"
    first = policy.seen[0]
    assert (first.instruction, first.observation.proprio.tolist()) == ("go", [0.0] * 7)
    assert set(first.observation.images) == {"front"}  # The order counts where names differ.
    front = first.observation.images["front"]
    assert (front.rgb == 200).all()
    assert np.isnan(front.intrinsics).all(), "what is not known must not look known"


def test_a_chunk_is_given_out_row_by_row_and_dropped_with_its_episode():
    policy = Chunks()
    with served(policy) as server, harness(server) as connection:
        numbers = []
        for start in (True, False, False, False, False, True):
            if start:
                said(connection, "episode_start", {"task": {}})
            said(connection, "observation", observation())
            numbers.append(number(heard(connection)))
    assert numbers == [1.0, 1.0, 1.0, 2.0, 2.0, 1.0]
    assert len(policy.seen) == 3


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (("observation", observation(task_description="fail")), "no such thing"),
        (("observation", {"images": {"a": {"__image__": True, "format": "png", "data": b"x"}}}), "must be whole"),
        (("observation", {"images": {"a": {"__image__": True, "format": "gif", "data": b"x"}}}), "must be one of"),
        (("observation", {"images": {"a": compressed(np.zeros((4100, 4100, 3), np.uint8), "png")}}), "pixels"),
        (("observation", {"images": 5}), "map by camera"),
        (("observation", observation(states="many")), "must be numbers"),
        (("fly", {}), "must be one that clients send"),
        (("hello", 5), "must be a map"),
    ],
)
def test_what_cannot_be_answered_is_an_error_after_which_the_connection_goes_on(message, words):
    with served() as server, harness(server) as connection:
        said(connection, *message)
        answer = heard(connection)
        assert answer["type"] == "error"
        assert words in answer["payload"]["error"]
        said(connection, "observation", observation())
        assert number(heard(connection)) == 0.1


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_command_of_vla_eval_plays_episodes_with_our_server(tmp_path: Path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "vla-eval>=0.8"], check=True)
    (tmp_path / "counting_benchmark.py").write_text(BENCHMARK)
    with served(Counting(), Access(token=TOKEN)) as server:
        # Its client takes nothing but a URL, so that the token is a password in it.
        url = server.url.replace("ws://", f"ws://vla-eval:{TOKEN}@")
        config = CONFIG.replace("URL", f"{url}/vla-eval").replace("OUTPUT", str(tmp_path / "results"))
        (tmp_path / "config.yaml").write_text(config)
        done = subprocess.run(
            [tmp_path / "env" / "bin" / "vla-eval", "run", "--no-docker", "--yes", "-c", "config.yaml"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("*.json")]
    assert any(result.get("mean_success") == 1.0 for result in found), found
