"""Measures how far from their place blocks come to rest.

They are set down by keyframes, steps, chunks, and with true feedback.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launch.benchmark import Benchmark, BenchmarkRun


@dataclass(kw_only=True)
class PlacementBenchConfig:
    """How many blocks are set down by each method."""

    placements: int = 400


def _measure(run: BenchmarkRun, config: PlacementBenchConfig) -> Mapping[str, Any]:
    from launch.benchmarks.placement.offsets import measure

    return measure(config.placements, seed=run.seed)


BENCHMARK = Benchmark(configs={"placement": PlacementBenchConfig}, measure=_measure)
