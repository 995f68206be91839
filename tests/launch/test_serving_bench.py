"""The benchmark of serving counts what clients see, and judges it."""

from contextlib import contextmanager

import numpy as np
import pytest

from embodied.codec import encode, request_to_plain
from embodied.errors import ConfigError
from launch.benchmarks.serving import ServingBenchConfig, load
from tests.serving.clients import Counting, request, served


@pytest.fixture
def started(monkeypatch):
    """The policies for which a server was started, each with its threads; they are served in this process."""
    found = []

    @contextmanager
    def server(policy, *, window_ms, threads, batches=1):
        found.append((policy, threads))
        with served(Counting(pause_s=0.02), window_s=1e-3 * window_ms) as one:
            yield one.url

    monkeypatch.setattr(load, "server", server)
    monkeypatch.setattr(load, "observed", lambda px: request(px=px))
    return found


def test_many_sessions_are_measured_against_one_for_each_number_of_threads(started):
    config = ServingBenchConfig(sessions=4, seconds=0.6, rounds=5, camera_px=8, window_ms=50.0, threads=[1, 2])
    result = load.measure(config)
    assert started == [("sam2act_plus", 1), ("sam2act_plus", 2), ("random", 1)]
    for threads in ("1 threads", "2 threads"):
        found = result["loads"][threads]
        assert found["one"]["batch_mean"] == 1.0
        assert found["many"]["batch_mean"] > 1.5
        assert found["many_against_one"] == found["many"]["decisions_per_s"] / found["one"]["decisions_per_s"] > 1.0
        assert found["many"]["p95_allowed_ms"] == 50.0 + 2 * found["many"]["batch_ms_p50"]
    assert result["loopback"]["p50_ms"] > 20.0
    assert result["met"]["loopback p50 <= 3 ms"] is False
    assert len(result["met"]) == 5


def test_refused_requests_and_invalid_settings_end_the_measurement(started):
    del started
    with served() as server, pytest.raises(ConfigError, match="must answer requests of four cameras"):
        load.loopback(server.url, encode({"request": {**request_to_plain(request()), "step": "x"}}), 1)
    for wrong in ({"sessions": 0}, {"seconds": 0.0}, {"threads": [0]}):
        with pytest.raises(ConfigError):
            ServingBenchConfig(**wrong).check()
    assert np.isfinite(load.Load(1.0, np.ones(3), np.ones(3), np.ones(3)).summary(1.0)["latency_ms_p95"])
