"""Starts the server as a process, with clients that send requests as fast as it answers."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from embodied.codec import decode, encode, request_to_plain
from embodied.errors import ConfigError
from embodied.rollout.requests import without_instances
from embodied.scenes.tabletop import ROBOT
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.types import Request
from launch.benchmarks.serving.config import ServingBenchConfig

SHARES_WANTED = {1: 1.8, 2: 1.1}  # Many sessions against one, by threads of PyTorch.
BATCHES_WAITED = 2
LOOPBACK_WANTED_MS = 3.0
WARMING_UP = 3
ANSWER_S = 120.0
ANSWERS_NOTHING = "random"


@dataclass(frozen=True)
class Load:
    """The measurements of one server's clients: decisions per second; latency and batch time of requests in ms."""

    rate_hz: float
    latency_ms: np.ndarray
    infer_ms: np.ndarray
    batch: np.ndarray

    def summary(self, window_ms: float) -> dict[str, Any]:
        """Returns the summary; `p95_allowed_ms` is the window plus two batches."""
        batch_ms = float(np.median(self.infer_ms))
        return {
            "decisions_per_s": self.rate_hz,
            "batch_ms_p50": batch_ms,
            "batch_mean": float(self.batch.mean()),
            "latency_ms_p50": float(np.median(self.latency_ms)),
            "latency_ms_p95": float(np.quantile(self.latency_ms, 0.95)),
            "p95_allowed_ms": window_ms + BATCHES_WAITED * batch_ms,
        }


def measure(config: ServingBenchConfig) -> dict[str, Any]:
    """Returns the loads of one session and of many for each number of threads, the loopback, and the goals met.

    Raises `ConfigError` for a policy that cannot be served.
    """
    message = encode({"request": request_to_plain(observed(config.camera_px))})
    loads: dict[str, Any] = {}
    met: dict[str, bool] = {}
    for threads in config.threads:
        with server(config.policy, window_ms=config.window_ms, threads=threads, batches=config.batches) as url:
            one, many = (load(url, message, sessions, config.seconds) for sessions in (1, config.sessions))
        share = many.rate_hz / one.rate_hz
        shown = {name: found.summary(config.window_ms) for name, found in (("one", one), ("many", many))}
        loads[f"{threads} threads"] = {**shown, "many_against_one": share}
        if threads in SHARES_WANTED:
            met[f"{config.sessions} sessions >= {SHARES_WANTED[threads]} x one, {threads} threads"] = (
                share >= SHARES_WANTED[threads]
            )
        met[f"p95 <= window + {BATCHES_WAITED} batches, {threads} threads"] = (
            shown["many"]["latency_ms_p95"] <= shown["many"]["p95_allowed_ms"]
        )
    with server(ANSWERS_NOTHING, window_ms=config.window_ms, threads=1) as url:
        trips_ms = loopback(url, message, config.rounds)
    p50_ms = statistics.median(trips_ms)
    met[f"loopback p50 <= {LOOPBACK_WANTED_MS:g} ms"] = p50_ms <= LOOPBACK_WANTED_MS
    return {
        "sessions": config.sessions,
        "loads": loads,
        "loopback": {
            "request_bytes": len(message),
            "p50_ms": p50_ms,
            "p95_ms": float(np.quantile(trips_ms, 0.95)),
        },
        "met": met,
    }


def load(url: str, message: bytes, sessions: int, seconds: float) -> Load:
    """Sends `message` to the server at `url` in `sessions` concurrent sessions for `seconds`, without pauses."""
    with ThreadPoolExecutor(sessions) as pool:
        begun_s = time.monotonic()
        found = list(pool.map(lambda _: list(_played(url, message, begun_s + seconds)), range(sessions)))
        taken_s = time.monotonic() - begun_s
    rows = np.array([row for session in found for row in session[WARMING_UP:] or session])
    count = sum(len(session) for session in found)
    return Load(count / taken_s, *rows.T)


def loopback(url: str, message: bytes, rounds: int) -> list[float]:
    """Returns milliseconds from each of `rounds` requests `message` at `url` to its answer, one after another."""
    with connected(url) as connection:
        return [_asked(connection, message)[0] for _ in range(rounds + WARMING_UP)][WARMING_UP:]


def observed(camera_px: int) -> Request:
    """Returns the first request of an episode, with four cameras of `camera_px`."""
    episode = PutBlockBack(camera_px=camera_px).sample(0)
    world = BulletConfig().build()
    try:
        world.reset(episode.scene)
        observation = without_instances(world.observe(ROBOT))
    finally:
        world.close()
    return Request(observation, episode.instruction, step=0, seed=0)


@contextmanager
def server(policy: str, *, window_ms: float, threads: int, batches: int = 1) -> Iterator[str]:
    """Starts `launch.serve`, yields its URL, and ends it.

    Args:
        policy: The policy to serve.
        window_ms: How long a request may wait for others of its batch.
        threads: The threads of PyTorch.
        batches: How many batches are computed at once.

    Raises:
        ConfigError: If the server does not start.
    """
    process = subprocess.Popen(  # noqa: S603 - our own command
        [
            sys.executable,
            "-m",
            "launch.serve",
            f"policy={policy}",
            f"window_ms={window_ms}",
            f"threads={batches}",
            "port=0",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        if not words:
            raise ConfigError("It must be possible to serve the policy.", value=policy)
        yield words[-1]
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def connected(url: str) -> Iterator[ClientConnection]:
    """Yields a connection that has read the metadata."""
    with connect(url, compression=None, max_size=None, proxy=None) as connection:
        connection.recv(timeout=ANSWER_S)
        yield connection


def _played(url: str, message: bytes, until_s: float) -> Iterator[tuple[float, float, float]]:
    with connected(url) as connection:
        while time.monotonic() < until_s:
            yield _asked(connection, message)


def _asked(connection: ClientConnection, message: bytes) -> tuple[float, float, float]:
    """Returns the latency of one request and the time of its batch in ms, and the size of the batch."""
    begun_s = time.perf_counter()
    connection.send(message)
    answer = connection.recv(timeout=ANSWER_S)
    latency_ms = 1e3 * (time.perf_counter() - begun_s)
    if isinstance(answer, str):
        raise ConfigError("The policy must answer requests of four cameras.", value=answer[:200])
    timing = decode(answer)["server_timing"]
    return latency_ms, timing["infer_ms"], timing["batch"]
