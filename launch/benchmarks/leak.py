"""Measures how well probes guess the target from observations just before the choice, compared with chance."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation.episode_seeds import SEED_STRIDE, balanced_seeds
from embodied.evaluation.provenance import cpu, fingerprint, versions
from embodied.paths import write_atomically
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import WorkerConfig
from launch.benchmark import Benchmark
from policies.probes import ProbeConfig
from policies.probes.choice import ChoiceRecorderConfig
from policies.probes.leakage import LeakTest, conclusion
from policies.probes.sightings import ChoiceSighting

EXPERT = "expert"
SIGHTING_VERSION = 1
SPLITS = ("train", "test")

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class LeakBenchConfig:
    """How many observations are taken per task, rounded up to equally many of each answer, and how probes train.

    Training and held-out episodes come from different splits, so no layout is shared. `controls` plants a leak of
    known size for each probe on the strict tier.
    """

    train: int = 400
    held_out: int = 240
    controls: bool = True
    linear: ProbeConfig = field(default_factory=ProbeConfig)
    network: ProbeConfig = field(default_factory=ProbeConfig)

    def check(self) -> None:
        """Raises `ConfigError` where a set is too small for a conclusion, or beyond the seeds of a run."""
        for name, count in (("train", self.train), ("held_out", self.held_out)):
            if not 8 <= count <= SEED_STRIDE // 2:
                raise ConfigError(f"leak.{name} must lie in [8, {SEED_STRIDE // 2}].", value=count)


def measure(
    config: LeakBenchConfig, worker: WorkerConfig, *, compute: ComputeConfig, seed: int, folder: Path
) -> dict[str, Any]:
    """Returns, for each task of `worker` and each probe, how often it names the target of held-out episodes.

    `worker` must have the policy `expert`; `compute` plays its episodes, drawn from `seed`. Observations are kept under
    `folder` and taken only once. Probes, sizes and seeds are fixed in `config` beforehand: there is one training, no
    choice among several. Raises `ConfigError`.
    """
    config.check()
    worker = replace(worker, recorder=ChoiceRecorderConfig())
    seen, lost = _collect(config, worker, compute=compute, seed=seed, folder=folder)
    test = LeakTest(config.linear, config.network, seed=seed)
    tasks = {}
    for name in worker.tasks:
        train, held_out = (seen[name, split] for split in SPLITS)
        controls = config.controls and name.endswith("/strict")
        tasks[name] = test.task(name, train, held_out, controls=controls) | {"lost": lost[name]}
    return {
        "what": "leak",
        "seed": seed,
        "cpu": cpu(),
        "versions": versions(),
        "tasks": tasks,
        "conclusion": {tier: conclusion(tasks, tier) for tier in sorted({name.rpartition("/")[2] for name in tasks})},
    }


def _collect(
    config: LeakBenchConfig, worker: WorkerConfig, *, compute: ComputeConfig, seed: int, folder: Path
) -> tuple[dict[tuple[str, str], list[ChoiceSighting]], dict[str, int]]:
    """Returns the sightings by task and split, in order of seeds, and how many episodes of each task had none."""
    run = fingerprint(
        {
            "sightings": SIGHTING_VERSION,
            "simulator": worker.simulator,
            "controller": worker.controller,
            "tasks": worker.tasks,
        }
    )
    jobs = list(_jobs(config, worker, run, seed))
    shelf = folder / run
    wanting = [job for job in jobs if not _path(shelf, job).exists()]
    missed: set[str] = set()
    if wanting:
        _log.info("%d of %d observations are still to be taken; they are kept in %s.", len(wanting), len(jobs), shelf)
        with compute.build(worker) as pool:
            for result in pool.run(wanting):
                if not result.recordings:
                    _log.warning("%s ended before its choice: %s", result.job.episode, result.record.reason)
                    missed.add(result.job.episode)
                else:
                    write_atomically(_path(shelf, result.job), result.recordings[0].to_bytes())
    found: dict[tuple[str, str], list[ChoiceSighting]] = {
        (task, split): [] for task in worker.tasks for split in SPLITS
    }
    for job in jobs:
        if job.episode not in missed:
            found[job.task, job.split].append(ChoiceSighting.read(_path(shelf, job)))
    lost = {task: sum(episode.startswith(f"{task}/") for episode in missed) for task in worker.tasks}
    return found, lost


def _jobs(config: LeakBenchConfig, worker: WorkerConfig, run: str, seed: int) -> Iterator[EpisodeJob]:
    for name, task in worker.tasks.items():
        kinds = len(task.sample(0).choice_goal.candidates)
        for split, count in zip(SPLITS, (config.train, config.held_out), strict=True):
            for number in balanced_seeds(task, split, seed, -(-count // kinds) * kinds):
                yield EpisodeJob(
                    run=run,
                    episode=f"{name}/{split}/{number}",
                    task=name,
                    policy=EXPERT,
                    seed=number,
                    split=split,
                    trajectory=True,
                )


def _path(shelf: Path, job: EpisodeJob) -> Path:
    return shelf / f"{job.episode}.npz"


BENCHMARK = Benchmark(
    configs={"leak": LeakBenchConfig},
    measure=lambda run, config: measure(config, run.worker(), compute=run.compute, seed=run.seed, folder=run.folder),
)
