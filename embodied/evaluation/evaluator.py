"""Plays every episode of an evaluation that its folder lacks, then writes the results."""

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation import report
from embodied.evaluation.attached_content import preferred, write_attached
from embodied.evaluation.curves import curves_of
from embodied.evaluation.episode_list import LIST_FILE, EpisodeList, encode_list, require_same_episodes
from embodied.evaluation.failing import FailingPolicies
from embodied.evaluation.first_episodes import FirstEpisodes, NothingPlayedError
from embodied.evaluation.intent_lists import append_intents, read_intents
from embodied.evaluation.memory_pages import Page, episode_page
from embodied.evaluation.output_folder import require_own_folder
from embodied.evaluation.outside_policies import earlier_records, require_one_at_a_time
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.preflight import Parts, preflight
from embodied.evaluation.results import EPISODES_FILE, KIND, RESULTS_FILE, ResultsFolder
from embodied.evaluation.summary import summarised
from embodied.evaluation.videos import episodes_to_show, same_replay, video_path
from embodied.memory import Bank, require_resolution
from embodied.paths import write_atomically
from embodied.rollout.bank_feed.site_clock import run_start_s
from embodied.rollout.bank_feed.truth_report import append_truth
from embodied.rollout.compute import Compute
from embodied.rollout.job import EpisodeJob
from embodied.rollout.records import lost_record
from embodied.rollout.worker import WorkerConfig
from embodied.types import EpisodeRecord, Outcome

Jobs = Mapping[tuple[str, str, str], EpisodeJob]  # By policy, control and episode.

_log = logging.getLogger(__name__)


def require_playable(evaluation: Evaluation, *, output: Path, videos: int) -> None:
    """Raises what `evaluate(evaluation, output, videos=videos)` would raise before it plays.

    It is called before a bank is opened, when `evaluate` itself would be too late.
    """
    _check_videos(videos)
    require_own_folder(output, kind=KIND, mark=EPISODES_FILE)
    _checked_list(evaluation)
    _parts(evaluation)


def evaluate(  # noqa: PLR0913
    evaluation: Evaluation, *, compute: Compute, output: Path, config: str, videos: int, truth: Bank | None = None
) -> Mapping[str, Any]:
    """Plays the episodes that `output` lacks, writes the reports there, and returns the content of results.json.

    `compute` is entered only if there is something to play; `config` becomes config.yaml; `videos` is the largest
    number of videos per task and tier; `truth` is the bank of ground truth, which only this process opens. Rows are on
    the disk as soon as their episodes end: the same call continues after a kill, and ends in the same report. Policies
    that fail in their first episodes are stopped (see `evaluation.failing`). Raises `PolicyFaultError` for what cannot
    be built, `ConfigError` where the folder holds another run, or is being written, and `NothingPlayedError` where the
    first episodes are invalid for one reason, or, once all is written, all are.
    """
    _check_videos(videos)
    curves = curves_of(evaluation.worker.policies)
    episodes, parts = _checked_list(evaluation), _parts(evaluation, compute)
    with ResultsFolder(output) as folder, ExitStack() as stack:
        salt = folder.salt(evaluation.salt)
        evaluation = replace(evaluation, sources=parts.sources, salt=salt)
        done = earlier_records(folder, evaluation)
        folder.keep_salt(salt, evaluation.parts)
        jobs = {_key(job): job for unit in _placed(evaluation, parts.obstacles) for job in unit.unit}
        _require_own_rows(done, jobs, evaluation, folder.path)
        folder.write("config.yaml", config)
        folder.write(LIST_FILE, encode_list(episodes).decode())
        pool = cache(lambda: _entered(compute, stack, output))
        records = _played(evaluation, jobs, folder, done=done, pool=pool, truth=truth)
        results = summarised(evaluation, records, parts)
        # Results are written before the videos, which may still lose a worker.
        folder.write_json(RESULTS_FILE, results)
        folder.write("report.md", report.markdown(results, records))
        clips = _video_clips(_chosen(evaluation, records, parts, videos), jobs, folder.path, pool=pool)
        pages = _remembered(evaluation.worker, jobs, records, clips, truth)
        write_attached(folder.path, curves, pages)
        attached = report.Attached(clips, pages, curves, read_intents(folder.path))
        folder.write("report.html", report.html(results, records, config=config, attached=attached))
        _report_invalid(records, folder.path)
    return results


def _entered(compute: Compute, stack: ExitStack, output: Path) -> Compute:
    """Starts `compute`, which ends with `stack`, and logs where the run writes: to the folder `output`."""
    _log.info("Writing to %s, %s.", output, compute.place)
    return stack.enter_context(compute)


def _checked_list(evaluation: Evaluation) -> EpisodeList:
    """Returns the list of the episodes to play. Raises `ListError` where a given list is for other episodes."""
    if evaluation.episode_list is not None:
        require_same_episodes(evaluation.episode_list, evaluation.worker.tasks)
    return evaluation.as_list()


def _parts(evaluation: Evaluation, compute: Compute | None = None) -> Parts:
    """Builds every part and refuses unplayable ones, on `compute` if it is given."""
    first = {name: seeds[0] for name, seeds in evaluation.seeds.items()}
    parts = preflight(evaluation.worker, seeds=first, split=evaluation.split)
    if compute is not None:
        require_one_at_a_time(parts, compute)
    return parts


def _require_own_rows(done: Sequence[EpisodeRecord], jobs: Jobs, evaluation: Evaluation, folder: Path) -> None:
    """Raises `ConfigError` for rows of episodes that this shard does not play."""
    foreign = [record.episode for record in done if _key(record) not in jobs]
    if foreign:
        raise ConfigError(
            "The folder of a shard must hold its own episodes alone.",
            value=f"{folder} with {foreign[0]}, asked for shard {evaluation.shard}",
            remedy="Give each shard an output folder of its own.",
        )


def _chosen(evaluation: Evaluation, records: Sequence[EpisodeRecord], parts: Parts, videos: int) -> list[EpisodeRecord]:
    """Returns the episodes to make videos of."""
    # For a video of a chain the whole chain would have to be played again.
    single = [record for record in records if not record.chain]
    policies = list(evaluation.worker.policies)
    return list(episodes_to_show(single, privileged=parts.privileged, policies=policies, per_task=videos))


def _placed(evaluation: Evaluation, obstacles: Mapping[str, Container[str]]) -> list[EpisodeJob]:
    """Returns every episode with its time on the site clock of the bank, where there is one."""
    jobs, memory = list(evaluation.jobs(obstacles)), evaluation.worker.memory
    if memory is None:
        return jobs
    start_s = memory.start_s
    if start_s is None:
        with memory.connect() as bank:
            start_s = run_start_s(bank, {memory.name_of(job): job.start_s for job in jobs})
    require_resolution(start_s + max(job.start_s for job in jobs))
    return [job.starting_at(start_s + job.start_s) for job in jobs]


def _remembered(
    worker: WorkerConfig,
    jobs: Jobs,
    records: Sequence[EpisodeRecord],
    clips: Sequence[report.Clip],
    truth: Bank | None,
) -> list[tuple[EpisodeRecord, Page]]:
    """Returns the bank's content of one episode per task: one that has a video, else one that succeeded."""
    if worker.memory is None:
        return []
    with_video = [clip.record for clip in clips]
    pages: list[tuple[EpisodeRecord, Page]] = []
    with worker.memory.connect() as bank:
        for task in worker.tasks:
            own = preferred([record for record in records if record.task_and_tier == task], with_video)
            job = replace(jobs[_key(own[0])], attempt=own[0].attempt)
            for source, what in ((bank, "belief"), (truth, "truth")):
                page = None if source is None else episode_page(source, worker.memory.name_of(job), what=what)
                if page is not None:
                    pages.append((own[0], page))
    return pages


def _played(  # noqa: PLR0913
    evaluation: Evaluation,
    jobs: Jobs,
    folder: ResultsFolder,
    *,
    done: Sequence[EpisodeRecord],
    pool: Callable[[], Compute],
    truth: Bank | None,
) -> list[EpisodeRecord]:
    """Returns the record of every job, in their order; episodes of a stopped policy have a record that states it."""
    known = {_key(record): record for record in done}
    units = [job for job in jobs.values() if not job.chain or job.later]
    missing = [unit for unit in units if any(_key(job) not in known for job in unit.unit)]
    if done:
        left = sum(len(unit.unit) for unit in missing)
        _log.info("%d of %d episodes were already played; %d are left.", len(done), len(jobs), left)
    failing = FailingPolicies(folder.path, done)
    wanted = failing.still_played(missing)
    if any(True for _ in wanted):
        first = FirstEpisodes(folder.path)
        for result in pool().run(wanted):
            if truth is not None:
                append_truth(truth, result.truth)
            if _key(result.record) not in known:  # Rows of an unfinished chain stay on the disk.
                append_intents(folder.path, result)
                known[_key(result.record)] = folder.append(result.record)
                failing.note(result)
                _watch(first, result.record, folder, watched=not done)
    for job in jobs.values():
        if _key(job) not in known:
            lost = lost_record(job, evaluation.worker.task(job.task), failing.reason(job))
            known[_key(job)] = folder.append(lost)
    return [known[key] for key in jobs]


def _watch(first: FirstEpisodes, record: EpisodeRecord, folder: ResultsFolder, *, watched: bool) -> None:
    """Stops the run if its first episodes show that no other can be valid; their rows are removed."""
    if not watched:
        return
    try:
        first.add(record)
    except NothingPlayedError:
        folder.remove_rows()
        raise


def _video_clips(
    records: Sequence[EpisodeRecord], jobs: Jobs, folder: Path, *, pool: Callable[[], Compute]
) -> list[report.Clip]:
    """Returns the videos of `records`, replaying those whose file is missing."""
    missing = {_key(record): record for record in records if not video_path(folder, record).exists()}
    if missing:
        for result in pool().run([replace(jobs[key], video=True) for key in missing]):
            record = missing[_key(result.job)]
            if result.video and same_replay(record, result.record):
                write_atomically(video_path(folder, record), result.video)
            else:
                _log.warning("No video of %s by %s: its replay differed.", record.episode, record.policy)
    return [report.Clip(record, path) for record in records if (path := video_path(folder, record)).exists()]


def _check_videos(videos: int) -> None:
    if videos < 0:
        raise ConfigError("videos must be 0 or more.", value=videos)


def _report_invalid(records: Sequence[EpisodeRecord], folder: Path) -> None:
    """Logs how many episodes are invalid and why the first is. Raises `NothingPlayedError` where all of them are."""
    invalid = [record for record in records if record.outcome is Outcome.INVALID]
    if not invalid:
        return
    first = f"{invalid[0].episode} by {invalid[0].policy}: {invalid[0].reason.rstrip('.')}."
    if len(invalid) == len(records):
        raise NothingPlayedError(
            "At least one episode must be valid.",
            value=f"{len(invalid)} invalid episodes in {folder}",
            remedy=f"The first, {first} {NothingPlayedError.usual_remedy}",
        )
    _log.warning("%d of %d episodes are invalid; the first, %s", len(invalid), len(records), first)


def _key(played: EpisodeJob | EpisodeRecord) -> tuple[str, str, str]:
    return played.policy, played.control, played.episode
