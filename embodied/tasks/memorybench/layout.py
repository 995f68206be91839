"""Where things lie on the MemoryBench table: the published places, and random ones within the arm's easy reach."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from embodied.errors import SceneError
from embodied.geometry import Pose, boxes_overlap
from embodied.scenes.tabletop import BUTTON_M, PATCH_M, ROBOT_BASE_M, WORKSPACE_M, on_table

CENTRE_DETECTOR_M = 0.125
SMALL_PATCH_M = 0.07
REACH_M = (0.29, 0.75)
GAP_M = 0.02
PUBLISHED_CENTRE = (0.275, 0.175)
PUBLISHED_PATCHES = ((0.275, 0.350), (0.456, 0.176), (0.275, 0.0), (0.075, 0.175))
PUBLISHED_PAIR = ((0.275, 0.350), (0.281, 0.001))
PUBLISHED_CHEST = (0.258, 0.233)

_ATTEMPTS = 10_000
_PUBLISHED_REACH_M = (0.29, 0.76)
_PLATE = (0.25, -0.25, 0.60, 0.30)
_CHEST_PLATE = (0.253, -0.316, 0.45, 0.25)
_CHEST_FOOTPRINT_M = (0.34, 0.565)
_CHEST_FOOTPRINT_CENTRE_M = -0.1175
_CHEST_SHIFT_M = ((-0.10, 0.0), (-0.02, 0.06))
_CHEST_YAW_RAD = (-0.35, 0.10)
_BESIDE_CHEST_M = ((-0.05, -0.45), (0.50, -0.18))
_BESIDE_PATCHES_M = ((-0.10, -0.45), (0.60, 0.45))
_Drawn = TypeVar("_Drawn")


@dataclass(frozen=True)
class PatchLayout:
    """Poses on the table of the centre, of patches `patch_m` wide, and of the button."""

    centre: Pose
    patches: tuple[Pose, ...]
    button: Pose
    patch_m: float = PATCH_M

    @property
    def detector_m(self) -> float:
        """The width of a patch's detector: 7.5 cm for the published patch of 10 cm."""
        return 0.75 * self.patch_m


@dataclass(frozen=True)
class ChestLayout:
    """Poses on the table of the chest of drawers and of the button."""

    chest: Pose
    button: Pose


def published_patches(places: Iterable[tuple[float, float]], random: np.random.Generator) -> PatchLayout:
    """Returns the published layout: only the button is random, within its plate of 0.60 x 0.30 m, at any yaw."""
    patches = tuple(on_table(x, y) for x, y in places)
    return PatchLayout(on_table(*PUBLISHED_CENTRE), patches, _plate_button(_PLATE, random))


def published_chest(random: np.random.Generator) -> ChestLayout:
    """Returns the published layout: only the button is random, within its plate of 0.45 x 0.25 m, at any yaw."""
    return ChestLayout(on_table(*PUBLISHED_CHEST), _plate_button(_CHEST_PLATE, random))


def random_patches(count: int, random: np.random.Generator) -> PatchLayout:
    """Returns `count` patches on a ring about the centre, the ring anywhere, turned anyhow, and a button beside it.

    Drawn until everything lies in the workspace, within reach, and at least 2 cm apart.
    """
    patch_m = PATCH_M if count <= 8 else SMALL_PATCH_M
    radius_m = _ring_radius(count, patch_m)

    def draw() -> PatchLayout | None:
        distance = random.uniform(REACH_M[0] + radius_m / 2, REACH_M[1] - radius_m / 2)
        bearing, turn = random.uniform((-0.6, -np.pi), (0.6, np.pi))
        x = ROBOT_BASE_M[0] + distance * np.cos(bearing)
        y = ROBOT_BASE_M[1] + distance * np.sin(bearing)
        angles = turn + 2 * np.pi * np.arange(count) / count
        spots = [(x + radius_m * np.cos(angle), y + radius_m * np.sin(angle)) for angle in angles]
        button_x, button_y = random.uniform(*_BESIDE_PATCHES_M)
        if not all(within_reach(*spot, REACH_M) for spot in [*spots, (button_x, button_y)]):
            return None
        button = on_table(button_x, button_y, random.uniform(-np.pi, np.pi))
        centre = on_table(x, y, turn)
        patches = tuple(on_table(*spot, angle) for spot, angle in zip(spots, angles, strict=True))
        clear = all(_clear(button, patch, patch_m) for patch in patches) and _clear(button, centre, CENTRE_DETECTOR_M)
        return PatchLayout(centre, patches, button, patch_m) if clear else None

    return _first(draw)


def random_chest(random: np.random.Generator) -> ChestLayout:
    """Returns a chest near its published place and a button on the free side, clear of the open drawer.

    Shifts of -10 to 0 cm in x and -2 to 6 cm in y, yaws of -0.35 to 0.1 rad: there the arm reaches every handle,
    shut and open, with its fingers level.
    """

    def draw() -> ChestLayout | None:
        x, y = random.uniform(*_CHEST_SHIFT_M) + PUBLISHED_CHEST
        chest = on_table(x, y, random.uniform(*_CHEST_YAW_RAD))
        button_x, button_y = random.uniform(*_BESIDE_CHEST_M)
        button = on_table(button_x, button_y, random.uniform(-np.pi, np.pi))
        clear = not boxes_overlap(*_chest_footprint(chest), button, (BUTTON_M,) * 3)
        return ChestLayout(chest, button) if clear and within_reach(button_x, button_y, REACH_M) else None

    return _first(draw)


def random_on_patch(place: Pose, noise_m: float, noise_rad: float, random: np.random.Generator) -> Pose:
    """Returns the pose of a block on the patch `place`: offset as by a transport with placement noise.

    The offset, drawn from `random`, is uniform along the world's x and y up to `noise_m` and the yaw uniform up to
    `noise_rad`, as the noise is, so that a block that was moved cannot be distinguished from one that was not.
    """
    dx, dy = random.uniform(-noise_m, noise_m, size=2)
    yaw = random.uniform(-noise_rad, noise_rad)
    x, y, _ = place.position_m
    return on_table(x + dx, y + dy, yaw)


def within_reach(x_m: float, y_m: float, reach_m: tuple[float, float]) -> bool:
    """Returns whether (`x_m`, `y_m`) lies in the workspace and its distance from the arm's axis is within `reach_m`."""
    margin = BUTTON_M / 2
    (x_low, x_high), (y_low, y_high), _ = WORKSPACE_M
    inside = x_low + margin <= x_m <= x_high - margin and y_low + margin <= y_m <= y_high - margin
    return inside and reach_m[0] <= float(np.hypot(x_m - ROBOT_BASE_M[0], y_m - ROBOT_BASE_M[1])) <= reach_m[1]


def _ring_radius(count: int, patch_m: float) -> float:
    # Tangential squares on a ring touch at their inner corners; the published ring has 0.175 to 0.2 m.
    half, gap = patch_m / 2, 0.003
    return max(0.175, half + (half + gap) / float(np.tan(np.pi / count))) if count > 2 else 0.175


def _plate_button(plate: tuple[float, float, float, float], random: np.random.Generator) -> Pose:
    # The whole base stays on the plate. The far corners of the plate are beyond the arm's reach straight down.
    x, y, width, depth = plate
    margin = BUTTON_M / np.sqrt(2)
    half = np.array([width / 2 - margin, depth / 2 - margin])

    def draw() -> Pose | None:
        dx, dy = random.uniform(-half, half)
        place = on_table(x + dx, y + dy, random.uniform(-np.pi, np.pi))
        return place if within_reach(x + dx, y + dy, _PUBLISHED_REACH_M) else None

    return _first(draw)


def _chest_footprint(chest: Pose) -> tuple[Pose, tuple[float, float, float]]:
    # The chest, an open drawer and its handle, with 4 cm to spare; the pulling hand passes above the button.
    yaw, (x, y, z) = chest.yaw_rad, chest.position_m
    behind = _CHEST_FOOTPRINT_CENTRE_M
    middle = Pose((x - behind * float(np.sin(yaw)), y + behind * float(np.cos(yaw)), z), chest.orientation)
    return middle, (*_CHEST_FOOTPRINT_M, 1.0)


def _clear(button: Pose, place: Pose, size_m: float) -> bool:
    return not boxes_overlap(button, (BUTTON_M + 2 * GAP_M,) * 3, place, (size_m, size_m, 1.0))


def _first(draw: Callable[[], _Drawn | None]) -> _Drawn:
    for _ in range(_ATTEMPTS):
        drawn = draw()
        if drawn is not None:
            return drawn
    raise SceneError("A layout must fit on the table.", remedy="Ask for fewer patches.")
