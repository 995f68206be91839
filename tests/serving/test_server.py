"""A served policy answers many sessions, each with its own memory, and no client harms another one."""

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from embodied.codec import action_spec_from_plain, decode, encode, observation_spec_from_plain, request_to_plain
from embodied.errors import ConfigError
from embodied.memory import open_bank
from embodied.serving import (
    Access,
    PolicyServer,
    ServerRefusedError,
    ServingSettings,
    SessionMoments,
    read_token,
    serving,
)
from embodied.specs import KEYFRAME
from tests.serving.clients import (
    IDENTITY,
    Built,
    Counting,
    asked,
    client,
    counted,
    made_certificate,
    needs_openssl,
    received,
    refusal,
    request,
    served,
)

TOKEN = "a-token-of-enough-characters"


def page(server: PolicyServer, path: str, **headers: str) -> str:
    address = server.url.replace("ws", "http", 1) + path
    with urlopen(HttpRequest(address, headers=headers), timeout=5) as answer:
        return answer.read().decode()


def metric(server: PolicyServer, name: str) -> float:
    line = next(line for line in page(server, "/metrics").splitlines() if line.startswith(f"embodied_serving_{name} "))
    return float(line.split()[-1])


def test_the_server_introduces_itself_before_it_is_asked():
    with served() as server, connect(server.url, compression=None) as connection:
        stated = decode(received(connection))
        assert (stated["protocol"], stated["name"], stated["weights"]) == ("embodied/1", "counting", "sha")
        assert (stated["sessions"], stated["reset"], stated["memory"]) == (True, True, True)
        assert action_spec_from_plain(stated["action_spec"]) == KEYFRAME
        assert observation_spec_from_plain(stated["observation_spec"]) == Counting.observation_spec
        assert "observation/front/rgb" in stated["observation_keys"]


def test_sessions_on_one_connection_keep_their_memories_apart_and_a_reset_empties_one():
    with served() as server, client(server) as connection:
        assert [counted(connection, name) for name in ("a", "a", "b", "a", "b")] == [1, 2, 1, 3, 2]
        answer = asked(connection, {"reset": True, "session_id": "a", "episode_id": "e"})
        assert answer == {"reset": True, "reset_finished": True, "session_id": "a", "episode_id": "e"}
        assert [counted(connection, name) for name in ("a", "b")] == [1, 3]


def test_a_named_session_outlives_its_connection_and_one_without_a_name_does_not():
    with served() as server:
        with client(server) as connection:
            assert [counted(connection), counted(connection), counted(connection, "a")] == [1, 2, 1]
            assert asked(connection, {"reset": True})["reset"] is True
            assert counted(connection) == 1
        with client(server) as connection:
            assert [counted(connection), counted(connection, "a")] == [1, 2]
        assert metric(server, "sessions") == 1


def test_a_client_of_openpi_gets_rows_of_actions_for_an_observation_of_flat_keys():
    policy = Counting()
    observation = {
        "observation/front/rgb": np.zeros((4, 6, 3), np.uint8),
        "observation/front/intrinsics": np.eye(3, dtype=np.float32),
        "observation/front/world_from_camera": np.eye(4),
        "observation/proprio": np.zeros(3),
        "observation/gripper": np.float32(0.5),
        "observation/other": "whatever else",
        "prompt": "go",
    }
    with served(policy) as server, client(server) as connection:
        answers = [asked(connection, observation) for _ in range(2)]
    assert [answer["actions"].dtype for answer in answers] == [np.float32] * 2
    assert [answer["actions"].shape for answer in answers] == [(1, KEYFRAME.size)] * 2
    assert [round(float(answer["actions"][0, 0]), 3) for answer in answers] == [0.1, 0.2]
    assert set(answers[0]["server_timing"]) == {"infer_ms", "wait_ms", "batch"}
    first, second = policy.seen
    assert (first.step, second.step, first.observation.gripper, first.instruction) == (0, 1, 0.5, "go")
    assert first.seed != second.seed
    assert not first.observation.images["front"].depth_m.any()


def test_requests_of_several_sessions_share_batches_and_get_what_they_would_get_alone():
    policy = Counting(pause_s=0.02)
    with served(policy, window_s=0.2) as server, ThreadPoolExecutor(4) as pool:

        def play(name: str) -> list[int]:
            with client(server) as connection:
                ready.wait()
                return [counted(connection, name) for _ in range(5)]

        ready = threading.Barrier(4)
        assert list(pool.map(play, "abcd")) == [[1, 2, 3, 4, 5]] * 4
    assert max(policy.batches) == 4
    assert len(policy.batches) < 12


def test_several_threads_share_what_waits():
    inside, most = [], []

    class Watched(Counting):
        def act(self, requests):
            inside.append(len(requests))
            most.append(list(inside))
            decisions = super().act(requests)
            inside.remove(len(requests))
            return decisions

    def play(name: str) -> list[int]:
        with client(server) as connection:
            ready.wait()
            return [counted(connection, name) for _ in range(4)]

    ready = threading.Barrier(4)
    with served(Watched(pause_s=0.05), window_s=0.2, threads=2) as server, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(play, "abcd")) == [[1, 2, 3, 4]] * 4
    assert max(map(len, most)) == 2
    assert [2, 2] in most


def test_a_single_client_never_waits_for_a_batch():
    with served(window_s=5.0) as server, client(server) as connection:
        begun_s = time.monotonic()
        assert [counted(connection) for _ in range(3)] == [1, 2, 3]
        assert time.monotonic() - begun_s < 4.0


def test_a_request_that_makes_the_policy_fail_ends_its_connection_in_words_and_harms_no_other():
    with served(window_s=0.2) as server, client(server) as good, client(server) as bad:
        bad.send(encode({"request": request_to_plain(request("fail"))}))
        assert counted(good) == 1
        words = bad.recv(timeout=5)
        assert words == "The policy has failed: RuntimeError: no such thing"
        with pytest.raises(ConnectionClosed) as closed:
            bad.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert counted(good) == 2


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("text", "binary msgpack"),
        (b"\xc1", "well-formed msgpack"),
        (encode([1]), "must be a mapping"),
        (encode({"reset": 1}), "`reset`: true"),
        (encode({"session_id": 5}), "session_id must be a text"),
        (encode({"request": {}}), "must have the field"),
        (encode({"observation/front/rgb": np.zeros((2, 2))}), "observation.images.front.rgb"),
        (encode({"request": {**request_to_plain(request()), "carry": {"count": 99}, "step": "x"}}), "request.step"),
        (encode({"request": request_to_plain(request("bad carry"))}), "carry"),
    ],
)
def test_malformed_messages_are_refused_in_words_and_the_server_goes_on(message, words):
    with served() as server:
        with client(server) as connection:
            assert words in refusal(connection, message)
        with client(server) as connection:
            assert counted(connection) == 1


def test_the_carry_of_a_client_is_not_used_and_that_of_the_policy_not_sent():
    policy = Counting()
    with served(policy) as server, client(server) as connection:
        answer = asked(connection, {"request": request_to_plain(replace(request(), carry={"count": 7}))})
        assert answer["decision"]["carry"] is None
        assert policy.seen[0].carry is None


def test_messages_beyond_the_limit_end_their_connection_alone():
    with served(message_bytes=2000) as server, client(server) as good:
        with client(server) as connection, pytest.raises(ConnectionClosed):
            connection.send(b"\x00" * 3000)
            connection.recv(timeout=5)
        assert counted(good) == 1


def test_clients_that_do_not_read_and_peers_that_speak_no_http_delay_no_other_client():
    with served() as server, client(server) as good:
        host, port = server.url.removeprefix("ws://").split(":")
        with (
            socket.create_connection((host, int(port))) as silent,
            socket.create_connection((host, int(port))) as noise,
        ):
            noise.sendall(b"\x00\xff" * 500 + b"\r\n\r\n")
            with client(server, max_queue=1) as lazy:
                for _ in range(20):
                    lazy.send(encode({"request": request_to_plain(request(px=64))}))
                assert [counted(good, "g") for _ in range(20)] == list(range(1, 21))
            silent.close()
        assert page(server, "/healthz") == "OK\n"


def test_a_slow_policy_delays_neither_health_nor_metrics():
    with served() as server, client(server) as connection:
        connection.send(encode({"request": request_to_plain(request("slow"))}))
        begun_s = time.monotonic()
        assert page(server, "/healthz") == "OK\n"
        assert time.monotonic() - begun_s < 0.25
        received(connection)


def test_metrics_count_what_was_answered_and_refused():
    with served() as server:
        with client(server) as connection:
            counted(connection, "a")
            refusal(connection, "text")
        text = page(server, "/metrics")
    assert 'embodied_serving_requests_total{outcome="ok"} 1' in text
    assert 'embodied_serving_requests_total{outcome="refused"} 1' in text
    assert "embodied_serving_batch_size_count 1" in text
    assert 'embodied_serving_wait_seconds_bucket{le="+Inf"} 1' in text


def test_no_more_connections_are_open_than_allowed():
    with served(connections=1) as server:
        with client(server), pytest.raises(InvalidStatus, match="503"), client(server):
            pass
        time.sleep(0.1)
        with client(server) as connection:
            assert counted(connection) == 1


def test_without_the_token_nothing_but_health_is_answered():
    access = Access(token=TOKEN)
    assert TOKEN not in repr(access)
    with served(access=access) as server:
        for headers in ({}, {"Authorization": "Api-Key wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            with pytest.raises(InvalidStatus, match="401"), client(server, additional_headers=headers):
                pass
            with pytest.raises(HTTPError, match="401"):
                page(server, "/metrics", **headers)
        assert page(server, "/healthz") == "OK\n"
        for scheme in ("Api-Key", "Bearer"):
            with client(server, additional_headers={"Authorization": f"{scheme} {TOKEN}"}) as connection:
                assert counted(connection) == 1
        for user, secret, admitted in (("any", TOKEN, True), ("any", TOKEN[:-1], False), (TOKEN, "", False)):
            named = server.url.replace("ws://", f"ws://{user}:{secret}@")  # As clients send it that take a URL alone.
            refused = nullcontext() if admitted else pytest.raises(InvalidStatus, match="401")
            with refused, connect(named, open_timeout=5, close_timeout=1):
                pass
        assert TOKEN not in page(server, "/metrics", Authorization=f"Bearer {TOKEN}")


def test_pages_in_a_browser_may_not_connect():
    with served() as server, pytest.raises(InvalidStatus, match="403"), client(server, origin="http://evil.example"):
        pass


def test_beyond_this_machine_a_server_needs_a_token_and_tls_unless_it_may_be_insecure(tmp_path):
    complete = Access(token=TOKEN, certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    for host in ("127.0.0.1", "::1", "localhost"):
        Access().require_safe(host, insecure=False)
    complete.require_safe("0.0.0.0", insecure=False)
    Access().require_safe("0.0.0.0", insecure=True)
    for access in (Access(), Access(token=TOKEN), replace(complete, token="")):
        for host in ("0.0.0.0", "::", "", "robot.example"):
            with pytest.raises(ConfigError, match="token and TLS"):
                access.require_safe(host, insecure=False)
    with pytest.raises(ConfigError, match="PEM"):
        complete.tls()


def test_a_token_comes_from_a_file_or_a_variable_and_is_never_shown(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nsecond line\n")
    monkeypatch.setenv("SERVING_TOKEN", TOKEN)
    assert read_token(file=str(file)) == read_token(variable="SERVING_TOKEN") == TOKEN
    assert read_token() == ""
    monkeypatch.setenv("SERVING_TOKEN", "short-secret")
    for options in (
        {"file": str(file), "variable": "X"},
        {"file": str(tmp_path / "no")},
        {"variable": "SERVING_TOKEN"},
    ):
        with pytest.raises(ConfigError) as refused:
            read_token(**options)
        assert "short-secret" not in str(refused.value)


def test_sessions_that_are_not_used_give_way_and_do_not_go_on_unnoticed():
    with served(sessions=3) as server, client(server) as connection:
        assert [counted(connection, name) for name in ("a", "b", "c", "a", "d")] == [1, 1, 1, 2, 1]
        assert counted(connection, "a") == 3
        assert "must not have been evicted" in refusal(
            connection, encode({"request": request_to_plain(request()), "session_id": "b"})
        )
    with served(session_idle_s=0.05) as server, client(server) as connection:
        counted(connection, "a")
        time.sleep(0.1)
        counted(connection, "b")
        assert metric(server, "sessions") == 1


def test_memories_are_bounded_in_bytes():
    with served(session_bytes=400) as server, client(server) as connection:
        counted(connection, "a")
        counted(connection, "b")
        counted(connection, "c")
        assert metric(server, "session_bytes") <= 400
        assert metric(server, "sessions") < 3


def test_a_session_in_use_is_not_used_twice():
    with served() as server, client(server) as one, client(server) as other:
        one.send(encode({"request": request_to_plain(request("slow")), "session_id": "a"}))
        time.sleep(0.1)
        assert "one request before" in refusal(
            other, encode({"request": request_to_plain(request()), "session_id": "a"})
        )
        received(one)


def test_a_server_that_stops_lets_requests_in_progress_end():
    with ExitStack() as kept:
        with served() as server:
            connection = kept.enter_context(client(server))
            connection.send(encode({"request": request_to_plain(request("slow"))}))
            time.sleep(0.1)
        assert decode(received(connection))["decision"]["intents"]
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


def test_memories_come_back_from_a_bank_after_a_restart_and_not_after_a_reset(tmp_path):
    url = f"sqlite:///{tmp_path}/memory.db"
    with open_bank(url) as bank, served(moments=SessionMoments(bank)) as server, client(server) as connection:
        assert [counted(connection, name) for name in ("a", "a", "b", "c")] == [1, 2, 1, 1]
        asked(connection, {"reset": True, "session_id": "b"})
        asked(connection, {"reset": True, "session_id": "c"})
        assert [counted(connection, "c"), counted(connection)] == [1, 1]
    with open_bank(url) as bank, served(moments=SessionMoments(bank)) as server, client(server) as connection:
        assert [counted(connection, name) for name in ("a", "a", "b", "c", "new")] == [3, 4, 1, 2, 1]
        assert counted(connection) == 1


class ForgetfulPolicy(Counting):
    """Counts in itself, against the rules of policies that many sessions share."""

    stateless = False
    made = 0

    def __init__(self):
        super().__init__()
        type(self).made += 1
        self.count = 0

    def _decide(self, request):
        self.count += 1
        return super()._decide(replace(request, carry={"count": self.count - 1}))

    @classmethod
    def build(cls):
        return cls()


def test_a_policy_that_may_keep_state_in_itself_is_built_anew_for_each_session():
    with serving(ForgetfulPolicy, IDENTITY, ServingSettings(port=0)) as server, client(server) as connection:
        assert ForgetfulPolicy.made == 1
        assert [counted(connection, name) for name in ("a", "b", "a", "b", "a")] == [1, 1, 2, 2, 3]
        asked(connection, {"reset": True, "session_id": "a"})
        assert [counted(connection, name) for name in ("a", "b")] == [1, 3]
        assert ForgetfulPolicy.made == 4


@dataclass
class Privileged(Counting):
    privileged = True


def test_policies_that_need_the_truth_and_addresses_in_use_are_refused():
    with pytest.raises(ConfigError, match="cannot be served"):
        PolicyServer(Built(Privileged()), IDENTITY, ServingSettings())
    with served() as server:
        port = int(server.url.rsplit(":", 1)[1])
        again = serving(Built(Counting()), IDENTITY, ServingSettings(port=port))
        with pytest.raises(ServerRefusedError, match="must be able to listen"), again:
            pass
    for wrong in ({"port": -1}, {"window_s": -1.0}, {"batch": 0}, {"session_idle_s": float("inf")}):
        with pytest.raises(ConfigError):
            ServingSettings(**wrong)


@needs_openssl
def test_with_a_certificate_the_server_speaks_tls_alone(tmp_path):
    files = dict(zip(("certificate", "key"), made_certificate(tmp_path), strict=True))
    trusting = ssl.create_default_context(cafile=files["certificate"])
    with served(access=Access(token=TOKEN, **files)) as server:
        assert server.url.startswith("wss://127.0.0.1:")
        headers = {"Authorization": f"Api-Key {TOKEN}"}
        with client(server, ssl=trusting, additional_headers=headers) as connection:
            assert counted(connection) == 1
        plain = server.url.replace("wss", "ws")
        with pytest.raises(Exception, match=r"HTTP|response|closed|reset"), connect(plain, open_timeout=5):
            pass
