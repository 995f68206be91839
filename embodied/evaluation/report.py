"""The same results for three readers: a table for the terminal, Markdown for a repository, one HTML file for people."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from embodied.evaluation import memory_plots, plots
from embodied.evaluation.memory_pages import Page
from embodied.evaluation.metrics import chance_band, reasons
from embodied.types import EpisodeRecord

if TYPE_CHECKING:
    from jinja2 import Environment

NEVER = "-"
REASONS_SHOWN = 6


@dataclass(frozen=True)
class Clip:
    """The film of one episode, in a file, as H.264 in MP4."""

    record: EpisodeRecord
    file: Path


@dataclass(frozen=True)
class Line:
    """One row of the main table, in words: how `policy` did on `task`."""

    task: str
    policy: str
    privileged: bool
    success: str
    interval: str
    first_choice: str
    choices: str
    verdict: str
    chance: str
    invalid: int
    episodes: int


def lines(results: Mapping[str, Any]) -> list[Line]:
    """Returns the rows of the main table of `results.json`."""
    privileged = set(results["run"]["privileged"])
    return [
        _line(task, policy, entry, privileged=policy in privileged)
        for task, policies in results["tasks"].items()
        for policy, entry in policies.items()
    ]


def verdict(entry: Mapping[str, Any]) -> str:
    """Returns where the first choices lie: above, below or within the 95 % band of chance."""
    reached, correct = entry["first_choice"]["reached"], entry["first_choice"]["correct"]
    if reached == 0:
        return "never chose"
    low, high = chance_band(entry["chance"], reached)
    return "below chance" if correct < low else "above chance" if correct > high else "like chance"


def terminal_table(results: Mapping[str, Any]) -> str:
    """Returns the compact table that a terminal shows, without a newline at its end."""
    head = ("task", "policy", "success % [95 %]", "first choice %", "chance %", "invalid")
    rows = [
        (line.task, line.policy, f"{line.success} {line.interval}", line.first_choice, line.chance, str(line.invalid))
        for line in lines(results)
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    shown = [_aligned(head, widths), "  ".join("-" * width for width in widths)]
    previous = ""
    for row in rows:
        shown.append(_aligned((row[0] if row[0] != previous else "", *row[1:]), widths))
        previous = row[0]
    return "\n".join(line.rstrip() for line in shown)


def markdown(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> str:
    """Returns `report.md`."""
    page = _templates().get_template("report.md.j2")
    return page.render(run=results["run"], lines=lines(results), failures=_failures(results, records))


def html(
    results: Mapping[str, Any],
    records: Sequence[EpisodeRecord],
    *,
    clips: Sequence[Clip],
    config: str,
    pages: Sequence[tuple[EpisodeRecord, Page]] = (),
) -> str:
    """Returns `report.html`: one file that needs no other, with figures and films inside.

    `config` is the text of config.yaml, `pages` are episodes as a memory bank tells them.
    """
    tasks = results["tasks"]
    colour = plots.colours(results["run"]["policies"])
    page = _templates().get_template("report.html.j2")
    return page.render(
        run=results["run"],
        lines=lines(results),
        colour=colour,
        success_figure=plots.success_figure(tasks, colour),
        first_choice_figure=plots.first_choice_figure(tasks, colour),
        phase_figures={
            task: plots.phases_figure(entries, colour, task=task)
            for task, entries in tasks.items()
            if any(entry["phases"] for entry in entries.values())
        },
        time_figure=plots.time_figure(records, colour),
        failures=_failures(results, records),
        times=_times(results, records),
        films=_films(results, clips),
        memories=_memories(pages),
        config=config,
    )


def _line(task: str, policy: str, entry: Mapping[str, Any], *, privileged: bool) -> Line:
    reached, correct = entry["first_choice"]["reached"], entry["first_choice"]["correct"]
    low, high = entry["ci95"]
    return Line(
        task=task,
        policy=policy,
        privileged=privileged,
        success=_percent(entry["success_rate"]),
        interval=f"[{_percent(low)}, {_percent(high)}]",
        first_choice=_percent(correct / reached) if reached else NEVER,
        choices=f"{correct} of {reached}",
        verdict=verdict(entry),
        chance=_percent(entry["chance"]),
        invalid=entry["invalid"],
        episodes=entry["episodes"],
    )


def _of(records: Sequence[EpisodeRecord], task: str, policy: str) -> list[EpisodeRecord]:
    return [record for record in records if f"{record.task}/{record.tier}" == task and record.policy == policy]


def _failures(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """Returns the most frequent reasons of each task and policy, and in one row how many more there were."""
    rows: list[dict[str, Any]] = []
    for task, policies in results["tasks"].items():
        for policy in policies:
            counts = list(reasons(_of(records, task, policy)).items())
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
    for task, policies in results["tasks"].items():
        for policy in policies:
            own = _of(records, task, policy)
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


def _films(results: Mapping[str, Any], clips: Sequence[Clip]) -> dict[str, list[dict[str, Any]]]:
    films: dict[str, list[dict[str, Any]]] = {}
    for task in results["tasks"]:
        own = [clip for clip in clips if f"{clip.record.task}/{clip.record.tier}" == task]
        if own:
            films[task] = [
                {"record": clip.record, "data": base64.b64encode(clip.file.read_bytes()).decode()} for clip in own
            ]
    return films


def _memories(pages: Sequence[tuple[EpisodeRecord, Page]]) -> list[dict[str, Any]]:
    return [
        {
            "record": record,
            "rows": page.rows,
            "timeline": memory_plots.timeline_figure(page),
            "maps": memory_plots.maps_figure(page),
        }
        for record, page in pages
    ]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    words = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
    numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join(words + numbers)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    loader = PackageLoader("embodied.evaluation", "templates")
    templates = Environment(
        loader=loader,
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["words"] = lambda name: name.replace("_", " ").replace("/", ", ")
    templates.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return templates
