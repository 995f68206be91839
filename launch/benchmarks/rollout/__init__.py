"""Speed of whole episodes: the expert with all cameras at every keyframe, on one worker and on several."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation.episode_seeds import SEED_STRIDE
from embodied.evaluation.provenance import cpu, versions
from embodied.rollout.compute import Compute, ComputeConfig
from embodied.rollout.job import EpisodeJob
from embodied.rollout.recording.recorder import RecorderConfig
from embodied.rollout.worker import WorkerConfig
from embodied.types import EpisodeRecord, Outcome
from launch.benchmark import Benchmark
from launch.benchmarks.rollout.bare_physics import steps_per_s

EXPERT = "expert"
REAL_TIME_GOAL = 8.0
SCALING_GOAL = 1.7


@dataclass(kw_only=True)
class RolloutBenchConfig:
    """How many episodes of each task are timed, on how many `workers`, and how many warm each worker up.

    Beside them as many processes run bare physics for `bare_steps` steps per task.
    """

    episodes: int = 20
    workers: list[int] = field(default_factory=lambda: [1, 2])
    warm_up: int = 2
    bare_steps: int = 20000

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive."""
        counts = [self.episodes, self.warm_up, self.bare_steps, *self.workers]
        if not self.workers or min(counts) < 1:
            raise ConfigError("rollout.episodes, warm_up, bare_steps and workers must be at least 1.", value=counts)


def measure(config: RolloutBenchConfig, worker: WorkerConfig, *, compute: ComputeConfig, seed: int) -> dict[str, Any]:
    """Returns simulated seconds per second for each number of workers, the same episodes for each.

    `worker` must have the policy `expert`; its episodes are drawn from `seed` and run on `compute`, `config.episodes`
    of each task. Time runs from the first job to the last result, with workers warm: it includes resets, planning,
    physics, images of every camera at each keyframe, and the transfer to the driver. `bare_physics` is the number of
    steps per second of as many processes that only step the same scenes.
    """
    config.check()
    worker = replace(worker, recorder=RecorderConfig())
    counts = config.workers
    runs = {count: _run(config, worker, replace(compute, workers=count), seed=seed) for count in counts}
    bare = {count: _bare_steps_per_s(config, worker, processes=count, seed=seed) for count in counts}
    result: dict[str, Any] = {
        "what": "rollout",
        "seed": seed,
        "cpu": cpu(),
        "renderer": _renderer(worker),
        "versions": versions(),
        "workers": {str(count): run for count, run in runs.items()},
        "bare_physics": {str(count): {"steps_per_s": round(rate)} for count, rate in bare.items()},
    }
    if {1, 2} <= set(counts):
        one, two = (runs[count]["real_time_factor"] for count in (1, 2))
        result["scaling_1_to_2"] = round(two / one, 3)
        result["bare_physics"]["scaling_1_to_2"] = round(bare[2] / bare[1], 3)
        result["goals"] = {
            "real_time_factor_per_worker": {"at_least": REAL_TIME_GOAL, "met": one >= REAL_TIME_GOAL},
            "scaling_1_to_2": {"at_least": SCALING_GOAL, "met": two / one >= SCALING_GOAL},
        }
    return result


def _run(config: RolloutBenchConfig, worker: WorkerConfig, compute: ComputeConfig, *, seed: int) -> dict[str, Any]:
    first = seed * SEED_STRIDE
    warm_up = _jobs(worker, range(first, first + config.warm_up * compute.workers), split="train")
    with compute.build(worker) as pool:
        started_s = time.perf_counter()
        _play(pool, warm_up)
        start_up_s = time.perf_counter() - started_s
        started_s = time.perf_counter()
        results = _play(pool, _jobs(worker, range(first, first + config.episodes), split="test"))
        wall_s = time.perf_counter() - started_s
    return {"start_up_and_warm_up_s": round(start_up_s, 2)} | _summary(results, wall_s, compute.workers)


def _bare_steps_per_s(config: RolloutBenchConfig, worker: WorkerConfig, *, processes: int, seed: int) -> float:
    scenes = [task.sample(seed * SEED_STRIDE).scene for task in worker.tasks.values()]
    return steps_per_s(scenes, worker.simulator.world, steps=config.bare_steps, processes=processes)


def _jobs(worker: WorkerConfig, seeds: Sequence[int], *, split: str) -> list[EpisodeJob]:
    """Returns the jobs, task after task within a seed, so that no worker has only long ones at the end."""
    return [
        EpisodeJob("bench", f"{task}/{split}/{seed}", task, EXPERT, seed=seed, split=split, trajectory=True)
        for seed in seeds
        for task in worker.tasks
    ]


@dataclass(frozen=True)
class _Played:
    """The part of an episode that is kept: its recording holds shared memory, which a run frees after saving."""

    task: str
    record: EpisodeRecord
    observations: int


def _play(pool: Compute, jobs: Sequence[EpisodeJob]) -> list[_Played]:
    return [
        _Played(result.job.task, result.record, sum(len(trajectory) for trajectory in result.recordings))
        for result in pool.run(jobs)
    ]


def _summary(results: Sequence[_Played], wall_s: float, workers: int) -> dict[str, Any]:
    records = [result.record for result in results]
    simulated_s = sum(record.sim_time_s for record in records)
    return {
        "episodes": len(records),
        "success": sum(record.outcome is Outcome.SUCCESS for record in records),
        "observations": sum(result.observations for result in results),
        "sim_time_s": round(simulated_s, 2),
        "wall_s": round(wall_s, 3),
        "real_time_factor": round(simulated_s / wall_s, 3),
        "real_time_factor_per_worker": round(simulated_s / wall_s / workers, 3),
        "episodes_per_minute": round(60 * len(records) / wall_s, 1),
        "by_task": {name: _of_task(results, name) for name in dict.fromkeys(result.task for result in results)},
    }


def _of_task(results: Sequence[_Played], task: str) -> dict[str, float]:
    records = [result.record for result in results if result.task == task]
    simulated_s, wall_s = (sum(getattr(record, name) for record in records) for name in ("sim_time_s", "wall_s"))
    return {
        "median_wall_s": round(statistics.median(record.wall_s for record in records), 3),
        "real_time_factor": round(simulated_s / wall_s, 2),
    }


def _renderer(worker: WorkerConfig) -> str:
    simulator = worker.simulator.build()
    try:
        return simulator.renderer
    finally:
        simulator.close()


BENCHMARK = Benchmark(
    configs={"rollout": RolloutBenchConfig},
    measure=lambda run, config: measure(config, run.worker(), compute=run.compute, seed=run.seed),
)
