"""The figures of a report, as SVG inside the page: text has the page's font and colour."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embodied.evaluation.metrics import chance_band
from embodied.types import EpisodeRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#3d85c6", "#d1842b", "#7a9a3a", "#a468b5", "#c25450", "#4aa3a0", "#8c7355")
INK = "#0a0b0c"  # Replaced by `currentColor`, so that figures can be read on a light and on a dark page.
ROW_HEIGHT_IN = 0.27
WIDTH_IN = 7.6

Tasks = Mapping[str, Mapping[str, Mapping[str, Any]]]


def colours(policies: Sequence[str]) -> dict[str, str]:
    """Returns the colour of each policy, the same in every figure."""
    return {policy: PALETTE[index % len(PALETTE)] for index, policy in enumerate(policies)}


def success_figure(tasks: Tasks, colour: Mapping[str, str]) -> str:
    """Returns success rates with their Wilson intervals, and a tick at the chance rate."""
    figure, axes, rows = _forest(tasks)
    for y, task, policy in rows:
        entry = tasks[task][policy]
        _whisker(axes, y, entry["success_rate"], entry["ci95"], colour[policy])
        if entry["chance"] is not None:
            _chance_tick(axes, y, entry["chance"])
    axes.set_xlabel("episodes that succeeded (%), with 95 % intervals; the tick is chance")
    return as_svg(figure, "success")


def judged_figure(tasks: Tasks, columns: Mapping[str, Mapping[str, Any]], colour: Mapping[str, str]) -> str:
    """Returns how often choices in `tasks` were right, over the band of blind guessing, "" without such tasks.

    `columns` gives the compared column of each task, `colour` the colour of each policy.
    """
    tasks = {task: entries for task, entries in tasks.items() if task in columns and _has_chance(entries)}
    if not tasks:
        return ""
    figure, axes, rows = _forest(tasks)
    for y, task, policy in rows:
        entry = tasks[task][policy]
        judged = entry[columns[task]["name"]]
        reached, correct = judged["reached"], judged["correct"]
        if reached == 0:
            axes.text(1.0, y, " never came to the choice", va="center", fontsize=8, color=INK, alpha=0.7)
            continue
        low, high = chance_band(entry["chance"], reached)
        axes.barh(y, 100 * (high - low) / reached, left=100 * low / reached, height=0.8, color="#888888", alpha=0.28)
        _chance_tick(axes, y, entry["chance"])
        _whisker(axes, y, correct / reached, judged["ci95"], colour[policy])
    titles = " / ".join(dict.fromkeys(f"{columns[task]['title']}s" for task in tasks))
    axes.set_xlabel(f"{titles} that were right (%), with 95 % intervals; grey is the band of chance")
    return as_svg(figure, "judged")


def _has_chance(entries: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(entry["chance"] is not None for entry in entries.values())


def phases_figure(entries: Mapping[str, Mapping[str, Any]], colour: Mapping[str, str], *, task: str) -> str:
    """Returns the share of episodes that reached each phase of one `task`, top to bottom, one line per policy.

    `entries` are those of `results.json`, `colour` gives the colour of each policy.
    """
    phases = list(next(iter(entries.values()))["phases"])
    figure, axes = new_figure(0.8 + ROW_HEIGHT_IN * max(len(phases), 1), width_in=WIDTH_IN / 2)
    heights = list(range(len(phases)))
    for policy, entry in entries.items():
        total = max(entry["episodes"], 1)
        shares = [100 * entry["phases"][phase] / total for phase in phases]
        axes.plot(shares, heights, marker="o", markersize=4.5, linewidth=1.6, color=colour[policy], label=policy)
    axes.set_yticks(heights, [phase.replace("_", " ") for phase in phases])
    axes.set_ylim(len(phases) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("episodes that reached the phase (%)")
    return as_svg(figure, f"phases-{task}")


def time_figure(records: Sequence[EpisodeRecord], colour: Mapping[str, str]) -> str:
    """Returns the simulated against the real seconds of each episode, with the line of real time."""
    figure, axes = new_figure(3.1)
    for policy, shade in colour.items():
        shown = [record for record in records if record.policy == policy and record.sim_time_s > 0 < record.wall_s]
        times = [record.sim_time_s for record in shown], [record.wall_s for record in shown]
        axes.scatter(*times, s=12, color=shade, alpha=0.6, linewidths=0, label=policy)
    longest = max((record.sim_time_s for record in records), default=1.0) or 1.0
    axes.plot([0, longest], [0, longest], color=INK, alpha=0.5, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(longest, longest, " real time", fontsize=8, color=INK, alpha=0.7, va="center")
    axes.set_xlabel("simulated time of the episode (s)")
    axes.set_ylabel("wall time (s)", color=INK)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="center left", bbox_to_anchor=(1.08, 0.5))
    return as_svg(figure, "time")


def _forest(tasks: Tasks) -> "tuple[Figure, Axes, list[tuple[float, str, str]]]":
    rows: list[tuple[float, str, str]] = []
    y = 0.0
    for task, policies in tasks.items():
        for policy in policies:
            rows.append((y, task, policy))
            y += 1.0
        y += 0.7
    figure, axes = new_figure(0.9 + ROW_HEIGHT_IN * max(y, 2.0))
    axes.set_yticks([y for y, _, _ in rows], [policy for _, _, policy in rows])
    axes.set_ylim(max(y, 2.0) - 1.0, -0.9)
    axes.set_xlim(-2, 102)
    for task, policies in tasks.items():
        start = next(y for y, name, _ in rows if name == task)
        middle = start + (len(policies) - 1) / 2
        label = task.replace("/", "\n").replace("_", " ")
        axes.annotate(
            label, (0, middle), xytext=(-165, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", ha="left", fontsize=8.5, color=INK,
        )  # fmt: skip
    figure.subplots_adjust(left=0.30)
    return figure, axes, rows


def _whisker(axes: "Axes", y: float, rate: float, interval: Sequence[float], colour: str) -> None:
    axes.plot([100 * interval[0], 100 * interval[1]], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot([100 * rate], [y], marker="o", markersize=6, color=colour)


def _chance_tick(axes: "Axes", y: float, chance: float) -> None:
    axes.plot([100 * chance, 100 * chance], [y - 0.42, y + 0.42], color=INK, alpha=0.75, linewidth=1.2)


def new_figure(height_in: float, *, width_in: float = WIDTH_IN) -> "tuple[Figure, Axes]":
    """Returns an empty figure in the style of the report, sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout=None)
    axes = figure.add_subplot()
    figure.patch.set_alpha(0.0)
    axes.patch.set_alpha(0.0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.spines["bottom"].set_alpha(0.4)
    axes.tick_params(colors=INK, labelsize=8.5, length=0)
    axes.xaxis.label.set_color(INK)
    axes.xaxis.label.set_fontsize(8.5)
    axes.yaxis.label.set_fontsize(8.5)
    axes.grid(axis="x", color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def as_svg(figure: "Figure", name: str) -> str:
    """Returns the figure as an SVG element without an XML header.

    Text stays text, and ids are derived from `name`, so that they are unique on the page.
    """
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    body = text.getvalue()
    body = body[body.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r' id="[\w.]+_\d+"', "", body)  # Nothing refers to the names of artists.
