"""Runs the parts of the benchmark of beliefs and sums them up."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embodied.evaluation.provenance import cpu, versions
from embodied.protocols import Simulator
from launch.benchmark import BenchmarkRun
from launch.benchmarks.belief.comparison import BLOCK, EpisodeComparison, compare
from launch.benchmarks.belief.config import BeliefBenchConfig
from launch.benchmarks.belief.cost import cost
from launch.benchmarks.belief.cups import hidden_swap, summary

WANTED_M, WANTED_RIGHT, WANTED_COST = 0.015, 0.95, 0.30
ALIKE, UNLIKE = ("blue", "blue"), ("blue", "yellow")
MOST_LISTED = 5


def measure(run: BenchmarkRun, config: BeliefBenchConfig) -> dict[str, Any]:
    """Returns, per task, errors of visible blocks, right containers and cost, and the results for cups under a lid."""
    config.check()
    tasks = run.worker().tasks
    simulator = run.simulator.build()
    try:
        found = {
            name: [compare(run, config, task, simulator, run.seed + index) for index in range(config.episodes)]
            for name, task in tasks.items()
        }
        costs = {name: cost(run, config, task, simulator) for name, task in tasks.items()}
        cups = _cups(config, simulator, run.seed)
        renderer = simulator.renderer
    finally:
        simulator.close()
    every = [one for episodes in found.values() for one in episodes]
    return {
        "what": "belief",
        "seed": run.seed,
        "cpu": cpu(),
        "versions": versions(),
        "renderer": renderer,
        "identity": "own",
        "labels": "own",
        "look_hz": config.look_hz,
        "tasks": {name: _summary(episodes) | {"cost": costs[name]} for name, episodes in found.items()},
        "all": _summary(every),
        "cups": cups,
        "passes": _passes(_summary(every), costs, cups),
    }


def _summary(episodes: Sequence[EpisodeComparison]) -> dict[str, Any]:
    errors_m = np.array([error_m for one in episodes for error_m in one.errors_m])
    kinds = sorted({kind for one in episodes for kind in one.queries})
    return {
        "episodes": len(episodes),
        "visible_blocks": len(errors_m),
        **({"error_m": _spread(errors_m)} if len(errors_m) else {}),
        "within_15_mm": int(np.sum(errors_m <= WANTED_M)),
        "containers": {
            kind: {
                "queries": sum(one.queries.get(kind, 0) for one in episodes),
                "right": sum(one.right.get(kind, 0) for one in episodes),
            }
            for kind in kinds
        },
        "never_found": sum(len(one.missed) for one in episodes),
        "some_wrong": [text for one in episodes for text in one.wrong][:MOST_LISTED],
    }


def _spread(errors_m: np.ndarray) -> dict[str, float]:
    median, p95 = (round(float(np.percentile(errors_m, share)), 5) for share in (50, 95))
    return {"median": median, "p95": p95, "worst": round(float(errors_m.max()), 5)}


def _cups(config: BeliefBenchConfig, simulator: Simulator, seed: int) -> dict[str, Any]:
    seeds = range(seed, seed + config.cups)
    return {
        "alike_swapped": summary([hidden_swap(simulator, one, colours=ALIKE, swap=True) for one in seeds]),
        "alike_left": summary([hidden_swap(simulator, one, colours=ALIKE, swap=False) for one in seeds]),
        "unlike_swapped": summary([hidden_swap(simulator, one, colours=UNLIKE, swap=True) for one in seeds]),
    }


def _passes(every: dict[str, Any], costs: dict[str, dict[str, Any]], cups: dict[str, Any]) -> dict[str, bool]:
    blocks = every["containers"].get(BLOCK, {"queries": 0, "right": 0})
    return {
        "blocks_within_15_mm": every["within_15_mm"] == every["visible_blocks"] and not every["never_found"],
        "containers": blocks["right"] >= WANTED_RIGHT * blocks["queries"],
        "alike_cups_not_told_apart": cups["alike_swapped"]["may_be_the_other"] == cups["alike_swapped"]["cups"],
        "unlike_cups_told_apart": cups["unlike_swapped"]["placed_by_name"] == cups["unlike_swapped"]["cups"],
        "cost_of_perception": all(one["perception_share"] <= WANTED_COST for one in costs.values()),
        "cost_of_all": all(one["all_added_share"] <= WANTED_COST for one in costs.values()),
        "cost_of_all_where_the_policy_sees": all(
            one["all_added_share_where_the_policy_sees"] <= WANTED_COST for one in costs.values()
        ),
    }
