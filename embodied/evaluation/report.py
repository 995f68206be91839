"""The same results for three readers: a table for the terminal, Markdown for a repository, one HTML file for people."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from embodied.evaluation import control_plots, memory_plots, plots
from embodied.evaluation.controls import SWAPPED
from embodied.evaluation.curves import Curves, curves_figure
from embodied.evaluation.memory_pages import Page
from embodied.evaluation.metrics import chance_band, reasons
from embodied.types import NORMAL, EpisodeRecord

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
class Attached:
    """What a page shows beside the figures: videos, episodes as a memory bank tells them, learning curves by policy."""

    clips: Sequence[Clip] = ()
    pages: Sequence[tuple[EpisodeRecord, Page]] = ()
    curves: Mapping[str, Sequence[Curves]] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One row of the main table, in words: how `policy` did on `task` under `control`."""

    task: str
    policy: str
    control: str
    privileged: bool
    success: str
    interval: str
    first_choice: str
    first_interval: str
    choices: str
    follows: str
    conclusion: str
    chance: str
    band: str
    invalid: int
    episodes: int


def lines(results: Mapping[str, Any]) -> list[Line]:
    """Returns the rows of the main table of `results.json`."""
    privileged = set(results["run"]["privileged"])
    return [
        _line(task, policy, control, entry, privileged=policy in privileged)
        for task in results["tasks"]
        for policy, by_control in by_policy(results, task).items()
        for control, entry in by_control.items()
    ]


def by_policy(results: Mapping[str, Any], task: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Returns the entries of a task by policy and control, the normal one first."""
    tampered = results.get("controls", {}).get(task, {})
    return {policy: {NORMAL: entry, **tampered.get(policy, {})} for policy, entry in results["tasks"][task].items()}


def remarks(results: Mapping[str, Any]) -> list[str]:
    """Returns what must be said of controls: which were not played and why, and how many episodes had no donor."""
    said = []
    for policy, obstacles in results["run"].get("not_played", {}).items():
        for reason in dict.fromkeys(obstacles.values()):
            controls = [control for control, why in obstacles.items() if why == reason]
            said.append(f"{policy} was not played under {', '.join(controls)}: {reason}.")
    for task, policies in results.get("controls", {}).items():
        for policy, by_control in policies.items():
            missing = by_control.get(SWAPPED, {}).get("follows_donor", {}).get("without_donor", 0)
            if missing:
                total = by_control[SWAPPED]["episodes"]
                said.append(f"{task}, {policy}: {missing} of {total} swapped episodes had no donor and are invalid.")
    return said


def published(results: Mapping[str, Any]) -> list[str]:
    """Returns what others have published of the tasks of `results.json`, a sentence each."""
    return [
        f"Published success on {task}: {', '.join(f'{policy} {_percent(rate)} %' for policy, rate in rates.items())}."
        for task, rates in results.get("published", {}).items()
    ]


def conclusion(entry: Mapping[str, Any]) -> str:
    """Returns where the first choices lie: above, below or within the 95 % band of chance."""
    reached, correct = entry["first_choice"]["reached"], entry["first_choice"]["correct"]
    if reached == 0:
        return "never chose"
    low, high = chance_band(entry["chance"], reached)
    return "below chance" if correct < low else "above chance" if correct > high else "like chance"


def terminal_table(results: Mapping[str, Any]) -> str:
    """Returns the compact table that a terminal shows, without a newline at its end."""
    tampered, own = "controls" in results, lines(results)
    columns: list[tuple[str, list[str]]] = [
        ("task", [line.task for line in own]),
        ("policy", [line.policy for line in own]),
        *([("control", [line.control for line in own])] if tampered else []),
        ("success % [95 %]", [f"{line.success} {line.interval}" for line in own]),
        ("first choice % [95 %]", [f"{line.first_choice} {line.first_interval}".strip() for line in own]),
        *([("follows donor % [95 %]", [line.follows for line in own])] if tampered else []),
        ("chance %", [line.chance for line in own]),
        ("invalid", [str(line.invalid) for line in own]),
    ]
    words = 3 if tampered else 2
    widths = [max(map(len, (name, *cells))) for name, cells in columns]
    shown = [_aligned([name for name, _ in columns], widths, words), "  ".join("-" * width for width in widths)]
    previous = ""
    for row in zip(*(cells for _, cells in columns), strict=True):
        shown.append(_aligned((row[0] if row[0] != previous else "", *row[1:]), widths, words))
        previous = row[0]
    said = [*published(results), *remarks(results)]
    return "\n".join([*(line.rstrip() for line in shown), *([""] if said else []), *said])


def markdown(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> str:
    """Returns `report.md`."""
    page = _templates().get_template("report.md.j2")
    return page.render(
        run=results["run"],
        lines=lines(results),
        controls=_controls(results),
        remarks=remarks(results),
        published=published(results),
        failures=_failures(results, records),
    )


def html(
    results: Mapping[str, Any], records: Sequence[EpisodeRecord], *, config: str, attached: Attached | None = None
) -> str:
    """Returns `report.html`, one file with figures and videos inside; `config` is the text of config.yaml."""
    attached = attached or Attached()
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
        controls=_controls(results),
        control_figures={
            task: control_plots.controls_figure(
                {policy: by_policy(results, task)[policy] for policy in tampered}, colour, task=task
            )
            for task, tampered in results.get("controls", {}).items()
            if tampered
        },
        remarks=remarks(results),
        published=published(results),
        curves=_curves(attached.curves),
        # What a donor takes is part of the rows of swapped memories; those as they are say what episodes cost.
        time_figure=plots.time_figure([record for record in records if record.control == NORMAL], colour),
        failures=_failures(results, records),
        times=_times(results, records),
        videos=_videos(results, attached.clips),
        memories=_memories(attached.pages),
        config=config,
    )


def _line(task: str, policy: str, control: str, entry: Mapping[str, Any], *, privileged: bool) -> Line:
    reached, correct = entry["first_choice"]["reached"], entry["first_choice"]["correct"]
    low, high = chance_band(entry["chance"], reached)
    follows = entry.get("follows_donor", {"reached": 0})
    return Line(
        task=task,
        policy=policy,
        control=control,
        privileged=privileged,
        success=_percent(entry["success_rate"]),
        interval=_interval(entry["ci95"]),
        first_choice=_percent(correct / reached) if reached else NEVER,
        first_interval=_interval(entry["first_choice"]["ci95"]) if reached else "",
        choices=f"{correct} of {reached}",
        follows=f"{_percent(follows['followed'] / follows['reached'])} {_interval(follows['ci95'])}"
        if follows["reached"]
        else NEVER,
        conclusion=conclusion(entry),
        chance=_percent(entry["chance"]),
        band=f"{_percent(low / reached)}-{_percent(high / reached)}" if reached else NEVER,
        invalid=entry["invalid"],
        episodes=entry["episodes"],
    )


def _curves(curves: Mapping[str, Sequence[Curves]]) -> dict[str, list[str]]:
    """Returns a figure of each stage of the training of each policy."""
    return {
        name: [curves_figure(each, policy=f"{name}-{stage}") for stage, each in enumerate(stages, start=1)]
        for name, stages in curves.items()
    }


def _controls(results: Mapping[str, Any]) -> dict[str, list[Line]]:
    """Returns the rows of each task's table of controls: those of the policies that were played under any."""
    tampered = results.get("controls", {})
    own = lines(results)
    return {task: [line for line in own if line.task == task and line.policy in tampered[task]] for task in tampered}


def _played(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> Iterator[tuple[str, str, list[Any]]]:
    """Yields each task, each policy with its control in words, and their episodes."""
    for task in results["tasks"]:
        for policy, by_control in by_policy(results, task).items():
            for control in by_control:
                own = [r for r in records if (f"{r.task}/{r.tier}", r.policy, r.control) == (task, policy, control)]
                yield task, policy if control == NORMAL else f"{policy}, {control}", own


def _failures(results: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """Returns the most frequent reasons of each task and policy, and in one row how many more there were."""
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
        own = [clip for clip in clips if f"{clip.record.task}/{clip.record.tier}" == task]
        if own:
            videos[task] = [
                {"record": clip.record, "data": base64.b64encode(clip.file.read_bytes()).decode()} for clip in own
            ]
    return videos


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


def _aligned(row: Sequence[str], widths: Sequence[int], words: int) -> str:
    """Returns a row of which the first `words` cells are aligned to the left, the others to the right."""
    cells = zip(row, widths, strict=True)
    return "  ".join(cell.ljust(width) if i < words else cell.rjust(width) for i, (cell, width) in enumerate(cells))


def _interval(bounds: Sequence[float]) -> str:
    return f"[{_percent(bounds[0])}, {_percent(bounds[1])}]"


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
