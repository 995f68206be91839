"""The one-file client and server need nothing but Python 3.8, numpy, msgpack and websockets, and fit our own."""

import ast
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from embodied.codec import decode, encode
from embodied.errors import ConfigError
from embodied.serving import one_file
from embodied.serving.one_file import Client, PolicyError, pack, unpack
from policies.remote.config import RemotePolicyConfig
from policies.remote.policy import ResettableRemotePolicy
from tests.policies.remote.requests import played
from tests.serving.clients import Counting, made_certificate, needs_openssl, served

SOURCE = Path(one_file.__file__)
NAMES = """
version: 1
robot: panda
request:
  eye: {image: front}
  state: {numbers: [joints]}
  prompt: {text: instruction}
answer:
  space: ee_delta
  rate_hz: 20
  fields:
    translation: {column: 0}
    rotation: {column: 3}
    gripper: {column: 6}
"""


def counting(observation, memory):
    """Answers with rows that say how many requests its memory holds, this one included."""
    if observation.get("prompt") == "fail":
        raise RuntimeError("no such thing")
    memory["count"] = memory.get("count", 0) + 1
    return np.tile([0.001 * memory["count"], 0, 0, 0, 0, 0, 1], (5, 1))


def test_it_is_python_3_8_and_imports_little():
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported - sys.stdlib_module_names == {"numpy", "msgpack", "websockets"}


def test_it_writes_and_reads_what_our_codec_does():
    value = {
        "a": np.arange(6, dtype=">f4").reshape(2, 3)[:, ::2],
        "b": [np.float32(1.5), np.bool_(True), np.zeros((0, 3)), np.array(2)],
        "c": {"d": "text", "e": None, "f": [1, 2.5, True, b"x"]},
    }
    for read in (decode(pack(value)), unpack(encode(value)), unpack(pack(value))):
        assert np.array_equal(read["a"], value["a"])
        assert read["a"].dtype == np.float32
        assert [type(one) for one in read["b"]] == [np.float32, np.bool_, np.ndarray, np.ndarray]
        assert (read["b"][2].shape, read["b"][3].shape) == ((0, 3), ())
        assert (read["c"]["d"], read["c"]["e"], list(read["c"]["f"])) == ("text", None, [1, 2.5, True, b"x"])
    unpack(pack(value))["a"][0] = 7.0
    for wrong in (np.array([None]), np.array(["a"]), 1j, np.complex64(1)):
        with pytest.raises(PolicyError):
            pack({"a": wrong})
    for broken in (
        b"",
        b"\xc1",
        pack({"a": 1})[:-1],
        *(
            encode({"x": np.zeros(2)}).replace(good, bad)
            for good, bad in ((b"<f8", b"|O8"), (b"<f8", b"<f4"), (b"\x91\x02", b"\x91\x03"))
        ),
    ):
        with pytest.raises(PolicyError):
            unpack(broken)


def test_its_client_drives_our_server_in_sessions():
    observation = {
        "observation/front/rgb": np.zeros((4, 4, 3), np.uint8),
        "observation/front/intrinsics": np.eye(3),
        "observation/front/world_from_camera": np.eye(4),
        "prompt": "go",
    }
    with served(Counting()) as server, Client(server.url) as client:
        assert client.metadata["name"] == "counting"

        def asked(**changed) -> float:
            return round(float(client.infer({**observation, **changed})["actions"][0, 0]) / 0.1)

        assert [asked(), asked()] == [1, 2]
        client.reset("an episode")
        assert [asked(), asked()] == [1, 2]
        with pytest.raises(PolicyError, match="no such thing"):
            asked(prompt="fail")


def test_its_client_and_its_server_keep_memories_apart_and_report_failures():
    with one_file.serving(counting, name="mine") as url, Client(url) as one, Client(url) as other:
        assert one.metadata["name"] == "mine"
        one.reset()
        assert [int(client.infer({})["actions"][0, 0] * 1000.5) for client in (one, one, other, one)] == [1, 2, 1, 3]
        one.reset()
        assert int(one.infer({})["actions"][0, 0] * 1000.5) == 1
        with pytest.raises(PolicyError, match="RuntimeError: no such thing"):
            other.infer({"prompt": "fail"})
        assert int(one.infer({})["actions"][0, 0] * 1000.5) == 2


def test_its_server_calls_the_policy_for_one_client_at_a_time():
    inside, most = [0], [0]

    def busy(observation, memory):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.005)
        inside[0] -= 1
        return np.zeros((1, 7))

    def play(url: str) -> None:
        with Client(url) as client:
            for _ in range(5):
                client.infer({})

    with one_file.serving(busy) as url:
        threads = [threading.Thread(target=play, args=(url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == [1]


def test_its_server_is_for_this_machine_unless_it_has_a_token_and_a_certificate_or_may_be_insecure():
    for options in ({}, {"token": "secret"}, {"certificate": "c.pem", "key": "k.pem"}):
        refused = pytest.raises(PolicyError, match="token and a certificate")
        with refused, one_file.serving(counting, host="0.0.0.0", **options):
            pass
    with one_file.serving(counting, host="0.0.0.0", insecure=True) as url, Client(url) as client:
        assert client.infer({})["actions"].shape == (5, 7)
    with one_file.serving(counting, token="secret") as url:
        with Client(url, token="secret") as client:
            assert client.infer({})["actions"].shape == (5, 7)
        for wrong in ("", "other"):
            with pytest.raises(Exception, match="401"), Client(url, token=wrong):
                pass


def test_its_client_sends_no_token_in_the_clear_beyond_this_machine():
    with pytest.raises(PolicyError, match="in the clear"):
        Client("ws://192.0.2.1:8000", token="secret")
    refused = pytest.raises(PolicyError, match="PEM files that belong together")
    with refused, one_file.serving(counting, certificate="none.pem", key="none.pem"):
        pass


@needs_openssl
def test_with_a_certificate_its_server_speaks_tls_alone_to_its_client_and_to_our_policy(tmp_path):
    certificate, key = made_certificate(tmp_path)
    (tmp_path / "names.yaml").write_text(NAMES)
    (tmp_path / "token").write_text("secret\n")
    options = {"certificate": str(certificate), "key": str(key), "token": "secret"}
    with one_file.serving(counting, name="mine", version="1", weights="ab12", **options) as url:
        assert url.startswith("wss://127.0.0.1:")
        with Client(url, token="secret", certificate=str(certificate)) as client:
            assert client.infer({})["actions"].shape == (5, 7)
        for wrong in ({"token": "secret"}, {"token": "other", "certificate": str(certificate)}):
            with pytest.raises(Exception, match=r"CERTIFICATE_VERIFY_FAILED|401"), Client(url, **wrong):
                pass
        with pytest.raises(Exception, match=r"HTTP|response|closed|reset"), Client(url.replace("wss", "ws")):
            pass
        settings = {"url": url, "names": "names.yaml", "names_root": str(tmp_path)}
        trusting = {"tls_certificate": str(certificate), "token_file": str(tmp_path / "token")}
        served = RemotePolicyConfig(**settings, **trusting).pinned()
        assert len(played(served.build(), 2)) == 2
        assert "BEGIN CERTIFICATE" not in repr(served)
        with pytest.raises(ConfigError, match=r"must answer at its address.*CERTIFICATE_VERIFY_FAILED"):
            RemotePolicyConfig(**settings, token_file=str(tmp_path / "token")).pinned()
    for broken, words in ((tmp_path / "none.pem", "can be read"), (tmp_path / "token", "PEM file with a certificate")):
        with pytest.raises(ConfigError, match=words):
            RemotePolicyConfig(**settings, tls_certificate=str(broken)).pinned()


def test_our_remote_policy_drives_its_server_in_sessions_under_the_names_of_a_file(tmp_path):
    (tmp_path / "names.yaml").write_text(NAMES)
    with one_file.serving(counting, name="mine", version="1", weights="ab12") as url:
        settings = RemotePolicyConfig(url=url, names="names.yaml", names_root=str(tmp_path)).pinned()
        assert settings.resumable
        policy = settings.build()
        assert isinstance(policy, ResettableRemotePolicy)
        assert not policy.one_episode_at_a_time
        own, other = played(policy, 3), played(policy, 2)

        def counts(decisions) -> list[int]:
            return [round(float(one.intents[0].values[0, 0]) / 0.001) for one in decisions]

        assert (counts(own), counts(other)) == ([1, 2, 3], [1, 2])
        assert counts(played(policy, 1, first=3, carry=policy.wiped(own[-1].carry))) == [1]
        assert counts(played(policy, 1, first=3, carry=policy.swapped(own[-1].carry, other[-1].carry))) == [3]
