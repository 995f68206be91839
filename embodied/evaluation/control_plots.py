"""The figure of controls of memory: bars of first choices, with the line and the band of chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embodied.evaluation.metrics import chance_band
from embodied.evaluation.plots import INK, ROW_HEIGHT_IN, as_svg, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR = 0.62
GAP = 0.6


@dataclass(frozen=True)
class _Bar:
    policy: str
    label: str
    hits: int
    trials: int
    ci95: tuple[float, float]
    hatch: str = ""


def controls_figure(
    entries: Mapping[str, Mapping[str, Mapping[str, Any]]],
    column: Mapping[str, Any],
    colour: Mapping[str, str],
    *,
    task: str,
) -> str:
    """Returns how often `column` was right under each control of one `task`, policy by policy.

    `entries` are those of `results.json`, by policy and control, `colour` gives the colour of each policy. For swapped
    memories a second, hatched bar shows how often the choice was the donor's target. The band of chance is grey.
    """
    bars = [
        bar
        for policy, by_control in entries.items()
        for control, entry in by_control.items()
        for bar in _bars(policy, control, entry, column)
    ]
    heights = _heights([bar.policy for bar in bars])
    chance = next(entry["chance"] for by_control in entries.values() for entry in by_control.values())
    figure, axes = new_figure(0.8 + ROW_HEIGHT_IN * (heights[-1] + 1.0))
    for y, bar in zip(heights, bars, strict=True):
        _draw(axes, y, bar, chance, colour[bar.policy])
    axes.axvline(100 * chance, color=INK, alpha=0.75, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_yticks(heights, [bar.label for bar in bars])
    axes.set_ylim(heights[-1] + 0.7, -0.7)
    axes.set_xlim(0, 102)
    axes.set_xlabel(f"{column['title']}s (%), with 95 % intervals; dashed is chance, grey its band")
    figure.subplots_adjust(left=0.34)
    return as_svg(figure, f"controls-{task}")


def _bars(policy: str, control: str, entry: Mapping[str, Any], column: Mapping[str, Any]) -> list[_Bar]:
    made = entry[column["name"]]
    bars = [_Bar(policy, f"{policy}, {control}", made["correct"], made["reached"], tuple(made["ci95"]))]
    follows = entry.get("follows_donor")
    if follows is not None:
        low, high = follows["ci95"]
        bars.append(
            _Bar(policy, "the donor's choice", follows["followed"], follows["reached"], (low, high), hatch="///")
        )
    return bars


def _heights(policies: list[str]) -> list[float]:
    """Returns the positions of the bars: one below another, with a gap between policies."""
    heights: list[float] = []
    for index, policy in enumerate(policies):
        gap = GAP if index and policy != policies[index - 1] else 0.0
        heights.append(heights[-1] + 1.0 + gap if heights else 0.0)
    return heights


def _draw(axes: "Axes", y: float, bar: _Bar, chance: float, colour: str) -> None:
    if bar.trials == 0:
        axes.text(1.0, y, " never came to the choice", va="center", fontsize=8, color=INK, alpha=0.7)
        return
    low, high = chance_band(chance, bar.trials)
    width = 100 * (high - low) / bar.trials
    axes.barh(y, width, left=100 * low / bar.trials, height=0.95, color="#888888", alpha=0.28)
    filled = "none" if bar.hatch else colour
    axes.barh(y, 100 * bar.hits / bar.trials, height=BAR, color=filled, edgecolor=colour, hatch=bar.hatch, alpha=0.75)
    axes.plot([100 * bar.ci95[0], 100 * bar.ci95[1]], [y, y], color=INK, linewidth=1.3, alpha=0.8)
