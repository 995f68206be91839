"""Merges the shards of one run: the rows and results equal those of the run played at once."""

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from embodied.errors import DataError
from embodied.evaluation import report
from embodied.evaluation.attached_content import merged_pages, read_attached, write_attached
from embodied.evaluation.episode_list import LIST_FILE, encode_list
from embodied.evaluation.failing import policy_failures
from embodied.evaluation.finished_run import FinishedRun, read_run
from embodied.evaluation.intent_lists import merge_intents, read_intents
from embodied.evaluation.metrics import phase_order
from embodied.evaluation.plan import Shard
from embodied.evaluation.results import RESULTS_FILE, ResultsFolder
from embodied.evaluation.summary import entry_of
from embodied.evaluation.videos import episodes_to_show, video_path
from embodied.types import NORMAL, EpisodeRecord, ReportColumn

VIDEOS = "videos"
_OF_ROWS = (
    "run",
    "tasks",
    "controls",
    "policy_failures",
)  # The entries of results.json that depend on the rows of a shard.
PER_SHARD = ("shard", "wall_s")  # The entries of `run` in results.json that may differ between shards.


class ShardError(DataError):
    """Folders do not hold all shards of one run."""


def merge(folders: Sequence[Path], *, output: Path) -> Mapping[str, Any]:
    """Merges the shards in `folders` into `output`, and returns the content of its results.json.

    Rows are in the order of the episode list. Raises `ShardError` unless `folders` are all shards of one run, each once
    and finished, and `DataError` for a folder of other content.
    """
    shards = [read_run(folder) for folder in folders]
    first = _first_of_all(shards)
    records = _records(first, shards)
    results = _results(first, shards, records)
    attached = [read_attached(one.folder) for one in shards]
    with ExitStack() as stack:
        target = stack.enter_context(ResultsFolder(output))
        if target.records(str(first.run["id"])):
            raise ShardError("Shards must be merged into a new folder.", value=str(output), remedy="Choose another.")
        for record in records:
            target.append(record)
        config = re.sub(r"(?m)^shard: .*$", "shard: ''", (first.folder / "config.yaml").read_text())
        target.write("config.yaml", config)
        target.keep_salt(str(first.run.get("salt", "")))
        target.write(LIST_FILE, encode_list(first.episodes).decode())
        target.write_json(RESULTS_FILE, results)
        target.write("report.md", report.markdown(results, records))
        clips = _clips(shards, results, records, output)
        pages = merged_pages(attached, records, [clip.record for clip in clips])
        curves = next((one.curves for one in attached if one.curves), {})
        write_attached(output, curves, pages)
        merge_intents([one.folder for one in shards], output)
        shown = report.Attached(clips, pages, curves, read_intents(output))
        target.write("report.html", report.html(results, records, config=config, attached=shown))
    return results


def _first_of_all(shards: Sequence[FinishedRun]) -> FinishedRun:
    """Returns the first shard, after checking that all shards of its run are given, each once and complete."""
    by_index: dict[int, FinishedRun] = {}
    for one in shards:
        if "shard" not in one.run:
            raise ShardError("Only shards of a run can be merged.", value=f"{one.folder} holds a whole run")
        shard, other = Shard.parse(one.run["shard"]), shards[0]
        if one.run["id"] != other.run["id"] or one.episodes.sha256 != other.episodes.sha256:
            raise ShardError(
                "Shards must be of one run: the same settings, code, weights and episodes.",
                value=f"{one.folder} with run {one.run['id']} and list {one.episodes.sha256[:12]}, "
                f"{other.folder} with run {other.run['id']} and list {other.episodes.sha256[:12]}",
                remedy="Play the foreign shard again with the settings of the others.",
            )
        if shard.count != Shard.parse(other.run["shard"]).count:
            raise ShardError(
                "Shards must be parts of the same division.",
                value=f"{one.folder} is {shard}, {other.folder} is {other.run['shard']}",
            )
        if shard.index in by_index:
            raise ShardError(
                "Each shard must be merged once.", value=f"{one.folder} and {by_index[shard.index].folder} are {shard}"
            )
        by_index[shard.index] = one
    count = Shard.parse(shards[0].run["shard"]).count
    if missing := [f"{index}/{count}" for index in range(1, count + 1) if index not in by_index]:
        raise ShardError(
            "All shards of a run must be merged together.",
            value=f"missing {', '.join(missing)}",
            remedy="Play them with the same command and shard=INDEX/COUNT.",
        )
    return by_index[1]


def _records(first: FinishedRun, shards: Sequence[FinishedRun]) -> list[EpisodeRecord]:
    """Returns every row of the run in the order of its list. Raises `ShardError` for missing and foreign rows."""
    found: dict[tuple[str, str, str], EpisodeRecord] = {}
    for one in shards:
        for record in one.records:
            key = record.policy, record.control, record.episode
            if key in found:
                raise ShardError("An episode must be in one shard alone.", value=f"{record.episode} in {one.folder}")
            found[key] = record
    wanted = [
        (policy, control, f"{task}/{first.episodes.split}/{seed}")
        for task, own in first.episodes.tasks.items()
        for seed in own.seeds
        for policy, control in first.played(task)
    ]
    for kind, keys in (("missing from", set(wanted) - found.keys()), ("foreign to", found.keys() - set(wanted))):
        if keys:
            policy, control, episode = min(keys)
            raise ShardError(
                "Shards must hold every episode of the run, and no other.",
                value=f"{len(keys)} {kind} the list, such as {episode} by {policy}, {control}",
                remedy="Run the command of the shard again: it plays missing episodes.",
            )
    return [found[key] for key in wanted]


def _results(first: FinishedRun, shards: Sequence[FinishedRun], records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Returns results.json of the whole run."""
    for one in shards:
        for name in one.run.keys() | first.run.keys():
            if name not in (*PER_SHARD, "cpu", "versions") and one.run.get(name) != first.run.get(name):
                raise ShardError(f"Shards must agree on {name!r}.", value=(str(one.folder), str(first.folder)))
    tasks: dict[str, Any] = {}
    controls: dict[str, Any] = {}
    for task, policies in first.results["tasks"].items():
        own = [record for record in records if record.task_and_tier == task]
        phases, columns = phase_order(own), [_column(column) for column in first.run["columns"][task]]
        tasks[task], controls[task] = {}, {}
        for policy, control in first.played(task):
            rows = [record for record in own if (record.policy, record.control) == (policy, control)]
            chance = policies[policy]["chance"]
            entry = entry_of(rows, control, chance=chance, phases=phases, columns=columns)
            if control == NORMAL:
                tasks[task][policy] = entry
            else:
                controls[task].setdefault(policy, {})[control] = entry
    run = {name: value for name, value in first.run.items() if name != "shard"}
    run["cpu"] = " + ".join(dict.fromkeys(str(one.run["cpu"]) for one in shards))
    run["wall_s"] = round(sum(record.wall_s for record in records), 3)
    kept = {name: value for name, value in first.results.items() if name not in _OF_ROWS}
    failures = policy_failures(records)
    kept |= {"policy_failures": failures} if failures else {}
    return {"run": run, "tasks": tasks, **({"controls": controls} if "controls" in first.results else {}), **kept}


def _column(column: Mapping[str, Any]) -> ReportColumn:
    return msgspec.convert(column, ReportColumn)


def _clips(
    shards: Sequence[FinishedRun], results: Mapping[str, Any], records: Sequence[EpisodeRecord], output: Path
) -> list[report.Clip]:
    """Copies the videos of all shards to `output`, and returns those that the report of the whole run shows."""
    for one in shards:
        if (one.folder / VIDEOS).is_dir():
            shutil.copytree(one.folder / VIDEOS, output / VIDEOS, dirs_exist_ok=True)
    with_video = [record for record in records if video_path(output, record).exists()]
    policies = list(results["run"]["policies"])
    privileged = results["run"]["privileged"]
    shown = episodes_to_show(with_video, privileged=privileged, policies=policies, per_task=len(with_video))
    return [report.Clip(record, video_path(output, record)) for record in shown]
