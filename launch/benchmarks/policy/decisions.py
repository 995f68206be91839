"""Measures how long a SAM2Act policy takes to decide, and the share of its memory."""

import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from embodied.scenes.tabletop import ROBOT
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.types import Request
from launch.benchmarks.policy.settings import DecisionBenchConfig
from policies.sam2act import MemoryChoice, MemoryKind, Sam2ActConfig
from policies.sam2act.policy import Sam2ActPolicy

P50_WANTED_MS = 150.0
MEMORY_SHARE_WANTED = 0.2


def measure(config: DecisionBenchConfig) -> dict[str, Any]:
    """Returns milliseconds per decision with a full memory and without one, and the cost of memory.

    The policy has the default size and random weights, on four cameras of one MemoryBench table; both are measured in
    turns, under the same load.
    """
    config.check()
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        request = _observed(config.camera_px)
        kinds = {"with_memory": MemoryKind.window, "without": MemoryKind.off}
        policies = {name: _TimedPolicy(kind, request, moments=config.moments) for name, kind in kinds.items()}
        spent_ms: dict[str, list[float]] = {name: [] for name in policies}
        for _ in range(config.rounds):
            for name, policy in policies.items():
                spent_ms[name].append(policy.decide_ms())
    finally:
        torch.set_num_threads(before)
    p50_ms = {name: statistics.median(values) for name, values in spent_ms.items()}
    share = 1.0 - p50_ms["without"] / p50_ms["with_memory"]
    return {
        "cameras_px": config.camera_px,
        "moments": config.moments,
        "threads": config.threads,
        "rounds": config.rounds,
        "p50_ms": p50_ms,
        "worst_ms": {name: max(values) for name, values in spent_ms.items()},
        "memory_share": share,
        "met": {
            f"p50 <= {P50_WANTED_MS:g} ms": p50_ms["with_memory"] <= P50_WANTED_MS,
            f"memory <= {MEMORY_SHARE_WANTED:.0%} of a decision": share <= MEMORY_SHARE_WANTED,
        },
    }


class _TimedPolicy:
    """A policy that has already decided `moments` times, so that its memory is full."""

    def __init__(self, kind: MemoryKind, request: Request, *, moments: int) -> None:
        torch.manual_seed(0)
        memory = MemoryChoice(kind=kind, capacity=moments)
        self._policy: Sam2ActPolicy = Sam2ActConfig(memory=memory).build().policy(model_id="bench")
        self._request = request
        for step in range(moments):
            (decision,) = self._policy.act([replace(self._request, step=step)])
            self._request = replace(self._request, carry=decision.carry)

    def decide_ms(self) -> float:
        started_s = time.perf_counter()
        self._policy.act([self._request])
        return 1e3 * (time.perf_counter() - started_s)


def _observed(camera_px: int) -> Request:
    episode = PutBlockBack(camera_px=camera_px).sample(0)
    world = BulletConfig().build()
    try:
        world.reset(episode.scene)
        observation = world.observe(ROBOT)
    finally:
        world.close()
    return Request(observation, episode.instruction, step=0, seed=0)
