"""Determines containment and support from boxes alone."""

from collections.abc import Collection

from embodied.memory.perception.boxes import covers
from embodied.memory.perception.known import Known, volume_m3

TOUCH_M = 0.025
WITHIN_M = 0.005
RIM_M = 0.004
LARGER = 1.5  # A container has at least this many times the footprint of what is in it.


def support_of(thing: Known, others: Collection[Known]) -> tuple[str, Known] | None:
    """Returns "in" or "on" and the container or support of a thing; None where nothing is seen under it.

    The first of these that applies counts: it is on a flat mark below its centre; in the smallest box that contains its
    centre and has at least 1.5 times its footprint; on the highest surface below its centre, if the gap between that
    surface and the bottom of the thing is at most 2.5 cm.
    """
    able = [
        one for one in others
        if one is not thing and not one.lost and not one.held and _over(one, thing)
    ]  # fmt: skip
    marks = [one for one in able if one.flat and not thing.flat and _touches(thing, one)]
    if marks:
        return "on", min(marks, key=lambda one: volume_m3(one.box))
    around = [one for one in able if not (one.flat or one.measured.surface) and _holds(one, thing)]
    if around:
        return "in", min(around, key=lambda one: volume_m3(one.box))
    under = [one for one in able if not one.flat and _touches(thing, one) and not _holds(thing, one)]
    if under:
        return "on", max(under, key=lambda one: (one.top_m, one.measured.surface))
    return None


def support_height_m(thing: Known, others: Collection[Known]) -> float | None:
    """Returns the height of the highest surface seen below the centre of a thing, None where none is seen."""
    middle_m = thing.box.pose.position_m[2]
    heights = [
        one.top_m for one in others
        if one is not thing and not (one.lost or one.held) and _over(one, thing) and one.top_m <= middle_m
    ]  # fmt: skip
    return max(heights, default=None)


def _over(below: Known, thing: Known) -> bool:
    """Returns whether the middle of a thing lies over or under the outline of another."""
    return covers(below.box, thing.box.pose.position_m, margin_m=RIM_M)


def _touches(thing: Known, below: Known) -> bool:
    return abs(thing.bottom_m - below.top_m) <= TOUCH_M and below.box.pose.position_m[2] < thing.box.pose.position_m[2]


def _holds(outer: Known, thing: Known) -> bool:
    """Returns whether a thing's middle is in a box that is clearly wider and reaches over its underside."""
    wider = _footprint_m2(outer) >= LARGER * _footprint_m2(thing)
    around = outer.bottom_m - WITHIN_M <= thing.bottom_m and outer.top_m >= thing.bottom_m + TOUCH_M
    return wider and around


def _footprint_m2(thing: Known) -> float:
    return thing.box.size_m[0] * thing.box.size_m[1]
