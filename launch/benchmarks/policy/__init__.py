"""Measures the rendering of point clouds as views, against OpenGL and Open3D, and the time of a policy's decisions."""

from typing import Any

from embodied.errors import MissingDependencyError
from embodied.evaluation.provenance import cpu, versions
from launch.benchmark import Benchmark
from launch.benchmarks.policy.settings import DecisionBenchConfig, SplatBenchConfig


def measure(splatting: SplatBenchConfig, deciding: DecisionBenchConfig) -> dict[str, Any]:
    """Returns how long rendering point clouds as views takes, and how long decisions take.

    Raises `MissingDependencyError` without PyTorch.
    """
    try:
        from launch.benchmarks.policy import decisions, splat
    except ImportError as error:
        raise MissingDependencyError(
            "Policies need PyTorch.", remedy="Install it: pip install 'embodied-memory[train]'."
        ) from error
    return {
        "what": "policy",
        "cpu": cpu(),
        "versions": versions(),
        "decision": decisions.measure(deciding),
        "splat": splat.measure(splatting),
    }


BENCHMARK = Benchmark(
    configs={"splat": SplatBenchConfig, "decision": DecisionBenchConfig},
    measure=lambda _, splatting, deciding: measure(splatting, deciding),
)
