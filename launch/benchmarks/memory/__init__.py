"""Latency and exactness of the memory bank's recall, poses and changes, against NumPy and LanceDB."""

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.memory import Bank, EventFilter, Query, open_bank
from embodied.seeding import stream
from launch.benchmark import Benchmark
from launch.benchmarks.memory.baselines import Lance, brute_force, truth
from launch.benchmarks.memory.moments import (
    MODEL_ID,
    WEEK_S,
    BenchmarkQuery,
    Moments,
    make_moments,
    make_queries,
    moment_events,
    sighting_events,
    thing_name,
)

BATCH = 1000
CHANGES = 1000
WANTED = {
    "filtered_p95_ms": 20.0,
    "filtered_speedup_over_lancedb": 3.0,
    "unfiltered_p95_ms": 60.0,
    "last_pose_p99_ms": 1.0,
    "changes_p99_ms": 10.0,
    "as_of_pose_p99_ms": 2.0,
}
Answers = Mapping[str, Callable[[BenchmarkQuery, int], list[int]]]


@dataclass(kw_only=True)
class MemoryBenchConfig:
    """The size of the memory, and how often each query is made.

    `share` of the time and of the area passes a filter, beside one robot of `robots`. There are fewer unfiltered
    queries and queries to LanceDB, since they take longer.
    """

    moments: int = 100_000
    dimensions: int = 384
    robots: int = 10
    share: float = 0.1
    top_k: int = 10
    sightings: int = 100_000
    things: int = 200
    filtered_questions: int = 200
    unfiltered_questions: int = 100
    pose_questions: int = 2000
    change_questions: int = 200

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive, and for a share outside (0, 1)."""
        counts = {name: value for name, value in asdict(self).items() if name != "share"}
        if not all(value > 0 for value in counts.values()):
            raise ConfigError("All counts of the memory bench must be positive.", value=counts)
        if not 0.0 < self.share < 1.0:
            raise ConfigError("memory.share must lie in (0, 1).", value=self.share)
        if self.moments <= self.top_k or self.sightings < CHANGES:
            raise ConfigError(
                "There must be more moments than top_k, and enough sightings to change something.",
                value=(self.moments, self.sightings),
                remedy=f"Use memory.moments above memory.top_k, memory.sightings from {CHANGES}.",
            )


def measure(config: MemoryBenchConfig, *, seed: int) -> dict[str, Any]:
    """Returns latencies (milliseconds) of recall, poses and changes, of a bank in a file, opened anew.

    The bank, NumPy and LanceDB take turns at each question, so that they meet the same load; every answer of the bank
    is compared with float64 dot products over all moments. LanceDB is left out where it is not installed.
    """
    config.check()
    moments = make_moments(config.moments, config.dimensions, robots=config.robots, seed=seed)
    with tempfile.TemporaryDirectory(prefix="memory_bench_") as folder:
        url = f"sqlite:///{Path(folder) / 'bank.db'}"
        written = _write(url, config, moments, seed)
        started_s = time.perf_counter()
        with open_bank(url) as bank:
            opened_s = time.perf_counter() - started_s
            started_s = time.perf_counter()
            bank.recall(Query(embedding=moments.embedding[0], model_id=MODEL_ID, top_k=1))
            loaded_s = time.perf_counter() - started_s
            lance = _lance(Path(folder) / "lance", moments)
            recalls = _measure_recall(config, bank, moments, lance, seed)
            reads = _measure_reads(config, bank, seed)
    result = {
        "what": "memory",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": {**versions(), "lancedb": lance.version if lance else "not installed: left out"},
        "settings": asdict(config),
        "written": written,
        "open_s": round(opened_s, 2),
        "index_load_s": round(loaded_s, 2),
        **recalls,
        **reads,
    }
    return {**result, "wanted": WANTED, **judge(result)}


def judge(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the measured values that have a goal, and whether each holds; None where LanceDB was left out."""
    filtered = result["filtered"]
    competing = filtered["ways"].get("lancedb")
    ratio = None if competing is None else competing["p95_ms"] / filtered["ways"]["bank"]["p95_ms"]
    reached = {
        "filtered_p95_ms": filtered["ways"]["bank"]["p95_ms"],
        "filtered_speedup_over_lancedb": None
        if ratio is None
        else math.floor(10 * ratio) / 10,  # Rounded to the worse side.
        "unfiltered_p95_ms": result["unfiltered"]["ways"]["bank"]["p95_ms"],
        "last_pose_p99_ms": result["last_pose"]["p99_ms"],
        "changes_p99_ms": result["changes"]["p99_ms"],
        "as_of_pose_p99_ms": result["as_of_pose"]["p99_ms"],
    }
    passes = {
        name: None if value is None else (value >= WANTED[name] if "speedup" in name else value <= WANTED[name])
        for name, value in reached.items()
    }
    exact = {f"{name}_exact": result[name]["exact"] == result[name]["questions"] for name in ("filtered", "unfiltered")}
    return {"reached": reached, "passes": {**passes, **exact}}


def agreement(found: Sequence[int], right: Sequence[int]) -> float:
    """Returns the common share of two answers, 1 where both are empty."""
    longest = max(len(found), len(right))
    return len({*found} & {*right}) / longest if longest else 1.0


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Returns the median, 95th and 99th percentile of durations, milliseconds."""
    values = np.percentile(1000.0 * np.array(seconds), (50, 95, 99))
    return {name: round(float(value), 3) for name, value in zip(("p50_ms", "p95_ms", "p99_ms"), values, strict=True)}


def _write(url: str, config: MemoryBenchConfig, moments: Moments, seed: int) -> dict[str, Any]:
    sightings = sighting_events(config.sightings, config.things, seed=seed)
    with open_bank(url) as bank:
        started_s = time.perf_counter()
        for events in moment_events(moments, batch=BATCH):
            bank.append(events)
        moments_s = time.perf_counter() - started_s
        started_s = time.perf_counter()
        for start in range(0, len(sightings), BATCH):
            bank.append(sightings[start : start + BATCH])
        sightings_s = time.perf_counter() - started_s
    return {
        "moments_per_s": round(len(moments) / moments_s),
        "sightings_per_s": round(len(sightings) / sightings_s),
        "events_per_commit": BATCH,
    }


def _lance(folder: Path, moments: Moments) -> Lance | None:
    try:
        return Lance(folder, moments)
    except ImportError:
        return None


def _measure_recall(
    config: MemoryBenchConfig, bank: Bank, moments: Moments, lance: Lance | None, seed: int
) -> dict[str, Any]:
    def query_bank(question: BenchmarkQuery, top_k: int) -> list[int]:
        # Moments were written first, in order: moment 0 is event 1.
        return [found.seq - 1 for found in bank.recall(question.query(top_k))]

    ways: dict[str, Callable[[BenchmarkQuery, int], list[int]]] = {
        "bank": query_bank,
        "numpy": lambda question, top_k: brute_force(moments, question, top_k),
    }
    if lance is not None:
        ways["lancedb"] = lance.recall
    measured = {}
    for name, count in (("filtered", config.filtered_questions), ("unfiltered", config.unfiltered_questions)):
        questions = make_queries(moments, count, filtered=name == "filtered", share=config.share, seed=seed)
        measured[name] = _take_turns(questions, ways, config.top_k, moments)
    return measured


def _take_turns(questions: Sequence[BenchmarkQuery], ways: Answers, top_k: int, moments: Moments) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    agreed: dict[str, list[float]] = {name: [] for name in ways}
    exact = 0
    for question in questions:
        right = truth(moments, question, top_k)
        for name, ask in ways.items():
            started_s = time.perf_counter()
            found = ask(question, top_k)
            seconds[name].append(time.perf_counter() - started_s)
            exact += name == "bank" and found == right
            agreed[name].append(agreement(found, right))
    return {
        "questions": len(questions),
        "exact": exact,
        "ways": {
            name: {**percentiles(took), "agreement": round(float(np.mean(agreed[name])), 5)}
            for name, took in seconds.items()
        },
    }


def _measure_reads(config: MemoryBenchConfig, bank: Bank, seed: int) -> dict[str, Any]:
    random = stream(seed, "reads")
    things = [thing_name(int(number)) for number in random.integers(config.things, size=config.pose_questions)]
    instants = random.uniform(0.1 * WEEK_S, WEEK_S, size=config.pose_questions).tolist()
    starts = random.integers(0, bank.head - CHANGES, size=config.change_questions).tolist()
    seen = EventFilter(kinds=("entity_seen",))
    return {
        "last_pose": _timed(bank.where_is, ((thing,) for thing in things)),
        "as_of_pose": _timed(
            lambda thing, at_s: bank.where_is(thing, as_of_s=at_s), zip(things, instants, strict=True)
        ),
        "changes": _timed(lambda seq: bank.changes_since(seq, limit=CHANGES), ((seq,) for seq in starts)),
        "changes_of_one_kind": _timed(
            lambda seq: bank.changes_since(seq, wanted=seen, limit=CHANGES), ((seq,) for seq in starts)
        ),
    }


def _timed(ask: Callable[..., object], questions: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    seconds = []
    for question in questions:
        started_s = time.perf_counter()
        ask(*question)
        seconds.append(time.perf_counter() - started_s)
    return {"questions": len(seconds), **percentiles(seconds)}


BENCHMARK = Benchmark(
    configs={"memory": MemoryBenchConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
