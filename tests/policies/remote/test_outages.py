"""A server that goes away, hangs, lies or comes back as another one: the same decisions, or a clear reason in time."""

import base64
import hashlib
import socket
import struct
import threading
import time
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from embodied.errors import ConfigError, OutageError
from embodied.types import MoveTo
from policies.remote.config import RemotePolicyConfig
from tests.policies.remote.requests import observation, played, request
from tests.policies.remote.servers import OURS, PolicyServer, pack, running


def built(url: str, **settings):
    return RemotePolicyConfig(url=url, **{"outage_s": 10.0, "answer_timeout_s": 2.0, **settings}).build()


def cut_at(*requests: int):
    """Returns interference that cuts the connection at the given requests, counted from 0 over all connections."""
    number = count()

    def interfere(server, socket, message):
        if "reset" in message or next(number) not in requests:
            return False
        socket.close_socket()
        return True

    return interfere


def values(decisions) -> np.ndarray:
    intents = [one.intents[0] for one in decisions]
    return np.array([one.position_m if isinstance(one, MoveTo) else one.values for one in intents])


@pytest.mark.parametrize(("dialect", "metadata"), [("openpi", {}), ("robomme", {}), ("embodied", OURS)])
def test_decisions_after_an_outage_are_those_of_an_undisturbed_run(dialect, metadata):
    with running(PolicyServer(dialect, metadata).handle) as url:
        undisturbed = values(played(built(url, dialect=dialect), 5))
    server = PolicyServer(dialect, metadata, before=cut_at(2, 5, 6))
    with running(server.handle) as url:
        disturbed = values(played(built(url, dialect=dialect), 5))
    assert server.log.connections == 5
    assert np.array_equal(undisturbed, disturbed)


def test_a_server_that_was_killed_and_comes_back_empty_is_brought_to_where_it_was():
    with running(PolicyServer("embodied", OURS).handle) as url:
        undisturbed = values(played(built(url), 4))
    with running(PolicyServer("embodied", OURS).handle) as url:
        policy = built(url)
        before = played(policy, 2)
    reborn, done = PolicyServer("embodied", OURS), threading.Event()

    def later():
        time.sleep(0.4)
        with running(reborn.handle, int(url.rpartition(":")[2])):
            done.wait(20)

    thread = threading.Thread(target=later)
    thread.start()
    try:
        after = played(policy, 2, first=2, carry=before[-1].carry)
    finally:
        done.set()
        thread.join()
    assert np.array_equal(undisturbed, values([*before, *after]))
    assert (len(reborn.log.messages), reborn.log.resets) == (4, 1)


def test_a_server_that_stays_away_ends_in_an_outage_in_time():
    with running(PolicyServer().handle) as url:
        policy = built(url, outage_s=0.5)
        (first,) = played(policy, 1)
    begun_s = time.monotonic()
    with pytest.raises(OutageError, match="must answer at its address"):
        policy.act([request(1, carry=first.carry)])
    assert time.monotonic() - begun_s < 3.0


def test_a_server_that_has_stayed_away_is_tried_once_for_each_later_episode_until_it_is_back():
    with running(PolicyServer().handle) as url:
        served = RemotePolicyConfig(url=url, outage_s=0.5).pinned()
    for shortest_s, longest_s in ((0.2, 3.0), (0.0, 0.2), (0.0, 0.2)):
        begun_s = time.monotonic()
        with pytest.raises(OutageError):
            served.build().act([request()])
        assert shortest_s <= time.monotonic() - begun_s < longest_s
    with running(PolicyServer().handle, int(url.rpartition(":")[2])):
        assert played(served.build(), 2)


def test_a_server_that_comes_back_as_another_one_is_not_used():
    with running(PolicyServer("embodied", OURS).handle) as url:
        policy = built(url, outage_s=0.3)
        (first,) = played(policy, 1)
    other = {**OURS, "weights": "cd34"}
    complaint = r"must be the one that began the run.*ab12.*cd34"
    with (
        running(PolicyServer("embodied", other).handle, int(url.rpartition(":")[2])),
        pytest.raises(OutageError, match=complaint),
    ):
        policy.act([request(1, carry=first.carry)])


def test_a_server_that_does_not_repeat_its_answers_ends_the_episode():
    draws = iter(range(100))
    server = PolicyServer(before=cut_at(2))
    server.actions = lambda seen: np.full((8, 7), 0.001 * next(draws))
    with running(server.handle) as url, pytest.raises(OutageError, match="must answer the requests of a session as"):
        played(built(url), 3)


def test_requests_that_do_not_fit_are_not_kept_and_an_outage_then_ends_the_episode():
    with running(PolicyServer(before=cut_at(9)).handle) as url:
        policy = built(url, replay_mb=1)
        with pytest.raises(OutageError, match="replay_mb"):
            played(policy, 10)


def answers(content) -> PolicyServer:
    """Returns a server that answers each request with `content`, or with what it does on the socket."""

    def interfere(server, socket, message):
        if callable(content):
            content(socket)
        else:
            socket.send(content)
        return True

    return PolicyServer(before=interfere)


def claim_a_frame(socket) -> None:
    socket.socket.sendall(b"\x82\x7f" + struct.pack(">Q", 2 << 30) + b"x" * 100)


def keep_silent(socket) -> None:
    time.sleep(0.7)


def drip(socket) -> None:
    for _ in range(40):
        socket.socket.sendall(b"\x00\x01x")  # Fragments without end.
        time.sleep(0.05)


def drip_from_the_start(socket) -> None:
    socket.socket.sendall(b"\x02\x01x")
    drip(socket)


LARGE = pack({"actions": {b"__ndarray__": True, b"data": b"xx", b"dtype": "<f4", b"shape": [2**31, 7]}})
OBJECTS = pack({"actions": {b"__ndarray__": True, b"data": b"x" * 56, b"dtype": "|O8", b"shape": [1, 7]}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("Traceback\nValueError: no such key", "text reports an error.*ValueError: no such key", id="text"),
        pytest.param(pack({"actions": np.full((8, 7), np.nan)}), "finite numbers.*nan in row 0", id="nan"),
        pytest.param(pack({"actions": np.zeros((8, 5))}), r"must be \(rows, 7 or more\)", id="narrow"),
        pytest.param(pack({"actions": np.zeros((0, 7))}), "rows", id="empty"),
        pytest.param(pack({"actions": np.zeros((2, 2, 7))}), "rows", id="deep"),
        pytest.param(pack({"actions": "left"}), "must hold an array 'actions'", id="no array"),
        pytest.param(pack({"action": np.zeros((8, 7))}), "must hold an array 'actions'", id="another key"),
        pytest.param(b"\xdd\x7f\xff\xff\xff", "msgpack as openpi writes it", id="2 GB list"),
        pytest.param(b"\xc6\x7f\xff\xff\xff", "msgpack as openpi writes it", id="2 GB bytes"),
        pytest.param(LARGE, "msgpack as openpi writes it", id="2 GB array"),
        pytest.param(OBJECTS, "msgpack as openpi writes it", id="objects"),
        pytest.param(b"\x91" * 100_000, "msgpack as openpi writes it", id="nested"),
        pytest.param(claim_a_frame, "keep its connection open.*too big", id="2 GB frame"),
        pytest.param(keep_silent, "its answer within 0.5 s", id="silent"),
        pytest.param(drip_from_the_start, "its answer within 0.5 s", id="dripping"),
        pytest.param(lambda socket: socket.close_socket(), "keep its connection open", id="gone"),
    ],
)
def test_each_bad_answer_has_its_reason_in_time(content, reason):
    server = answers(content)
    with running(server.handle) as url:
        policy = built(url, answer_timeout_s=0.5, outage_s=0.0)
        begun_s = time.monotonic()
        with pytest.raises(OutageError, match=f"(?s){reason}"):
            policy.act([request()])
        assert time.monotonic() - begun_s < 4.0


def test_a_bad_answer_that_does_not_come_again_is_forgotten():
    lies = iter(["Traceback: out of memory", pack({"actions": np.full((8, 7), np.nan)})])

    def interfere(server, socket, message):
        lie = next(lies, None) if len(server.log.messages) == 1 else None
        if lie is not None:
            socket.send(lie)
        return lie is not None

    with running(PolicyServer().handle) as url:
        undisturbed = values(played(built(url), 3))
    with running(PolicyServer(before=interfere).handle) as url:
        assert np.array_equal(undisturbed, values(played(built(url), 3)))


def test_a_server_that_stalls_for_longer_than_an_answer_may_take_ends_as_undisturbed():
    with running(PolicyServer("embodied", OURS).handle) as url:
        undisturbed = values(played(built(url), 4))
    number, awake = count(), threading.Event()

    def stall(server, socket, message):
        if "reset" in message or next(number) < 2:
            return False
        return not awake.wait(0.01)  # Neither this connection nor a new one is answered.

    server = PolicyServer("embodied", OURS, before=stall)
    threading.Timer(1.0, awake.set).start()
    with running(server.handle) as url:
        disturbed = values(played(built(url, answer_timeout_s=0.3), 4))
    assert server.log.connections > 2
    assert np.array_equal(undisturbed, disturbed)


def test_a_peer_that_does_not_read_cannot_hold_a_request_up(tmp_path):
    (tmp_path / "large.yaml").write_text(
        "version: 1\nrobot: panda\nrequest: {eye: {image: front}}\nanswer:\n  space: ee_delta\n  fields:\n"
        "    translation: {column: 0}\n    rotation: {column: 3}\n    gripper: {column: 6}\n"
    )

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        done = threading.Event()
        thread = threading.Thread(target=introduce_and_read_no_more, args=(listening, 2, done))
        thread.start()
        policy = built(url, answer_timeout_s=0.5, outage_s=0.0, names="large.yaml", names_root=str(tmp_path))
        large = replace(request(), observation=observation(0, px=2500))
        begun_s = time.monotonic()
        with pytest.raises(OutageError, match=r"within 0.5 s"):
            policy.act([large])
        assert time.monotonic() - begun_s < 3.0
        done.set()
        thread.join()


def introduce_and_read_no_more(listening: socket.socket, times: int, done: threading.Event) -> None:
    """Shakes hands by hand, since a library would read on, and keeps the connections until it is `done`."""
    kept = []
    for _ in range(times):
        peer, _ = listening.accept()
        kept.append(peer)
        asked = peer.recv(4096).decode()
        key = next(line.split(": ")[1] for line in asked.splitlines() if line.lower().startswith("sec-websocket-key"))
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        peer.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n" + b"\x82\x01\x80"
        )
    done.wait(10.0)
    for peer in kept:
        peer.close()


@pytest.mark.parametrize("metadata", ["busy", b"\xc1", pack([1, 2])])
def test_a_server_that_introduces_itself_wrongly_is_refused_before_a_run(metadata):
    def handle(socket):
        socket.send(metadata)

    with running(handle) as url, pytest.raises(ConfigError, match="metadata of a policy server"):
        built(url)


def test_an_address_without_a_server_is_refused_at_once():
    begun_s = time.monotonic()
    with pytest.raises(ConfigError, match="must answer at its address"):
        built("ws://127.0.0.1:1")
    assert time.monotonic() - begun_s < 2.0


def test_a_server_that_never_introduces_itself_is_refused_by_the_deadline():
    done = threading.Event()
    with running(lambda socket: done.wait(10)) as url:
        with pytest.raises(ConfigError, match="its metadata within"):
            built(url, connect_timeout_s=0.4)
        done.set()
