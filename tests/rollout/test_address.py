import os
import socket
import subprocess
import sys
import threading
import time

import pytest
import ray

from embodied.errors import ConfigError
from embodied.rollout.compute import ComputeConfig, ComputeKind
from embodied.rollout.ray.address import host_and_port, require_answer
from embodied.rollout.ray.cluster import existing_cluster
from tests.rollout.test_worker import CONFIG

MALFORMED = ["not an address", "127.0.0.1", "127.0.0.1:0", "host:99999", ":6379", "[::1:6379", "http://host:1", "a/b:1"]


@pytest.fixture
def nothing_joined(monkeypatch):
    """As in a process that has joined no Ray yet; joining one fails as it does where none runs."""

    def init(**settings):
        joined.append(settings)
        raise ConnectionError("Could not find any running Ray instance.")

    joined = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return joined


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "meant"),
    [("10.0.0.5:6379", ("10.0.0.5", 6379)), ("head:1", ("head", 1)), ("[::1]:6379", ("::1", 6379))],
)
def test_an_address_names_a_host_and_a_port(address, meant):
    assert host_and_port(address) == meant


@pytest.mark.parametrize("address", MALFORMED)
def test_what_is_no_address_is_refused_before_anything_starts(address):
    with pytest.raises(ConfigError, match="HOST:PORT") as refused:
        ComputeConfig(kind=ComputeKind.cluster, address=address).build(CONFIG)
    assert refused.value.value == address
    assert "10.0.0.5:6379" in refused.value.remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "a..b"])
def test_an_address_without_a_server_is_refused_at_once(nothing_joined, host):
    address, started_s = f"{host}:{free_port()}", time.monotonic()
    with pytest.raises(ConfigError, match="running Ray cluster") as refused, existing_cluster(address):
        pass
    assert time.monotonic() - started_s < 30.0
    assert address in str(refused.value.value)
    assert "ray start" in refused.value.remedy
    assert nothing_joined == []


def answering(server, answer):
    """Accepts one connection and sends `answer`; None for a proxy that keeps it open in silence."""

    def accept():
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            if answer is None:
                connection.recv(100)  # Until the client gives up.
            connection.sendall(answer or b"")

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    return thread


def test_an_address_where_a_server_of_grpc_answers_passes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering(server, bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        require_answer(f"127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "another kind of server"),
        (None, "no server answered"),
    ],
)
def test_a_proxy_that_accepts_the_connection_to_a_dead_address_is_refused_within_seconds(answer, reason):
    started_s = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering(server, answer)
        with pytest.raises(ConfigError, match=reason):
            require_answer(f"127.0.0.1:{server.getsockname()[1]}")
    assert time.monotonic() - started_s < 5.0


@pytest.mark.usefixtures("ray_session")
def test_a_cluster_that_runs_answers():
    require_answer(ray.get_runtime_context().gcs_address)


def test_auto_is_left_to_ray_and_refused_clearly_where_no_cluster_runs(nothing_joined):
    ComputeConfig(kind=ComputeKind.cluster, address="auto").build(CONFIG)
    with pytest.raises(ConfigError, match="ray start"), existing_cluster("auto"):
        pass
    assert [settings["address"] for settings in nothing_joined] == ["auto"]


@pytest.mark.proof
@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto", "ray://127.0.0.1:9"])
def test_a_local_ray_is_started_whatever_cluster_the_environment_names(address):
    code = (
        "import ray\n"
        "from embodied.rollout.ray.cluster import local_cluster\n"
        "with local_cluster(cpus=1, object_store_mb=128):\n"
        "    print(len(ray.nodes()))\n"
    )
    environment = os.environ | {"RAY_ADDRESS": address}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert shown.stdout.split()[-1:] == ["1"], shown.stderr[-2000:]
