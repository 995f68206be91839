"""The same results in three forms: a table for the terminal, Markdown for a repository, one HTML file."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from embodied.evaluation import control_plots, memory_plots, plots
from embodied.evaluation.curves import Curves, curves_figure
from embodied.evaluation.intent_lists import Key
from embodied.evaluation.memory_pages import Page
from embodied.evaluation.metrics import reasons
from embodied.evaluation.report_episodes import anchor, choice_tables, episode_rows
from embodied.evaluation.report_lines import (
    NEVER,
    Line,
    Measure,
    by_policy,
    column_against_chance,
    explanations,
    lines,
    measures,
    published,
    remarks,
    title_against_chance,
)
from embodied.evaluation.templating import templates
from embodied.evaluation.text_table import text_table
from embodied.rollout.intent_outcomes import IntentOutcome
from embodied.types import NORMAL, EpisodeRecord

REASONS_SHOWN = 6


@dataclass(frozen=True)
class Clip:
    """The video of one episode, in a file, as H.264 in MP4."""

    record: EpisodeRecord
    file: Path


@dataclass(frozen=True)
class Attached:
    """Content of a page besides the figures: videos, episodes of a memory bank, learning curves by policy, intents."""

    clips: Sequence[Clip] = ()
    pages: Sequence[tuple[EpisodeRecord, Page]] = ()
    curves: Mapping[str, Sequence[Curves]] = field(default_factory=dict)
    intents: Mapping[Key, Sequence[IntentOutcome]] = field(default_factory=dict)


def terminal_table(results: Mapping[str, Any]) -> str:
    """Returns the short table for a terminal, without a newline at its end."""
    tampered, own, judged = "controls" in results, lines(results), title_against_chance(results)
    columns: list[tuple[str, list[str]]] = [
        ("task", [line.task for line in own]),
        ("policy", [line.policy for line in own]),
        *([("control", [line.control for line in own])] if tampered else []),
        ("success % [95 %]", [f"{line.success} {line.interval}" for line in own]),
        *(
            [(f"{judged} % [95 %]", [f"{line.judged} {line.judged_interval}".strip() for line in own])]
            if judged
            else []
        ),
        *([("follows donor % [95 %]", [line.follows for line in own])] if tampered else []),
        *([("chance %", [line.chance for line in own])] if judged else []),
        ("invalid", [str(line.invalid) for line in own]),
    ]
    shown = text_table(columns, words=3 if tampered else 2)
    if found := measures(results):
        shown += ["", *text_table(_measure_columns(found, tampered=tampered), words=4 if tampered else 3)]
    notes = [*published(results), *remarks(results)]
    return "\n".join([*(line.rstrip() for line in shown), *([""] if notes else []), *notes])


def _measure_columns(found: Sequence[Measure], *, tampered: bool) -> list[tuple[str, list[str]]]:
    return [
        ("task", [row.task for row in found]),
        ("measure", [row.title for row in found]),
        ("policy", [row.policy for row in found]),
        *([("control", [row.control for row in found])] if tampered else []),
        ("mean or share [95 %]", [f"{row.value} {row.interval}".strip() for row in found]),
        ("episodes", [str(row.episodes) for row in found]),
    ]


def markdown(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> str:
    """Returns `report.md`."""
    page = templates().get_template("report.md.j2")
    return page.render(
        run=results["run"],
        lines=lines(results),
        judged=title_against_chance(results),
        explanations=explanations(results),
        measures=measures(results),
        controls=_controls(results),
        remarks=remarks(results),
        published=published(results),
        failures=_failures(results, records),
    )


def html(
    results: Mapping[str, Any], records: Sequence[EpisodeRecord], *, config: str, attached: Attached | None = None
) -> str:
    """Returns report.html from `results`, `records`, `attached` content, and `config`, the text of config.yaml."""
    attached, tasks = attached or Attached(), results["tasks"]
    judged = {task: column for task in tasks if (column := column_against_chance(results, task)) is not None}
    colour = plots.colours(results["run"]["policies"])
    page = templates().get_template("report.html.j2")
    return page.render(
        run=results["run"],
        lines=lines(results),
        judged=title_against_chance(results),
        explanations=explanations(results),
        measures=measures(results),
        colour=colour,
        success_figure=plots.success_figure(tasks, colour),
        judged_figure=plots.judged_figure(tasks, judged, colour),
        phase_figures={
            task: plots.phases_figure(entries, colour, task=task)
            for task, entries in tasks.items()
            if any(entry["phases"] for entry in entries.values())
        },
        controls=_controls(results),
        control_figures=_control_figures(results, judged, colour),
        remarks=remarks(results),
        published=published(results),
        curves=_curves(attached.curves),
        time_figure=plots.time_figure([record for record in records if record.control == NORMAL], colour),
        failures=_failures(results, records),
        times=_times(results, records),
        choices=choice_tables(results, records),
        episodes=episode_rows(results, records, {anchor(clip.record) for clip in attached.clips}, attached.intents),
        videos=_videos(results, attached.clips),
        memories=_memories(attached.pages),
        config=config,
    )


def _control_figures(
    results: Mapping[str, Any], judged: Mapping[str, Mapping[str, Any]], colour: Mapping[str, str]
) -> dict[str, str]:
    """Returns the figure of the controls of each task of `results` that has a `judged` column, policies by `colour`."""
    return {
        task: control_plots.controls_figure(
            {policy: by_policy(results, task)[policy] for policy in tampered}, judged[task], colour, task=task
        )
        for task, tampered in results.get("controls", {}).items()
        if tampered and task in judged
    }


def _curves(curves: Mapping[str, Sequence[Curves]]) -> dict[str, list[str]]:
    """Returns a figure of each stage of the training of each policy."""
    return {
        name: [curves_figure(each, policy=f"{name}-{stage}") for stage, each in enumerate(stages, start=1)]
        for name, stages in curves.items()
    }


def _controls(results: Mapping[str, Any]) -> dict[str, list[Line]]:
    """Returns the rows of each task's table of controls, for the policies that were played under any."""
    tampered = results.get("controls", {})
    own = lines(results)
    return {task: [line for line in own if line.task == task and line.policy in tampered[task]] for task in tampered}


def _played(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> Iterator[tuple[str, str, list[Any]]]:
    """Yields each task, each policy with its control as text, and their episodes."""
    for task in results["tasks"]:
        for policy, by_control in by_policy(results, task).items():
            for control in by_control:
                own = [r for r in records if (r.task_and_tier, r.policy, r.control) == (task, policy, control)]
                yield task, policy if control == NORMAL else f"{policy}, {control}", own


def _failures(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """Returns the most frequent reasons of each task and policy, and one row with the number of other ones."""
    rows: list[dict[str, Any]] = []
    for task, policy, played in _played(results, records):
        counts = list(reasons(played).items())
        own = {"task": task, "policy": policy}
        for (outcome, reason), count in counts[:REASONS_SHOWN]:
            rows.append({**own, "outcome": outcome, "reason": reason, "count": count})
        rest = counts[REASONS_SHOWN:]
        if rest:
            other = f"{len(rest)} other reasons"
            rows.append({**own, "outcome": "", "reason": other, "count": sum(count for _, count in rest)})
    return rows


def _times(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    rows = []
    for task, policy, own in _played(results, records):
        if own:
            simulated, wall = sum(r.sim_time_s for r in own), sum(r.wall_s for r in own)
            rows.append(
                {
                    "task": task,
                    "policy": policy,
                    "steps": f"{median(record.steps for record in own):.0f}",
                    "sim_time_s": f"{median(record.sim_time_s for record in own):.1f}",
                    "wall_s": f"{median(record.wall_s for record in own):.2f}",
                    "speed": f"{simulated / wall:.1f}" if wall else NEVER,
                }
            )
    return rows


def _videos(results: Mapping[str, Any], clips: Sequence[Clip]) -> dict[str, list[dict[str, Any]]]:
    videos: dict[str, list[dict[str, Any]]] = {}
    for task in results["tasks"]:
        own = [clip for clip in clips if clip.record.task_and_tier == task]
        if own:
            videos[task] = [
                {
                    "record": clip.record,
                    "anchor": anchor(clip.record),
                    "data": base64.b64encode(clip.file.read_bytes()).decode(),
                }
                for clip in own
            ]
    return videos


def _memories(pages: Sequence[tuple[EpisodeRecord, Page]]) -> list[dict[str, Any]]:
    return [
        {
            "record": record,
            "what": page.what,
            "rows": page.rows,
            "timeline": memory_plots.timeline_figure(page),
            "maps": memory_plots.maps_figure(page),
        }
        for record, page in pages
    ]
