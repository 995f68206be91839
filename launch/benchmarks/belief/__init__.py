"""Belief against truth: where blocks are and what they lie on, whether similar things are confused, and the cost."""

from launch.benchmark import Benchmark, BenchmarkRun
from launch.benchmarks.belief.config import BeliefBenchConfig

__all__ = ["BENCHMARK"]


def _measure(run: BenchmarkRun, config: BeliefBenchConfig) -> dict[str, object]:
    from launch.benchmarks.belief.measuring import measure

    return measure(run, config)


BENCHMARK = Benchmark(configs={"belief": BeliefBenchConfig}, measure=_measure)
