"""What furniture is built from: boards, legs, fronts, and the colours of one home."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from embodied.scenes.parts import DIGITS, block, shade
from embodied.scenes.scene import Part, Rgba

_WOODS: tuple[Rgba, ...] = (
    (0.55, 0.38, 0.22, 1.0),
    (0.42, 0.28, 0.17, 1.0),
    (0.70, 0.55, 0.36, 1.0),
    (0.80, 0.70, 0.54, 1.0),
)
_PAINTS: tuple[Rgba, ...] = (
    (0.90, 0.90, 0.87, 1.0),
    (0.45, 0.55, 0.60, 1.0),
    (0.62, 0.68, 0.58, 1.0),
    (0.72, 0.70, 0.66, 1.0),
)
_FABRICS: tuple[Rgba, ...] = (
    (0.42, 0.46, 0.55, 1.0),
    (0.56, 0.36, 0.32, 1.0),
    (0.44, 0.50, 0.42, 1.0),
    (0.66, 0.60, 0.50, 1.0),
    (0.36, 0.36, 0.38, 1.0),
)
STEEL: Rgba = (0.72, 0.73, 0.75, 1.0)
WHITE: Rgba = (0.94, 0.94, 0.93, 1.0)
DARK: Rgba = (0.13, 0.13, 0.14, 1.0)
_MARGIN_M = 0.03


@dataclass(frozen=True)
class Board:
    """A surface in the frame of its furniture: the middle of its rectangle, its edges and the height that is free."""

    centre_m: tuple[float, float, float]
    size_m: tuple[float, float]
    clear_height_m: float = 0.7


@dataclass(frozen=True)
class Piece:
    """One piece of furniture: parts, the boards on which objects stand, and its footprint along x and y."""

    category: str
    parts: tuple[Part, ...]
    boards: tuple[Board, ...]
    footprint_m: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Style:
    """What builders draw from: a generator of sizes, and the colours of a home's furniture."""

    rng: np.random.Generator
    wood: Rgba = field(init=False)
    paint: Rgba = field(init=False)
    fabric: Rgba = field(init=False)

    def __post_init__(self) -> None:
        for name, colours in (("wood", _WOODS), ("paint", _PAINTS), ("fabric", _FABRICS)):
            drawn = shade(colours[int(self.rng.integers(len(colours)))], self.rng.uniform(0.9, 1.1))
            object.__setattr__(self, name, drawn)

    def between(self, low: float, high: float) -> float:
        """Returns a length between `low` and `high`, metres."""
        return round(float(self.rng.uniform(low, high)), DIGITS)


def top_board(width: float, depth: float, height: float, clear: float = 0.7) -> Board:
    """Returns the board of a whole top, `width` by `depth` at `height`, with `clear` metres above it."""
    return Board((0.0, 0.0, height), (width - 2 * _MARGIN_M, depth - 2 * _MARGIN_M), clear)


def legs(width: float, depth: float, height: float, rgba: Rgba, thick: float = 0.05) -> list[Part]:
    """Returns four legs at the corners of `width` by `depth`, `height` long and `thick` wide, in `rgba`."""
    x, y = width / 2 - thick / 2, depth / 2 - thick / 2
    return [block((thick, thick, height), (a * x, b * y, height / 2), rgba) for a in (-1, 1) for b in (-1, 1)]


def loose(*parts: Part) -> list[Part]:
    """Returns parts that are seen but do not collide: handles, cushions and fronts that stand out a little."""
    return [msgspec.structs.replace(part, collides=False) for part in parts]


def fronts(width: float, depth: float, levels: Sequence[tuple[float, float]], columns: int, rgba: Rgba) -> list[Part]:
    """Returns fronts with handles in `rgba`, `width` in all, at y = `depth` / 2: `columns` per range of `levels`."""
    parts, pitch = [], width / columns
    for low, high in levels:
        for index in range(columns):
            x = (index + 0.5) * pitch - width / 2
            front = block((pitch - 0.02, 0.008, high - low - 0.02), (x, depth / 2, (low + high) / 2), rgba)
            handle = block((0.12, 0.016, 0.018), (x, depth / 2 + 0.008, high - 0.06), DARK)
            parts += loose(front, handle)
    return parts
