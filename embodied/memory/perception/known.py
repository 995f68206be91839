"""The known state of one thing: its surface as seen, its box, its colour, and other things that it may be."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from embodied.geometry import Pose, quaternion_from_yaw, rotation_matrix, vector3
from embodied.memory.perception.boxes import UprightBox, fit_box, inside
from embodied.memory.perception.colours import Colour, lab_from_rgb, median, median_lab

SURFACE_M = 0.5  # A level thing at least this wide and deep is a surface on which things are placed.
SURFACE_SHARE = 0.5
LEVEL_M = 0.01
FLAT_M = 0.006
PART_M = 0.008
MOST_COLOURS = 64
PART_SHARE = 0.08  # Share of the pixels of a thing: a view with the colour of such a part may show that part.
ANYWHERE_SHARE = 0.2
CELL_M = 0.005
ALIKE_COLOUR, DARK, MIDDLE, SHADE_WEIGHT = 20.0, 20.0, 50.0, 0.25  # In CIE L*a*b*.
SIZE_SLACK_M = 0.012
SIZE_SLACK_SHARE = 0.3
_ANGLES_RAD = np.arange(32) * np.pi / 32
_AROUND = np.stack([np.cos(_ANGLES_RAD), np.sin(_ANGLES_RAD)], axis=1)
_CELLS = np.array([1, 8192, 8192 * 8192])


@dataclass(frozen=True, eq=False)
class Measured:
    """A surface as one image shows it: `points_m` (N, 3) in the world. Things can be placed on a `surface`.

    `palette_lab` (M, 3) are colours of some of its pixels in CIE L*a*b*, `colour` is their median.
    """

    points_m: np.ndarray
    box: UprightBox
    colour: Colour
    palette_lab: np.ndarray
    pixels: int
    surface: bool

    @cached_property
    def shades(self) -> tuple[np.ndarray, np.ndarray]:
        """The lightness (M,) of the palette, and its chroma in proportion to lightness (M, 2)."""
        lightness = self.palette_lab[:, 0]
        return lightness, self.palette_lab[:, 1:] / np.maximum(lightness, DARK)[:, None]


@dataclass(eq=False)
class Known:
    """One known thing. `seen_s` is when it was last seen, `hidden_s` when it was last hidden for long.

    `candidates` are the names of similar things with which it may have changed places unseen. `views` counts the looks
    that have added to its box; `held` is set while a robot holds it.
    """

    name: str
    category: str
    measured: Measured
    seen_s: float
    index: int
    views: int = 1
    held: bool = False
    lost: bool = False
    hidden_s: tuple[float, float] = (0.0, 0.0)
    candidates: set[str] = field(default_factory=set)
    votes: Counter[str] = field(default_factory=Counter)

    def vote(self, category: str) -> None:
        """Counts a category that one image gives it; its own is the most frequent one, of several the first."""
        self.votes[category] += 1
        self.category = max(self.votes, key=self.votes.__getitem__)

    def learn_colours(self, new: Measured) -> None:
        """Takes over the colours of a view, after the light has changed."""
        self.measured = replace(self.measured, colour=new.colour, palette_lab=new.palette_lab)

    @property
    def box(self) -> UprightBox:
        """Its box in the world."""
        return self.measured.box

    @property
    def top_m(self) -> float:
        """The height of its upper side."""
        return self.box.pose.position_m[2] + self.box.size_m[2] / 2

    @property
    def bottom_m(self) -> float:
        """The height of its underside."""
        return self.box.pose.position_m[2] - self.box.size_m[2] / 2

    @property
    def flat(self) -> bool:
        """Whether it is a flat mark on its support."""
        return not self.measured.surface and self.box.size_m[2] <= FLAT_M

    @property
    def shape(self) -> str:
        """The shape of its box as one word."""
        if self.measured.surface:
            return "surface"
        return "flat" if self.flat else "box" if self.box.turned else "round"


def measured(points_m: np.ndarray, rgb: np.ndarray, pixels: int) -> Measured:
    """Returns the measurement of one mask from its `points_m` (N, 3) and their colours `rgb` (N, 3).

    `pixels` is the size of the mask.
    """
    heights = points_m[:, 2]
    level = float(median(heights))
    wide = (points_m[:, :2].max(axis=0) - points_m[:, :2].min(axis=0)).min() >= SURFACE_M
    surface = bool(wide and np.mean(np.abs(heights - level) < LEVEL_M) >= SURFACE_SHARE)
    box = _slab(points_m, level) if surface else fit_box(_outline(points_m))
    palette_lab = lab_from_rgb(rgb[:: 1 + len(rgb) // MOST_COLOURS])
    return Measured(points_m, box, median_lab(palette_lab), palette_lab, pixels, surface)


def fused(known: Measured, new: Measured) -> Measured:
    """Returns the union of two views of a thing at rest: one point per cell of 5 mm."""
    points = np.concatenate([known.points_m, new.points_m])
    cells = np.floor(points / CELL_M).astype(np.int64) @ _CELLS
    points = points[np.unique(cells, return_index=True)[1]]
    box = _slab(points, known.box.pose.position_m[2] + LEVEL_M / 2) if known.surface else fit_box(_outline(points))
    colour = known.colour if known.pixels >= new.pixels else new.colour
    palette_lab = np.concatenate([known.palette_lab, new.palette_lab])
    palette_lab = palette_lab[:: 1 + len(palette_lab) // MOST_COLOURS]
    return Measured(points, box, colour, palette_lab, max(known.pixels, new.pixels), known.surface)


def moved_to(known: Measured, pose: Pose) -> Measured:
    """Returns the same thing with its box at `pose`, upright."""
    upright = Pose(pose.position_m, quaternion_from_yaw(pose.yaw_rad))
    turn_rad = pose.yaw_rad - known.box.pose.yaw_rad
    rotated = (known.points_m - known.box.pose.position_m) @ rotation_matrix(quaternion_from_yaw(turn_rad)).T
    return replace(known, points_m=rotated + upright.position_m, box=replace(known.box, pose=upright))


def seen_in_part(known: Measured, new: Measured) -> bool:
    """Returns whether a view shows clearly less of a thing than is known of it."""
    ours, theirs = np.sort(known.box.size_m[:2]), np.sort(new.box.size_m[:2])
    return not known.surface and bool(np.any(theirs < ours - PART_M))


def registered(known: Measured, new: Measured) -> Measured:
    """Returns the known thing, moved by the smallest shift with which it contains the points of a partial view.

    Where the view does not overlap the thing, the thing is first moved to the middle of the view.
    """
    pose = known.box.pose
    if share_inside(known.box, new.points_m, margin_m=known.box.size_m[0] / 2) < ANYWHERE_SHARE:
        pose = Pose(new.box.pose.position_m, pose.orientation)
    rotation, half = rotation_matrix(pose.orientation), np.array(known.box.size_m) / 2
    local = (new.points_m - pose.position_m) @ rotation
    least, most = local.max(axis=0) - half, local.min(axis=0) + half
    middle = (least + most) / 2
    shift = np.where(least <= most, np.clip(0.0, least, np.maximum(least, most)), middle)
    return moved_to(known, Pose(vector3(pose.position_m + rotation @ shift), pose.orientation))


def alike(left: Measured, right: Measured) -> bool:
    """Returns whether two things have similar colours and sizes: by appearance they may be the same."""
    sides = zip(sorted(left.box.size_m), sorted(right.box.size_m), strict=True)
    return (
        left.surface == right.surface
        and all(abs(ours - theirs) <= SIZE_SLACK_M + SIZE_SLACK_SHARE * max(ours, theirs) for ours, theirs in sides)
        and like_colour(left, right)
    )


def like_colour(left: Measured, right: Measured) -> bool:
    """Returns whether two things may have the same colours, whichever of their sides and parts are seen.

    The median colour of one must be among those of the other.
    """
    return _has_colour(left, right.colour) or _has_colour(right, left.colour)


def _has_colour(thing: Measured, colour: Colour) -> bool:
    """Returns whether enough pixels of a thing have a colour, in light or in shade.

    Shade lowers lightness and chroma together, so that chroma is compared in proportion to lightness.
    """
    lightness, red, yellow = colour.lab
    shades, chroma = thing.shades
    least = max(lightness, DARK)
    across = MIDDLE * np.hypot(chroma[:, 0] - red / least, chroma[:, 1] - yellow / least)
    apart = across + SHADE_WEIGHT * np.abs(shades - lightness)
    return bool(np.count_nonzero(apart <= ALIKE_COLOUR) >= PART_SHARE * len(apart))


def share_inside(box: UprightBox, points_m: np.ndarray, *, margin_m: float) -> float:
    """Returns the share in [0, 1] of `points_m` (N, 3) that lie in `box`, grown by `margin_m` on every side."""
    return np.count_nonzero(inside(box, points_m, margin_m=margin_m)) / len(points_m)


def gap_m(left: Measured, right: Measured) -> float:
    """Returns the distance between the centres of two boxes."""
    return float(np.linalg.norm(np.subtract(left.box.pose.position_m, right.box.pose.position_m)))


def confuse(one: Known, other: Known) -> None:
    """Makes two things candidates for one another."""
    if one is not other:
        one.candidates.add(other.name)
        other.candidates.add(one.name)


def volume_m3(box: UprightBox) -> float:
    """Returns the volume of a box."""
    return box.size_m[0] * box.size_m[1] * box.size_m[2]


def standing(thing: Measured, support_m: float) -> Measured:
    """Returns the thing with the underside of its box at the height `support_m`, and the same top."""
    x, y, z = thing.box.pose.position_m
    top = max(z + thing.box.size_m[2] / 2, support_m + 1e-4)
    pose = Pose((x, y, (top + support_m) / 2), thing.box.pose.orientation)
    return replace(thing, box=replace(thing.box, pose=pose, size_m=(*thing.box.size_m[:2], top - support_m)))


def _outline(points_m: np.ndarray) -> np.ndarray:
    """Returns the points (N, 3) that are outermost in one of 64 horizontal directions, the highest and the lowest."""
    if len(points_m) <= len(_AROUND):
        return points_m
    along = points_m[:, :2] @ _AROUND.T
    kept = np.unique([*along.argmax(axis=0), *along.argmin(axis=0), points_m[:, 2].argmax(), points_m[:, 2].argmin()])
    return points_m[kept]


def _slab(points_m: np.ndarray, level_m: float) -> UprightBox:
    """Returns the box of a level surface: as far as it was seen, a centimetre thick, its top at `level_m`."""
    low, high = points_m[:, :2].min(axis=0), points_m[:, :2].max(axis=0)
    x, y = (low + high) / 2
    wide, deep = (float(side) for side in high - low)
    return UprightBox(Pose(vector3([x, y, level_m - LEVEL_M / 2])), (wide, deep, LEVEL_M))
