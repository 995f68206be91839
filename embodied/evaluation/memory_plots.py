"""Figures of the content of a bank: the lanes of a timeline, and the graph of things from above."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embodied.evaluation.label_placement import LINE_HEIGHT, LabelPlacement
from embodied.evaluation.memory_pages import Map, Page, Thing, TimelineInterval
from embodied.evaluation.plots import INK, PALETTE, as_svg, new_figure
from embodied.geometry import Pose, rotation_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LANE_IN = 0.34
MAP_IN = 3.0
MAP_MARGIN_IN = 0.5  # Of a map, for its axes.
MARGIN_M = 0.13
NAME_PT = 7.5
ROBOT_LABEL_M = 0.03
NEAR_M = 0.06  # Parts nearer than this to their whole get neither a name nor a relation arrow.
LABELLED_SHARE = 0.035  # Share of the width; the label of a shorter bar is placed beside it.


def timeline_figure(page: Page) -> str:
    """Returns the interactions of each robot over time, and the place of each moved thing, as SVG."""
    lanes = list(dict.fromkeys(interval.lane for interval in page.intervals))
    lanes.sort(key=lambda lane: (lane == "phases", lane not in _robots(page), lane))
    figure, axes = new_figure(0.7 + LANE_IN * max(len(lanes), 1))
    begin_s = min([interval.begin_s for interval in page.intervals], default=0.0)
    end_s = max([interval.end_s for interval in page.intervals], default=1.0)
    colour = _lane_colours(page.intervals)
    for interval in page.intervals:
        _draw_span(
            axes, interval, lanes.index(interval.lane), colour[interval.text], length_s=max(end_s - begin_s, 1e-9)
        )
    axes.set_yticks(range(len(lanes)), [_readable(lane) for lane in lanes])
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_xlabel("seconds on the site clock")
    return as_svg(figure, f"timeline-{page.name}")


def maps_figure(page: Page) -> str:
    """Returns the things of an episode from above at each of its times, as SVG: metres, x to the right, y up."""
    from matplotlib.figure import Figure

    count = max(len(page.maps), 1)
    figure = Figure(figsize=(MAP_IN * min(count, 2), MAP_IN * math.ceil(count / 2)), layout="constrained")
    figure.patch.set_alpha(0.0)
    categories = list(dict.fromkeys(thing.category for one in page.maps for thing in one.things))
    limits = _limits(page.maps)
    moved = {interval.lane for interval in page.intervals} | set(page.dealt_with)
    for number, one in enumerate(page.maps):
        axes = figure.add_subplot(math.ceil(count / 2), min(count, 2), number + 1)
        _draw_map(axes, one, categories, moved, LabelPlacement(_unit_per_pt(limits)))
        axes.set_xlim(*limits[0])
        axes.set_ylim(*limits[1])
    return as_svg(figure, f"maps-{page.name}")


def _robots(page: Page) -> set[str]:
    return {robot for one in page.maps for robot in one.robots}


def _lane_colours(intervals: Sequence[TimelineInterval]) -> dict[str, str]:
    texts = list(dict.fromkeys(interval.text for interval in intervals))
    return {text: PALETTE[number % len(PALETTE)] for number, text in enumerate(texts)}


def _draw_span(axes: "Axes", interval: TimelineInterval, y: int, colour: str, *, length_s: float) -> None:
    text = _readable(interval.text)
    if interval.lane == "phases":
        axes.plot([interval.begin_s], [y], marker="v", markersize=5, color=INK)
        axes.text(interval.begin_s, y + 0.16, text, fontsize=7.5, color=INK, ha="center", va="top")
        return
    axes.barh(
        y, interval.end_s - interval.begin_s, left=interval.begin_s, height=0.62, color=colour, alpha=0.45, linewidth=0
    )
    narrow = interval.end_s - interval.begin_s < LABELLED_SHARE * length_s
    at_s = interval.end_s if narrow else interval.begin_s + 0.004 * length_s
    axes.text(at_s, y, f" {text}", fontsize=7.5, color=INK, va="center", clip_on=False)


def _limits(maps: Sequence[Map]) -> tuple[tuple[float, float], tuple[float, float]]:
    points = [thing.pose.position_m for one in maps for thing in one.things]
    points += [pose.position_m for one in maps for pose in one.robots.values()]
    points = points or [(0.0, 0.0, 0.0)]
    (left, right), (low, high) = [(min(p[i] for p in points), max(p[i] for p in points)) for i in (0, 1)]
    return (left - MARGIN_M, right + MARGIN_M), (low - MARGIN_M, high + MARGIN_M)


def _unit_per_pt(limits: tuple[tuple[float, float], tuple[float, float]]) -> float:
    """Returns how many metres of a map a typographic point covers: both axes have the same scale."""
    return max(high - low for low, high in limits) / (72.0 * (MAP_IN - MAP_MARGIN_IN))


def _draw_map(axes: "Axes", one: Map, categories: Sequence[str], moved: set[str], labels: LabelPlacement) -> None:
    axes.set_title(f"{one.time_s:.2f} s", fontsize=9, color=INK, loc="left")
    axes.set_aspect("equal")
    axes.patch.set_alpha(0.0)
    axes.tick_params(colors=INK, labelsize=7, length=0)
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_alpha(0.25)
    for way in one.trail:
        axes.plot([x for x, _ in way], [y for _, y in way], color=INK, alpha=0.25, linewidth=1.0, zorder=1)
    for robot, pose in one.robots.items():
        axes.plot(*pose.position_m[:2], marker="o", markersize=9, color=INK, alpha=0.55, zorder=2)
        _draw_label(axes, labels, (pose.position_m[0], pose.position_m[1] + ROBOT_LABEL_M), robot, moved=False)
    places = {thing.name: thing.pose for thing in one.things} | one.robots
    heights_m = {}
    for thing in sorted(one.things, key=lambda thing: thing.name in moved):
        colour = PALETTE[categories.index(thing.category) % len(PALETTE)]
        heights_m[thing.name] = _draw_box(axes, thing, colour, moved=thing.name in moved)
    far: list[tuple[Thing, Pose]] = []
    for thing in sorted(one.things, key=lambda thing: thing.name not in moved):  # Moved things get the best places.
        holder = places.get(thing.parent)
        near = holder is not None and math.dist(thing.pose.position_m[:2], holder.position_m[:2]) < NEAR_M
        if thing.name in moved or not near:
            _draw_name(axes, thing, heights_m[thing.name], labels, moved=thing.name in moved)
        if holder is not None and not near:
            far.append((thing, holder))
    for thing, holder in far:
        _draw_relation(axes, thing, holder, labels)


def _draw_box(axes: "Axes", thing: Thing, colour: str, *, moved: bool) -> float:
    """Draws a thing; returns the distance of its name from its middle, metres."""
    from matplotlib.patches import Rectangle

    x, y, _ = thing.pose.position_m
    if thing.size_m is None:
        axes.plot([x], [y], marker="s", markersize=4, color=colour, zorder=4 if moved else 3)
        return 0.02
    width, depth = thing.size_m[:2]
    box = Rectangle(
        (x - width / 2, y - depth / 2), width, depth, angle=_yaw_deg(thing.pose), rotation_point="center",
        facecolor=colour, alpha=0.9 if moved else 0.3, zorder=4 if moved else 3,
    )  # fmt: skip
    axes.add_patch(box)
    return 0.75 * max(width, depth)


def _draw_name(axes: "Axes", thing: Thing, height_m: float, labels: LabelPlacement, *, moved: bool) -> None:
    x, y, _ = thing.pose.position_m
    at = (x, y + height_m if moved else y - height_m - NAME_PT * LINE_HEIGHT * labels.unit_per_pt)
    _draw_label(axes, labels, at, thing.name, moved=moved)


def _draw_relation(axes: "Axes", thing: Thing, holder: Pose, labels: LabelPlacement) -> None:
    (x, y, _), (u, v, _) = thing.pose.position_m, holder.position_m
    axes.plot([x, u], [y, v], color=INK, linewidth=1.1, linestyle=(0, (2, 2)), zorder=5)
    _draw_label(axes, labels, ((x + u) / 2, (y + v) / 2), thing.predicate, moved=False)


def _draw_label(axes: "Axes", labels: LabelPlacement, at: tuple[float, float], text: str, *, moved: bool) -> None:
    """Draws a label where it is free of others, near `at`; none where everything around is taken."""
    shown = _readable(text)
    height = labels.place(*at, shown, size_pt=NAME_PT)
    if height is not None:
        axes.text(
            at[0], height, shown, fontsize=NAME_PT, color=INK, ha="center", va="bottom", zorder=6, clip_on=True,
            fontweight="bold" if moved else "normal", alpha=1.0 if moved else 0.75,
        )  # fmt: skip


def _yaw_deg(pose: Pose) -> float:
    turn = rotation_matrix(pose.orientation)
    return math.degrees(math.atan2(turn[1, 0], turn[0, 0]))


def _readable(name: str) -> str:
    """Returns a name as words; a dollar sign is escaped, since it would start a formula."""
    return name.replace("_", " ").replace("$", r"\$")
