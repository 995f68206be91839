"""`launch.serve` as it is typed: it prints where it serves, answers, and ends on a signal with the right exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from websockets.sync.client import connect

from embodied.codec import decision_from_plain, decode, encode, request_to_plain
from embodied.types import MoveTo
from launch.serve import identity_of
from policies.scripted import RandomPolicyConfig
from tests.serving.clients import asked, received, request

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-enough-characters"


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "launch.serve", "policy=random", "port=0", "token_env=SERVING_TOKEN", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SERVING_TOKEN": TOKEN},
    )


def answer_of(server: subprocess.Popen[str]) -> dict:
    """Asks a server once, at the address that it prints first, and returns its metadata."""
    assert server.stdout is not None
    words = server.stdout.readline().split()
    assert words[:3] == ["Serving", "random", "at"]
    headers = {"Authorization": f"Api-Key {TOKEN}"}
    with connect(words[3], compression=None, additional_headers=headers) as connection:
        stated = decode(received(connection))
        answer = asked(connection, {"request": request_to_plain(request())})
    assert isinstance(decision_from_plain(answer["decision"]).intents[0], MoveTo)
    assert TOKEN.encode() not in encode(stated)
    return stated


def test_a_server_answers_at_the_address_that_it_prints_and_ends_on_signals(tmp_path):
    ended = started(tmp_path), started(tmp_path, "policy_options.random.tilt_limit_rad=0.1", "bank=sqlite:///b.db")
    stated = [answer_of(server) for server in ended]
    codes = []
    for server, number in zip(ended, (signal.SIGTERM, signal.SIGINT), strict=True):
        server.send_signal(number)
        out, err = server.communicate(timeout=20)
        assert (out, TOKEN in err) == ("Stopped.\n", False), err
        codes.append(server.returncode)
    assert codes == [0, 130]
    assert [one["name"] for one in stated] == ["random", "random"]
    assert stated[0]["version"] == stated[1]["version"]
    assert stated[0]["weights"] != stated[1]["weights"]


def test_a_policy_is_identified_by_its_settings_and_its_source():
    kinds = [RandomPolicyConfig(), RandomPolicyConfig(tilt_limit_rad=0.1)]
    one, other = (identity_of("random", kind) for kind in kinds)
    assert one == identity_of("random", kinds[0])
    assert (one.version, one.name) == (other.version, other.name)
    assert one.weights != other.weights
