"""Plays every episode of an evaluation that its folder lacks, then says what came out."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation import report
from embodied.evaluation.films import film_path, same_course, worth_seeing
from embodied.evaluation.memory_pages import Page, episode_page
from embodied.evaluation.metrics import phase_order, summarise
from embodied.evaluation.provenance import cpu, fingerprint, versions
from embodied.evaluation.rehearsal import Parts, rehearse
from embodied.evaluation.results import ResultsFolder
from embodied.paths import write_atomically
from embodied.rollout.compute import Compute
from embodied.rollout.site_clock import run_start_s, slot_length_s
from embodied.rollout.worker import EpisodeJob, WorkerConfig
from embodied.types import EpisodeRecord, Outcome

# The least common multiple of 1 to 16: a whole number of balanced blocks, whatever the number of variations.
SEED_STRIDE = 720720
SPLIT = "test"
Jobs = Mapping[tuple[str, str], EpisodeJob]  # By policy and episode.

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated: `episodes` of each task of `worker.tasks` with each policy of `worker.policies`.

    Episode i of every task is sampled from `seed * SEED_STRIDE + i`. Raises `ConfigError` for numbers out of range.
    """

    suite: str
    tier: str
    worker: WorkerConfig
    episodes: int
    seed: int

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError("episodes must be at least 1.", value=self.episodes)
        if not 0 <= self.seed < 2**40:
            raise ConfigError("seed must lie in [0, 2**40).", value=self.seed)
        if self.episodes > SEED_STRIDE:
            raise ConfigError(f"episodes must be at most {SEED_STRIDE}.", value=self.episodes)
        if not self.worker.tasks or not self.worker.policies:
            raise ConfigError("An evaluation must have at least one task and one policy.")

    @property
    def run(self) -> str:
        """The identity of the run: equal settings give equal rows, wherever they are played."""
        worker = self.worker
        memory = worker.memory
        # What a bank is told, and policies are reminded of, belongs to the run; which bank it is does not.
        told = {} if memory is None else {name: getattr(memory, name) for name in ("feed", "capacity", "start_s")}
        return fingerprint(
            {
                **({"memory": told} if told else {}),
                "suite": self.suite,
                "tasks": worker.tasks,
                "policies": worker.policies,
                "simulator": worker.simulator,
                "controller": worker.controller,
                "episodes": self.episodes,
                "seed": self.seed,
                "split": SPLIT,
            }
        )

    def jobs(self) -> Iterator[EpisodeJob]:
        """Yields every episode, task by task and seed by seed, all policies of a seed together.

        On the site clock they follow one another in this order, from 0 on.
        """
        run, first, slot_s = self.run, self.seed * SEED_STRIDE, self._slot_s()
        chosen = product(self.worker.tasks, range(first, first + self.episodes), self.worker.policies)
        for slot, (task, seed, policy) in enumerate(chosen):
            yield EpisodeJob(
                run=run, episode=f"{task}/{SPLIT}/{seed}", task=task, policy=policy, seed=seed, split=SPLIT,
                start_s=slot * slot_s,
            )  # fmt: skip

    def _slot_s(self) -> float:
        """Returns the length of a slot: as the longest of the tasks' first episodes may need."""
        first = self.seed * SEED_STRIDE
        limits_s = [task.sample(first, split=SPLIT).time_limit_s for task in self.worker.tasks.values()]
        return slot_length_s(max(limits_s))


def evaluate(evaluation: Evaluation, *, compute: Compute, output: Path, config: str, videos: int) -> Mapping[str, Any]:
    """Plays what `output` lacks, writes the reports there, and returns the content of results.json.

    `compute` is entered only if there is something to play; `config` becomes config.yaml; `videos` is the most films
    per task and tier. Rows are on the disk as soon as their episodes end, so an evaluation that was killed goes on when
    it is run again, and ends in the same report. Raises `ConfigError` where the folder holds another run, or is being
    written.
    """
    if videos < 0:
        raise ConfigError("videos must be 0 or more.", value=videos)
    parts = rehearse(evaluation.worker, seed=evaluation.seed * SEED_STRIDE, split=SPLIT)
    with ResultsFolder(output) as folder, ExitStack() as stack:
        done = folder.records(evaluation.run)
        jobs = {(job.policy, job.episode): job for job in _placed(evaluation)}
        folder.write("config.yaml", config)

        @cache
        def pool() -> Compute:
            return stack.enter_context(compute)

        records = _played(jobs, folder, done=done, pool=pool)
        results = summarised(evaluation, records, parts)
        chosen = worth_seeing(
            records, privileged=parts.privileged, policies=list(evaluation.worker.policies), per_task=videos
        )
        # The figures are safe before the films, which may still lose a worker.
        folder.write_json("results.json", results)
        folder.write("report.md", report.markdown(results, records))
        clips = _filmed(chosen, jobs, folder.path, pool=pool)
        pages = _remembered(evaluation.worker, jobs, records, clips)
        folder.write("report.html", report.html(results, records, clips=clips, pages=pages, config=config))
    return results


def _placed(evaluation: Evaluation) -> list[EpisodeJob]:
    """Returns every episode with its time on the site clock of the bank, where there is one."""
    jobs, memory = list(evaluation.jobs()), evaluation.worker.memory
    if memory is None:
        return jobs
    start_s = memory.start_s
    if start_s is None:
        with memory.connect() as bank:
            start_s = run_start_s(bank, {memory.name_of(job): job.start_s for job in jobs})
    return [replace(job, start_s=start_s + job.start_s) for job in jobs]


def _remembered(
    worker: WorkerConfig, jobs: Jobs, records: Sequence[EpisodeRecord], clips: Sequence[report.Clip]
) -> list[tuple[EpisodeRecord, Page]]:
    """Returns what the bank tells of one episode per task: of one that is filmed, else of one that succeeded."""
    if worker.memory is None:
        return []
    filmed = [clip.record for clip in clips]
    pages: list[tuple[EpisodeRecord, Page]] = []
    with worker.memory.connect() as bank:
        for task in worker.tasks:
            own = [record for record in records if f"{record.task}/{record.tier}" == task]
            own.sort(key=lambda record: (record not in filmed, record.outcome is not Outcome.SUCCESS))
            job = replace(jobs[own[0].policy, own[0].episode], attempt=own[0].attempt)
            page = episode_page(bank, worker.memory.name_of(job))
            if page is not None:
                pages.append((own[0], page))
    return pages


def summarised(evaluation: Evaluation, records: Sequence[EpisodeRecord], parts: Parts) -> dict[str, Any]:
    """Returns the content of results.json; it depends on the rows alone, not on how often the run was interrupted."""
    tasks: dict[str, Any] = {}
    for name, task in evaluation.worker.tasks.items():
        own = [record for record in records if f"{record.task}/{record.tier}" == name]
        chance = 1.0 / len(task.sample(evaluation.seed * SEED_STRIDE, split=SPLIT).candidates)
        phases = phase_order(own)
        tasks[name] = {
            policy: summarise([record for record in own if record.policy == policy], chance=chance, phases=phases)
            for policy in evaluation.worker.policies
        }
    run = {
        "id": evaluation.run,
        "suite": evaluation.suite,
        "tier": evaluation.tier,
        "policies": list(evaluation.worker.policies),
        "privileged": list(parts.privileged),
        "episodes": evaluation.episodes,
        "seed": evaluation.seed,
        "seed_stride": SEED_STRIDE,
        "versions": versions(),
        "cpu": cpu(),
        "renderer": parts.renderer,
        "wall_s": round(sum(record.wall_s for record in records), 3),
    }
    return {"run": run, "tasks": tasks}


def _played(
    jobs: Jobs, folder: ResultsFolder, *, done: Sequence[EpisodeRecord], pool: Callable[[], Compute]
) -> list[EpisodeRecord]:
    """Returns the record of every episode, in the order of the jobs."""
    known = {(record.policy, record.episode): record for record in done}
    missing = [job for key, job in jobs.items() if key not in known]
    if done:
        _log.info("%d of %d episodes were already played; %d are left.", len(done), len(jobs), len(missing))
    if missing:
        for result in pool().run(missing):
            record = folder.append(result.record)
            known[record.policy, record.episode] = record
    return [known[key] for key in jobs]


def _filmed(
    records: Sequence[EpisodeRecord], jobs: Jobs, folder: Path, *, pool: Callable[[], Compute]
) -> list[report.Clip]:
    """Returns the films of `records`, replaying those whose film is not there yet."""
    missing = {(record.policy, record.episode): record for record in records if not film_path(folder, record).exists()}
    if missing:
        for result in pool().run([replace(jobs[key], video=True) for key in missing]):
            record = missing[result.job.policy, result.job.episode]
            if result.video and same_course(record, result.record):
                write_atomically(film_path(folder, record), result.video)
            else:
                _log.warning("No film of %s by %s: its replay differed.", record.episode, record.policy)
    return [report.Clip(record, path) for record in records if (path := film_path(folder, record)).exists()]
