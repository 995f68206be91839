"""Measures a served policy: decisions per second of many sessions against one, waiting times, and the loopback."""

from typing import Any

from embodied.evaluation.provenance import cpu, versions
from launch.benchmark import Benchmark
from launch.benchmarks.serving.config import ServingBenchConfig


def measure(config: ServingBenchConfig) -> dict[str, Any]:
    """Returns decisions per second, waits and round trips, and whether the goals are met. Raises `ConfigError`."""
    from launch.benchmarks.serving import load

    config.check()
    return {"what": "serving", "cpu": cpu(), "versions": versions(), **load.measure(config)}


BENCHMARK = Benchmark(configs={"serving": ServingBenchConfig}, measure=lambda _, config: measure(config))
