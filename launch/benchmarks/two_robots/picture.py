"""Draws both variants of the two-robot episode: the final camera image, and the paths of both robots from above."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embodied.paths import write_atomically
from embodied.scenes.hall import BLOCK_M, MOBILE, SPOT_M, STANDING
from launch.benchmarks.two_robots.scenario import Course

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, RED, INK = "#3d85c6", "#d1842b", "#33894d", "#b8453f", "#22252a"
DPI = 100
TITLES = {"with the bank": "It asks the bank", "without": "It goes where it last saw it"}


def draw(courses: Mapping[str, Course], target: Path) -> None:
    """Writes the picture as PNG: one column per variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 6.0), layout="constrained", facecolor="white")
    figure.suptitle(
        "The standing robot moved the block while the mobile one was away. Asked to fetch it, the mobile one ...",
        fontsize=10.5, color=INK,
    )  # fmt: skip
    for column, (name, course) in enumerate(courses.items()):
        if course.image is not None:
            seen = figure.add_subplot(2, len(courses), column + 1)
            seen.imshow(course.image)
            seen.set_axis_off()
            seen.set_title(TITLES[name].replace("It ", "... "), fontsize=11, color=INK, fontweight="bold")
        _draw_from_above(figure.add_subplot(2, len(courses), len(courses) + column + 1), course)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_atomically(target, content.getvalue())


def _draw_from_above(axes: "Axes", course: Course) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((-0.3, -0.45), 0.6, 0.9, facecolor="#e9e2d8", zorder=0))
    for name, (x, y) in course.spots_m.items():
        axes.add_patch(Rectangle((x - SPOT_M / 2, y - SPOT_M / 2), SPOT_M, SPOT_M, facecolor=RED, alpha=0.25, zorder=1))
        axes.text(x - 0.07, y, name, fontsize=8, color=INK, ha="right", va="center")
    _plot_path(axes, course.paths_m[STANDING], BLUE, "gripper of the standing robot")
    _plot_path(axes, course.paths_m["base"], ORANGE, "base of the mobile robot", dashed=True)
    _plot_path(axes, course.paths_m[MOBILE], ORANGE, "gripper of the mobile robot")
    x, y, _ = course.block_m
    axes.add_patch(Rectangle((x - BLOCK_M / 2, y - BLOCK_M / 2), BLOCK_M, BLOCK_M, facecolor=GREEN, zorder=4))
    found = course.miss_m < BLOCK_M / 2
    axes.plot(*course.asked_m[:2], marker="x", markersize=11, markeredgewidth=2.5, color=INK, zorder=6)
    label = (
        "reached here:\nit holds the block"
        if found
        else f"reached here:\n{100 * course.miss_m:.0f} cm beside the block"
    )
    axes.annotate(
        label, course.asked_m[:2], xytext=(12, 0), textcoords="offset points", fontsize=8.5, color=INK, va="center",
        fontweight="bold", zorder=7, bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xlim(-0.6, 2.1)
    axes.set_ylim(-0.55, 0.55)
    axes.tick_params(labelsize=7.5, colors=INK)
    axes.set_xlabel("metres", fontsize=8, color=INK)
    axes.legend(fontsize=7.5, frameon=False, loc="upper right", labelcolor=INK)


def _plot_path(
    axes: "Axes", path_m: Sequence[tuple[float, float]], colour: str, label: str, *, dashed: bool = False
) -> None:
    style = (0, (3, 2)) if dashed else "solid"
    axes.plot(
        [x for x, _ in path_m],
        [y for _, y in path_m],
        color=colour,
        linewidth=1.5,
        alpha=0.8,
        linestyle=style,
        label=label,
    )
