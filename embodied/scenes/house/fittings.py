"""Builders of fittings: bathrooms, washing machines, and large furniture that carries no objects."""

from embodied.scenes.house.pieces import DARK, STEEL, WHITE, Board, Piece, Style, fronts, loose, top_board
from embodied.scenes.parts import block, column, shade


def toilet(style: Style) -> Piece:
    """A seat with a closed lid, on which things stand, and a tank."""
    width, depth, height = 0.38, style.between(0.64, 0.70), style.between(0.40, 0.44)
    tank = 0.20
    parts = [
        block((0.26, depth - tank - 0.12, height - 0.06), (0, 0.04, (height - 0.06) / 2), WHITE),
        block((width, depth - tank, 0.06), (0, tank / 2, height - 0.03), WHITE),
        block((width - 0.02, depth - tank - 0.02, 0.002), (0, tank / 2, height + 0.001), shade(WHITE, 0.9)),
        block((width, tank, 0.42), (0, (tank - depth) / 2, height + 0.16), WHITE),
        *loose(block((0.07, 0.02, 0.02), (0, tank - depth / 2 + 0.005, height + 0.31), STEEL)),
    ]
    lid = Board((0.0, tank / 2, height + 0.002), (width - 0.05, depth - tank - 0.06), 0.7)
    return Piece("toilet", tuple(parts), (lid,), (width, depth))


def washer_dryer(style: Style) -> Piece:
    """A machine with a round door and a panel."""
    side, height = 0.6, style.between(0.84, 0.88)
    parts = [
        block((side, side - 0.03, height), (0, -0.015, height / 2), WHITE),
        *loose(
            column(0.2, 0.03, (0, side / 2 - 0.03, 0.45 * height), STEEL, "y"),
            column(0.15, 0.04, (0, side / 2 - 0.03, 0.45 * height), DARK, "y"),
            block((side - 0.06, 0.012, 0.1), (0, side / 2 - 0.03, height - 0.08), shade(STEEL, 0.85)),
            column(0.03, 0.03, (0.2, side / 2 - 0.025, height - 0.08), DARK, "y"),
        ),
    ]
    return Piece("washer dryer", tuple(parts), (top_board(side, side, height),), (side, side))


def fridge(style: Style) -> Piece:
    """A tall fridge with two doors."""
    width, depth, height = 0.62, 0.65, style.between(1.75, 1.95)
    parts = [
        block((width, depth - 0.03, height), (0, -0.015, height / 2), shade(STEEL, 1.2)),
        *loose(
            block((width, 0.004, 0.015), (0, depth / 2 - 0.028, 0.62 * height), DARK),
            *(block((0.025, 0.03, 0.4), (-0.24, depth / 2 - 0.02, z * height), DARK) for z in (0.45, 0.8)),
        ),
    ]
    return Piece("fridge", tuple(parts), (), (width, depth))


def wardrobe(style: Style) -> Piece:
    """A tall wardrobe with two doors."""
    width, depth, height = style.between(1.0, 1.4), 0.55, style.between(1.9, 2.1)
    parts = [
        block((width, depth - 0.02, height), (0, -0.01, height / 2), style.wood),
        *fronts(width, depth - 0.04, [(0.08, height - 0.05)], 2, shade(style.wood, 1.15)),
    ]
    return Piece("wardrobe", tuple(parts), (), (width, depth))


def bathtub(style: Style) -> Piece:
    """A tub with water and a tap."""
    width, depth, height = style.between(1.5, 1.65), 0.7, 0.55
    parts = [
        block((width, depth, height - 0.03), (0, 0, (height - 0.03) / 2), WHITE),
        *loose(
            block((width - 0.16, depth - 0.16, 0.004), (0, 0, height - 0.028), (0.66, 0.80, 0.86, 1.0)),
            block((0.05, 0.14, 0.05), (0.42 * width, -0.2, height + 0.12), STEEL),
        ),
        *(block((width, 0.07, 0.03), (0, y * (depth / 2 - 0.035), height - 0.015), WHITE) for y in (-1, 1)),
        *(block((0.07, depth, 0.03), (x * (width / 2 - 0.035), 0, height - 0.015), WHITE) for x in (-1, 1)),
    ]
    return Piece("bathtub", tuple(parts), (), (width, depth))


def basin(style: Style) -> Piece:
    """A washbasin on a foot, with a mirror."""
    width, depth, height = style.between(0.5, 0.6), 0.45, 0.85
    parts = [
        block((0.16, 0.16, height - 0.14), (0, -0.1, (height - 0.14) / 2), WHITE),
        block((width, depth, 0.14), (0, 0, height - 0.07), WHITE),
        *loose(
            block((width - 0.1, depth - 0.14, 0.004), (0, 0.03, height + 0.001), (0.62, 0.72, 0.76, 1.0)),
            block((0.03, 0.12, 0.03), (0, 0.06 - depth / 2 + 0.02, height + 0.1), STEEL),
            block((width, 0.015, 0.6), (0, 0.008 - depth / 2, height + 0.75), (0.72, 0.84, 0.90, 1.0)),
        ),
    ]
    return Piece("washbasin", tuple(parts), (), (width, depth))
