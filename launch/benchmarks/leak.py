"""How well probes guess the target from what is observed just before the choice, compared with chance."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, lgamma, log
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import ConfigError, DataError
from embodied.evaluation.evaluator import SEED_STRIDE
from embodied.evaluation.metrics import chance_band
from embodied.evaluation.provenance import cpu, fingerprint, versions
from embodied.paths import write_atomically
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.worker import EpisodeJob, WorkerConfig
from embodied.seeding import derive_seed
from launch.benchmark import Benchmark
from policies.probes import positive_controls, sightings
from policies.probes.choice import ChoiceRecorderConfig
from policies.probes.config import Labelled, ProbeConfig, ProbeKind
from policies.probes.sightings import Sighting

EXPERT = "expert"
SIGHTING_VERSION = 1
SPLITS = ("train", "test")

_log = logging.getLogger(__name__)
_View = Callable[[Sequence[Sighting]], np.ndarray]


@dataclass(frozen=True)
class _Probe:
    """What a probe of this kind looks at, what it must name, and the planted leak that it must find."""

    kind: ProbeKind
    view: _View
    labels: _View
    plant: Callable[[Sighting, int], Sighting]


PROBES: Mapping[str, _Probe] = {
    "linear_body": _Probe(ProbeKind.LINEAR, sightings.bodies, sightings.ranks, positive_controls.late),
    "linear_pixels": _Probe(ProbeKind.LINEAR, sightings.coarse_pixels, sightings.ranks, positive_controls.marked),
    "convolution_images": _Probe(ProbeKind.CONVOLUTION, sightings.images, sightings.ranks, positive_controls.marked),
    "pointing_crops": _Probe(ProbeKind.POINTING, sightings.crops, sightings.indices, positive_controls.tinted),
    "pointing_body": _Probe(ProbeKind.POINTING, sightings.reaches, sightings.indices, positive_controls.leaning),
}


@dataclass(kw_only=True)
class LeakBenchConfig:
    """How many observations are taken per task, rounded up to whole blocks of variations, and how probes train.

    Training and held-out episodes come from different splits, so no layout is shared. `controls` plants a leak of
    known size for each probe on the strict tier.
    """

    train: int = 400
    held_out: int = 240
    controls: bool = True
    linear: ProbeConfig = field(default_factory=ProbeConfig)
    network: ProbeConfig = field(default_factory=ProbeConfig)

    def check(self) -> None:
        """Raises `ConfigError` where a set is too small to say anything, or beyond the seeds of a run."""
        for name, count in (("train", self.train), ("held_out", self.held_out)):
            if not 8 <= count <= SEED_STRIDE // 2:
                raise ConfigError(f"leak.{name} must lie in [8, {SEED_STRIDE // 2}].", value=count)


def measure(
    config: LeakBenchConfig, worker: WorkerConfig, *, compute: ComputeConfig, seed: int, folder: Path
) -> dict[str, Any]:
    """Returns, for each task of `worker` and each probe, how often it names the target of episodes it never saw.

    `worker` must have the policy `expert`. Observations are kept under `folder` and taken only once. Probes, sizes
    and seeds are fixed beforehand: there is one training, no choice among several. Raises `ConfigError`.
    """
    config.check()
    worker = replace(worker, recorder=ChoiceRecorderConfig())
    seen, lost = _collect(config, worker, compute=compute, seed=seed, folder=folder)
    tasks = {}
    for name in worker.tasks:
        train, held_out = (seen[name, split] for split in SPLITS)
        tasks[name] = _probe_task(config, name, train, held_out, seed=seed) | {"lost": lost[name]}
    return {
        "what": "leak",
        "seed": seed,
        "cpu": cpu(),
        "versions": versions(),
        "tasks": tasks,
        "conclusion": {tier: _conclusion(tasks, tier) for tier in sorted({name.rpartition("/")[2] for name in tasks})},
    }


def two_sided_p(correct: int, trials: int, chance: float) -> float:
    """Returns how likely blind guessing is to be as far off as `correct`: twice the smaller exact binomial tail."""
    mass = []
    for count in range(trials + 1):
        ways = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
        mass.append(exp(ways + count * log(chance) + (trials - count) * log(1.0 - chance)))
    return min(1.0, 2.0 * min(sum(mass[: correct + 1]), sum(mass[correct:])))


# --- Collecting -------------------------------------------------------------------------------------------------------


def _collect(
    config: LeakBenchConfig, worker: WorkerConfig, *, compute: ComputeConfig, seed: int, folder: Path
) -> tuple[dict[tuple[str, str], list[Sighting]], dict[str, int]]:
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
                if result.trajectory is None:
                    _log.warning("%s ended before its choice: %s", result.job.episode, result.record.reason)
                    missed.add(result.job.episode)
                else:
                    write_atomically(_path(shelf, result.job), result.trajectory.to_bytes())
    found: dict[tuple[str, str], list[Sighting]] = {(task, split): [] for task in worker.tasks for split in SPLITS}
    for job in jobs:
        if job.episode not in missed:
            found[job.task, job.split].append(Sighting.read(_path(shelf, job)))
    lost = {task: sum(episode.startswith(f"{task}/") for episode in missed) for task in worker.tasks}
    return found, lost


def _jobs(config: LeakBenchConfig, worker: WorkerConfig, run: str, seed: int) -> Iterator[EpisodeJob]:
    first = seed * SEED_STRIDE
    for name, task in worker.tasks.items():
        block = len(task.sample(first).candidates)
        for split, count in zip(SPLITS, (config.train, config.held_out), strict=True):
            for number in range(first, first + -(-count // block) * block):
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


# --- Probing ----------------------------------------------------------------------------------------------------------


def _probe_task(
    config: LeakBenchConfig, name: str, train: Sequence[Sighting], held_out: Sequence[Sighting], *, seed: int
) -> dict[str, Any]:
    if not train or not held_out:
        raise DataError("Some episode must reach its choice.", value=name, remedy="Evaluate the expert with videos.")
    strict = name.endswith("/strict")
    answers, controls = {}, {}
    for label, probe in PROBES.items():
        answers[label] = _answer(config, label, train, held_out, seed=seed)
        _log.info("%s, %s: %s", name, label, answers[label])
        if strict and config.controls:
            planted = ([_planted(probe, sighting) for sighting in group] for group in (train, held_out))
            controls[label] = _answer(config, label, *planted, seed=seed)
            _log.info("%s, %s, with a planted leak: %s", name, label, controls[label])
    return {
        "train": len(train),
        "held_out": len(held_out),
        "candidates": len(train[0].candidates_m),
        "held_out_targets": np.bincount(sightings.indices(held_out)).tolist(),
        "held_out_ranks": np.bincount(sightings.ranks(held_out)).tolist(),
        "probes": answers,
        "planted": controls,
    }


def _answer(
    config: LeakBenchConfig, label: str, train: Sequence[Sighting], held_out: Sequence[Sighting], *, seed: int
) -> dict[str, Any]:
    probe, candidates = PROBES[label], len(train[0].candidates_m)
    base = config.linear if probe.kind is ProbeKind.LINEAR else config.network
    learned, asked = (Labelled(probe.view(group), probe.labels(group)) for group in (train, held_out))
    built = replace(base, kind=probe.kind).build(seed=derive_seed(seed, "leak", label))
    correct, trials = built.correct(learned, asked, candidates=candidates), len(held_out)
    low, high = chance_band(1.0 / candidates, trials)
    return {
        "correct": correct,
        "accuracy": round(correct / trials, 4),
        "band95": [round(low / trials, 4), round(high / trials, 4)],
        "p": float(f"{two_sided_p(correct, trials, 1.0 / candidates):.3g}"),
        "within": low <= correct <= high,
    }


def _planted(probe: _Probe, sighting: Sighting) -> Sighting:
    return probe.plant(sighting, int(sightings.ranks([sighting])[0]))


def _conclusion(tasks: Mapping[str, Mapping[str, Any]], tier: str) -> dict[str, Any]:
    """Counts probes outside their bands. Each band is wide enough for 95 of 100 blind probes, not for all of many."""
    mine = {name: entry for name, entry in tasks.items() if name.endswith(f"/{tier}")}
    answers = {f"{name} {label}": answer for name, entry in mine.items() for label, answer in entry["probes"].items()}
    outside = [label for label, answer in answers.items() if not answer["within"]]
    blind = [
        f"{name} {label}"
        for name, entry in mine.items()
        for label, answer in entry["planted"].items()
        if answer["within"]
    ]
    return {
        "probes": len(answers),
        "outside": outside,
        "smallest_p": min(answer["p"] for answer in answers.values()),
        "bonferroni_p": round(0.05 / len(answers), 5),
        "plants_not_found": blind,
    }


BENCHMARK = Benchmark(
    configs={"leak": LeakBenchConfig},
    measure=lambda run, config: measure(config, run.worker(), compute=run.compute, seed=run.seed, folder=run.folder),
)
