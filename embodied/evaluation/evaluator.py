"""Plays every episode of an evaluation that its folder lacks, then says what came out."""

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation import report
from embodied.evaluation.controls import SWAPPED, choice_task, refuse_resuming
from embodied.evaluation.curves import curves_of
from embodied.evaluation.memory_pages import Page, episode_page
from embodied.evaluation.metrics import following, phase_order, summarise
from embodied.evaluation.preflight import Parts, preflight
from embodied.evaluation.provenance import cpu, fingerprint, versions
from embodied.evaluation.results import ResultsFolder
from embodied.evaluation.videos import film_path, same_course, worth_seeing
from embodied.paths import write_atomically
from embodied.protocols import Task
from embodied.rollout.bank_feed.site_clock import run_start_s, slot_length_s
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.chain import chain_length, require_whole_chains
from embodied.rollout.compute import Compute
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import WorkerConfig, on_failure_of
from embodied.types import NORMAL, EpisodeRecord, Outcome

# The least common multiple of 1 to 16: a whole number of balanced blocks, whatever the number of variants.
SEED_STRIDE = 720720
SPLIT = "test"
Jobs = Mapping[tuple[str, str, str], EpisodeJob]  # By policy, control and episode.

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated: `episodes` of each task of `worker.tasks` with each policy of `worker.policies`.

    Episode i of every task is sampled from `seed * SEED_STRIDE + i`, and played as it is and under each control of
    `worker.controls`. Raises `ConfigError` for numbers out of range, and for controls that cannot be.
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
        self._check_chains()
        if self.worker.controls:
            for task in self.worker.tasks.values():
                choice_task(task)
            refuse_resuming(self.worker.memory.feed if self.worker.memory else None)

    def _check_chains(self) -> None:
        for name, task in self.worker.tasks.items():
            require_whole_chains(name, task, self.episodes)
        chains = [name for name, task in self.worker.tasks.items() if chain_length(task) > 1]
        if chains and (self.worker.controls or (self.worker.memory and self.worker.memory.feed.resume)):
            raise ConfigError(
                "Chains of episodes can neither be played under controls of memory nor be resumed in their middle.",
                value=chains,
                remedy="Set controls=[normal] and memory.resume=false.",
            )

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls under which episodes are played, the normal one first."""
        return (NORMAL, *self.worker.controls)

    @property
    def run(self) -> str:
        """The identity of the run: equal settings give equal rows, wherever they are played."""
        worker = self.worker
        memory = worker.memory
        # What a bank is told, and policies are reminded of, belongs to the run; which bank it is does not.
        told = {} if memory is None else {name: getattr(memory, name) for name in ("feed", "capacity", "start_s")}
        tampered = {"controls": sorted(worker.controls)} if worker.controls else {}
        return fingerprint(
            {
                **({"memory": told} if told else {}),
                **tampered,
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

    def jobs(self, obstacles: Mapping[str, Container[str]] | None = None) -> Iterator[EpisodeJob]:
        """Yields every episode, task by task and seed by seed, all policies and controls of a seed together.

        A chain of episodes is one job that holds the later ones.

        `obstacles` are the controls under which a policy cannot be played. On the site clock they follow one another in
        this order, from 0 on.
        """
        first, slot_s = self.seed * SEED_STRIDE, self._slot_s()
        played = [
            (policy, control)
            for policy in self.worker.policies
            for control in self.controls
            if control not in (obstacles or {}).get(policy, ())
        ]
        slot = 0
        for name, task in self.worker.tasks.items():
            length = chain_length(task)
            for start in range(first, first + self.episodes, length):
                for policy, control in played:
                    seeds = range(start, start + length)
                    jobs = [
                        self._job(name, policy, control, seed, chain=start if length > 1 else None) for seed in seeds
                    ]
                    yield replace(jobs[0], later=tuple(jobs[1:])).starting_at(slot * slot_s)
                    slot += 1

    def _job(self, task: str, policy: str, control: str, seed: int, *, chain: int | None) -> EpisodeJob:
        return EpisodeJob(
            run=self.run,
            episode=f"{task}/{SPLIT}/{seed}",
            task=task,
            policy=policy,
            seed=seed,
            split=SPLIT,
            control=control,
            chain="" if chain is None else f"{task}/{SPLIT}/{chain}",
        )

    def _slot_s(self) -> float:
        """Returns the length of a slot: as the longest of the tasks' first episodes may need.

        Raises `ConfigError` where an episode without a time limit would be written to a bank.
        """
        first = self.seed * SEED_STRIDE
        limits_s = {name: task.sample(first, split=SPLIT).limits.sim_time_s for name, task in self.worker.tasks.items()}
        unlimited = [name for name, limit_s in limits_s.items() if limit_s is None]
        if unlimited and self.worker.memory is not None:
            raise ConfigError(
                "Episodes that are written to a memory bank must have a limit of simulated time: each has its own "
                "time on the clock of the bank.",
                value=unlimited,
                remedy="Give the task a time limit, or play without a bank.",
            )
        longest = max(chain_length(task) for task in self.worker.tasks.values())
        return slot_length_s(longest * max(limit_s or 0.0 for limit_s in limits_s.values()))


def evaluate(evaluation: Evaluation, *, compute: Compute, output: Path, config: str, videos: int) -> Mapping[str, Any]:
    """Plays what `output` lacks, writes the reports there, and returns the content of results.json.

    `compute` is entered only if there is something to play; `config` becomes config.yaml; `videos` is the most films
    per task and tier. Rows are on the disk as soon as their episodes end, so an evaluation that was killed goes on when
    it is run again, and ends in the same report. Raises `ConfigError` where the folder holds another run, or is being
    written.
    """
    if videos < 0:
        raise ConfigError("videos must be 0 or more.", value=videos)
    curves = curves_of(evaluation.worker.policies)
    parts = preflight(evaluation.worker, seed=evaluation.seed * SEED_STRIDE, split=SPLIT)
    with ResultsFolder(output) as folder, ExitStack() as stack:
        done = folder.records(evaluation.run)
        jobs = {_key(job): job for unit in _placed(evaluation, parts.obstacles) for job in unit.unit}
        folder.write("config.yaml", config)

        @cache
        def pool() -> Compute:
            return stack.enter_context(compute)

        records = _played(jobs, folder, done=done, pool=pool)
        results = summarised(evaluation, records, parts)
        # A chain would have to be played again as a whole to be filmed.
        filmable = [record for record in records if not record.chain]
        policies = list(evaluation.worker.policies)
        chosen = worth_seeing(filmable, privileged=parts.privileged, policies=policies, per_task=videos)
        # The figures are safe before the films, which may still lose a worker.
        folder.write_json("results.json", results)
        folder.write("report.md", report.markdown(results, records))
        clips = _filmed(chosen, jobs, folder.path, pool=pool)
        pages = _remembered(evaluation.worker, jobs, records, clips)
        attached = report.Attached(clips, pages, curves)
        folder.write("report.html", report.html(results, records, config=config, attached=attached))
    return results


def _placed(evaluation: Evaluation, obstacles: Mapping[str, Container[str]]) -> list[EpisodeJob]:
    """Returns every episode with its time on the site clock of the bank, where there is one."""
    jobs, memory = list(evaluation.jobs(obstacles)), evaluation.worker.memory
    if memory is None:
        return jobs
    start_s = memory.start_s
    if start_s is None:
        with memory.connect() as bank:
            start_s = run_start_s(bank, {memory.name_of(job): job.start_s for job in jobs})
    return [job.starting_at(start_s + job.start_s) for job in jobs]


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
            own = [record for record in records if record.task_and_tier == task]
            own.sort(key=lambda r: (r not in filmed, r.control != NORMAL, r.outcome is not Outcome.SUCCESS))
            job = replace(jobs[_key(own[0])], attempt=own[0].attempt)
            page = episode_page(bank, worker.memory.name_of(job))
            if page is not None:
                pages.append((own[0], page))
    return pages


def summarised(evaluation: Evaluation, records: Sequence[EpisodeRecord], parts: Parts) -> dict[str, Any]:
    """Returns the content of results.json; it depends on the rows alone, not on how often the run was interrupted.

    `tasks` tells of episodes played as they are, `controls` (only where there are any) of the others, `published` what
    others have published of the same tasks (only where there is something).
    """
    tasks: dict[str, Any] = {}
    controls: dict[str, Any] = {}
    for name, task in evaluation.worker.tasks.items():
        own = [record for record in records if record.task_and_tier == name]
        chance = task.chance(task.sample(evaluation.seed * SEED_STRIDE, split=SPLIT))
        phases = phase_order(own)
        entries: dict[str, dict[str, Any]] = {
            policy: {
                control: _entry(
                    [r for r in own if (r.policy, r.control) == (policy, control)], control, task, chance, phases
                )
                for control in evaluation.controls
                if control not in parts.obstacles.get(policy, {})
            }
            for policy in evaluation.worker.policies
        }
        tasks[name] = {policy: by_control.pop(NORMAL) for policy, by_control in entries.items()}
        controls[name] = {policy: by_control for policy, by_control in entries.items() if by_control}
    published = {name: dict(told) for name, task in evaluation.worker.tasks.items() if (told := _published(task))}
    return {
        "run": _run(evaluation, records, parts),
        "tasks": tasks,
        **({"controls": controls} if evaluation.worker.controls else {}),
        **({"published": published} if published else {}),
    }


def _run(evaluation: Evaluation, records: Sequence[EpisodeRecord], parts: Parts) -> dict[str, Any]:
    """Returns what was played, and with what."""
    run = {
        "id": evaluation.run,
        "suite": evaluation.suite,
        "tier": evaluation.tier,
        "policies": list(evaluation.worker.policies),
        **({"weights": weights} if (weights := _weights(evaluation.worker.policies)) else {}),
        "privileged": list(parts.privileged),
        "episodes": evaluation.episodes,
        "seed": evaluation.seed,
        "seed_stride": SEED_STRIDE,
        "versions": versions(),
        "cpu": cpu(),
        "columns": {
            name: [asdict(column) for column in task.columns] for name, task in evaluation.worker.tasks.items()
        },
        "renderer": parts.renderer,
        "wall_s": round(sum(record.wall_s for record in records), 3),
    }
    reactions = {name: reaction for name, task in evaluation.worker.tasks.items() if (reaction := on_failure_of(task))}
    run |= {"on_failure": reactions} if reactions else {}
    if not evaluation.worker.controls:
        return run
    return run | {"controls": list(evaluation.controls), "not_played": parts.obstacles}


def _weights(policies: Mapping[str, PolicyBuilder]) -> dict[str, dict[str, str]]:
    """Returns which weights were played: their name or folder, and their SHA-256."""
    return {
        name: {"from": str(getattr(policy, "weights", "")), "sha256": digest}
        for name, policy in policies.items() if (digest := getattr(policy, "digest", ""))
    }  # fmt: skip


def _published(task: Task) -> Mapping[str, float]:
    """Returns what others have published of a task; most tasks are ours alone."""
    return getattr(task, "published", {})


def _entry(
    records: Sequence[EpisodeRecord], control: str, task: Task, chance: float | None, phases: Sequence[str]
) -> dict[str, Any]:
    entry = summarise(records, chance=chance, phases=phases, columns=task.columns)
    return {**entry, "follows_donor": following(records)} if control == SWAPPED else entry


def _played(
    jobs: Jobs, folder: ResultsFolder, *, done: Sequence[EpisodeRecord], pool: Callable[[], Compute]
) -> list[EpisodeRecord]:
    """Returns the record of every job, in their order."""
    known = {_key(record): record for record in done}
    units = [job for job in jobs.values() if not job.chain or job.later]
    missing = [unit for unit in units if any(_key(job) not in known for job in unit.unit)]
    if done:
        left = sum(len(unit.unit) for unit in missing)
        _log.info("%d of %d episodes were already played; %d are left.", len(done), len(jobs), left)
    if missing:
        for result in pool().run(missing):
            if _key(result.record) not in known:  # Of an unfinished chain, what is on the disk stays.
                known[_key(result.record)] = folder.append(result.record)
    return [known[key] for key in jobs]


def _filmed(
    records: Sequence[EpisodeRecord], jobs: Jobs, folder: Path, *, pool: Callable[[], Compute]
) -> list[report.Clip]:
    """Returns the films of `records`, replaying those whose film is not there yet."""
    missing = {_key(record): record for record in records if not film_path(folder, record).exists()}
    if missing:
        for result in pool().run([replace(jobs[key], video=True) for key in missing]):
            record = missing[_key(result.job)]
            if result.video and same_course(record, result.record):
                write_atomically(film_path(folder, record), result.video)
            else:
                _log.warning("No film of %s by %s: its replay differed.", record.episode, record.policy)
    return [report.Clip(record, path) for record in records if (path := film_path(folder, record)).exists()]


def _key(played: EpisodeJob | EpisodeRecord) -> tuple[str, str, str]:
    return played.policy, played.control, played.episode
