"""Collects expert demonstrations into a folder of trajectories with an index."""

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count, islice
from pathlib import Path

import msgspec

from embodied.archive import file_sha256
from embodied.errors import ConfigError, DataError
from embodied.evaluation.dataset_index import (
    INDEX_FILE,
    SCHEMA,
    Dataset,
    Failure,
    File,
    RobotFeatures,
    read_dataset,
)
from embodied.evaluation.episode_list import EpisodeList, require_same_episodes
from embodied.evaluation.episode_seeds import SEED_STRIDE
from embodied.evaluation.failing import append_traceback
from embodied.evaluation.output_folder import claim
from embodied.evaluation.outside_policies import require_one_at_a_time
from embodied.evaluation.preflight import preflight
from embodied.evaluation.provenance import fingerprint
from embodied.paths import write_atomically
from embodied.rollout.compute import Compute
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.worker import WorkerConfig
from embodied.trajectories import SCHEMA_VERSION, SUFFIX, Trajectory, read_trajectory, write_trajectory
from embodied.types import Outcome

TRAIN_SPLIT = "train"
SPLITS = (TRAIN_SPLIT, "validation")
DEMOS = 100  # Of each task, where nothing else is requested.
FAILURES_ALLOWED = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The demonstrations to collect: `demos` episodes of each task of `worker.tasks`, solved by its only policy.

    Seeds of the split `split` are tried in order from `seed * SEED_STRIDE`, so the same settings give the same files.
    With an `episode_list`, the first `demos` episodes of each task on the list are played instead, once each: one that
    is not solved is listed as a failure, and none replaces it. `sources` identify the code from outside that is used.

    Raises:
        ConfigError: For numbers out of range, also more `demos` than a list holds, for episodes of a test, and for a
            seed or another split beside a list.
        ListError: For tasks that are not on the list.
    """

    worker: WorkerConfig
    demos: int
    seed: int
    split: str = TRAIN_SPLIT
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    episode_list: EpisodeList | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.demos <= SEED_STRIDE // 2:
            raise ConfigError(f"demos must lie in [1, {SEED_STRIDE // 2}].", value=self.demos)
        if not 0 <= self.seed < 2**40:
            raise ConfigError("seed must lie in [0, 2**40).", value=self.seed)
        if self.split not in SPLITS:
            raise ConfigError(
                f"The split of demonstrations must be one of {', '.join(SPLITS)}.",
                value=self.split,
                remedy="Leave the episodes of other splits to evaluations.",
            )
        if not self.worker.tasks or len(self.worker.policies) != 1 or self.worker.recorder is None:
            raise ConfigError("A collection must have tasks, one policy and a recorder.")
        if self.episode_list is not None:
            self.episode_list.require_alone(seed=self.seed, split=self.split)
            self._check_list(self.episode_list.shortened(self.worker.tasks, None))

    def _check_list(self, episodes: EpisodeList) -> None:
        if self.demos > episodes.longest:
            raise ConfigError(
                "demos must be at most the number on the episode list.",
                value=self.demos,
                remedy=f"It holds {episodes.longest}; leave demos out to play them all.",
            )

    @property
    def policy(self) -> str:
        """The name of the demonstrator."""
        return next(iter(self.worker.policies))

    @property
    def run(self) -> str:
        """The identity of the demonstrations; a folder may be extended by more `demos` of the same run."""
        worker = self.worker
        return fingerprint(
            {
                "tasks": worker.tasks,
                "policies": worker.policies,
                "simulator": worker.simulator,
                "controller": worker.controller,
                "recorder": worker.recorder,
                **self._choice_of_episodes(),
                "split": self.split,
                "version": SCHEMA_VERSION,
                **worker.team_settings,
                **({"plugins": self.sources} if self.sources else {}),
            }
        )

    def _choice_of_episodes(self) -> dict[str, object]:
        """Returns what a folder must have in common with its extension; the number of `demos` is not part of it."""
        if self.episode_list is None:
            return {"seed": self.seed}
        return {"episode_list": self.episode_list.shortened(self.worker.tasks, None).sha256}

    @property
    def first_seeds(self) -> dict[str, int]:
        """The seed of the first episode of each task."""
        return {name: self.seeds(name, ())[0] for name in self.worker.tasks}

    def seeds(self, task: str, failed: Container[int]) -> list[int]:
        """Returns the seeds of `task` that are not among the `failed` ones, as many as are asked for.

        On a list those that failed count, since nothing replaces them.
        """
        if self.episode_list is not None:
            return [seed for seed in self.episode_list.tasks[task].seeds[: self.demos] if seed not in failed]
        first = self.seed * SEED_STRIDE
        return list(islice((seed for seed in count(first) if seed not in failed), self.demos))

    @property
    def failures_allowed(self) -> int:
        """How many episodes of a task may fail, so that at least half of them are solved."""
        return max(FAILURES_ALLOWED, self.demos if self.episode_list is None else self.demos // 2)

    def job(self, task: str, seed: int) -> EpisodeJob:
        """Returns the episode of `seed` of `task`, to be recorded."""
        return EpisodeJob(
            run=self.run,
            episode=f"{task}/{self.split}/{seed}",
            task=task,
            policy=self.policy,
            seed=seed,
            split=self.split,
            trajectory=True,
        )


def collect(collection: Collection, *, compute: Compute, output: Path, config: str) -> Dataset:
    """Plays the episodes that `output` lacks, writes each solved one there at once, and returns the finished index.

    `collection` defines the episodes. `compute` is entered only if there is something to play; `config` becomes
    config.yaml. Complete files are kept, also beyond the number requested; others are made again.

    Raises `PathError` for a folder with other content, `ConfigError` where it holds another run or is being written,
    `ListError` for a list of other episodes, and `DataError` where the demonstrator fails in more than half of the
    episodes (10 failures are always allowed).
    """
    if collection.episode_list is not None:
        require_same_episodes(collection.episode_list, collection.worker.tasks)
    parts = preflight(collection.worker, seeds=collection.first_seeds, split=collection.split)
    require_one_at_a_time(parts, compute)
    collection = replace(collection, sources=parts.sources)
    with claim(output, kind="collection", mark=INDEX_FILE), ExitStack() as stack:
        shelf = _CollectionFolder(collection, output, failures=_known_failures(collection, output))
        shelf.keep_whole_files()
        shelf.write_index(complete=False)
        write_atomically(output / "config.yaml", config.encode())

        @cache
        def pool() -> Compute:
            _log.info("Writing to %s, %s.", output, compute.place)
            return stack.enter_context(compute)

        _fill(shelf, pool)
        return shelf.write_index(complete=True)


@dataclass(eq=False)
class _CollectionFolder:
    """The files of one collection, and the episodes that were tried without success."""

    collection: Collection
    folder: Path
    files: dict[tuple[str, int], tuple[File, ...]] = field(default_factory=dict)
    failures: dict[tuple[str, int], Failure] = field(default_factory=dict)
    robots: dict[str, RobotFeatures] = field(default_factory=dict)

    def keep_whole_files(self) -> None:
        """Keeps every complete demonstration in the folder, also those beyond the present `demos`.

        A demonstration is complete if the files of all its robots are. Raises `DataError` for files of other features.
        """
        for task in self.collection.worker.tasks:
            paths = (self.folder / task).glob(f"*{SUFFIX}")
            for seed in sorted({int(name) for path in paths if (name := path.name.partition(".")[0]).isdecimal()}):
                self._keep_if_whole(task, seed)

    def missing(self, task: str) -> list[int]:
        """Returns the seeds of `task` to play next: the first ones, as many as successes are missing."""
        failed = {seed for name, seed in self.failures if name == task}
        return [seed for seed in self.collection.seeds(task, failed) if (task, seed) not in self.files]

    def put(self, result: JobResult) -> None:
        """Writes a solved episode, or notes the failure. Raises `DataError` once there are too many."""
        job, record = result.job, result.record
        append_traceback(self.folder, result)
        if record.outcome is Outcome.SUCCESS and result.recordings:
            written = [(one, write_trajectory(self._path(job.task, one), one)) for one in result.recordings]
            self._keep(job.task, written)
            return
        _log.warning("%s was not solved by policy %s: %s, %s.", job.episode, job.policy, record.outcome, record.reason)
        self.failures[job.task, job.seed] = Failure(job.task, job.seed, record.outcome, record.reason)
        failed = sum(task == job.task for task, _ in self.failures)
        if failed > self.collection.failures_allowed:
            raise DataError(
                "A demonstrator must solve at least half of its episodes.",
                value=f"{failed} failures in {job.task}, the last: {record.reason}",
                remedy="Evaluate it with videos to see why.",
            )

    def write_index(self, *, complete: bool) -> Dataset:
        """Writes `dataset.json` for the present files, and returns it."""
        collection = self.collection
        dataset = Dataset(
            schema=SCHEMA,
            version=SCHEMA_VERSION,
            run=collection.run,
            complete=complete,
            policy=collection.policy,
            split=collection.split,
            seed=collection.seed,
            demos=collection.demos,
            tasks=tuple(collection.worker.tasks),
            robots=dict(sorted(self.robots.items())),
            files=tuple(file for key in sorted(self.files) for file in self.files[key]),
            failures=tuple(self.failures[key] for key in sorted(self.failures)),
            episode_list="" if collection.episode_list is None else collection.episode_list.sha256,
        )
        write_atomically(self.folder / INDEX_FILE, msgspec.json.format(msgspec.json.encode(dataset)) + b"\n")
        return dataset

    def _path(self, task: str, trajectory: Trajectory) -> Path:
        """Returns the path of the recording of one robot; the name of an only robot is left out."""
        label = trajectory.label
        robot = f".{trajectory.robot}" if len(label.robots) > 1 else ""
        return self.folder / task / f"{label.seed}{robot}{SUFFIX}"

    def _keep_if_whole(self, task: str, seed: int) -> None:
        paths = sorted({*(self.folder / task).glob(f"{seed}{SUFFIX}"), *(self.folder / task).glob(f"{seed}.*{SUFFIX}")})
        wanted = self.collection.job(task, seed).episode
        try:
            found = [(read_trajectory(path), file_sha256(path)) for path in paths]
            for trajectory, _ in found:
                label = trajectory.label
                if (label.episode, label.outcome) != (wanted, Outcome.SUCCESS):
                    raise DataError(f"It must hold a success in {wanted}.", value=label.episode)
                if sorted(label.robots) != [one.robot for one, _ in found]:
                    raise DataError("All robots of an episode must be recorded.", value=sorted(label.robots))
        except DataError as error:
            _log.warning("%s does not count: %s", paths[0], error)
        else:
            self._keep(task, found)

    def _keep(self, task: str, recorded: Sequence[tuple[Trajectory, str]]) -> None:
        """Lists the recordings of one episode. Raises `DataError` for features other than those of the collection."""
        for trajectory, _ in recorded:
            path, own = self._path(task, trajectory), RobotFeatures.of(trajectory)
            difference = self.robots.setdefault(trajectory.robot, own).difference(own)
            if difference:
                raise DataError(
                    f"All recordings of robot {trajectory.robot!r} in a collection must have the same features.",
                    value=f"{path}: {difference}",
                    remedy="Collect tasks with other cameras or rates into folders of their own.",
                )
        recorded = sorted(
            recorded, key=lambda one: one[0].robot
        )  # Sorted, so that the index is the same after a resumption.
        label = recorded[0][0].label
        self.files[task, label.seed] = tuple(
            File(
                file=str(self._path(task, trajectory).relative_to(self.folder)),
                sha256=sha256,
                task=task,
                variant=label.variant,
                seed=label.seed,
                robot=trajectory.robot,
                observations=len(trajectory),
            )
            for trajectory, sha256 in recorded
        )


def _fill(shelf: _CollectionFolder, pool: Callable[[], Compute]) -> None:
    """Plays rounds until every task has its demonstrations; a round replaces the failures of the previous one."""
    while jobs := list(_missing_jobs(shelf)):
        for result in pool().run(jobs):
            shelf.put(result)
        shelf.write_index(complete=False)


def _missing_jobs(shelf: _CollectionFolder) -> Iterator[EpisodeJob]:
    for task in shelf.collection.worker.tasks:
        for seed in shelf.missing(task):
            yield shelf.collection.job(task, seed)


def _known_failures(collection: Collection, output: Path) -> dict[tuple[str, int], Failure]:
    """Returns the earlier failures of the same run; episodes of lost workers are played again."""
    if not (output / INDEX_FILE).exists():
        return {}
    before = read_dataset(output)
    if before.run != collection.run:
        raise ConfigError(
            "A collection's folder must hold one run: the same tasks, demonstrator, simulator, and seed or list.",
            value=f"{output} with run {before.run}, asked for run {collection.run}",
            remedy="Choose another output folder, or the settings in its config.yaml.",
        )
    return {
        (failure.task, failure.seed): failure for failure in before.failures if failure.outcome is not Outcome.INVALID
    }
