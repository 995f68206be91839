"""Builders of furniture that stores: counters, cabinets, drawers, shelves, stands, carts and trunks."""

from itertools import pairwise

import numpy as np

from embodied.scenes.house.pieces import DARK, STEEL, Board, Piece, Style, fronts, legs, loose, top_board
from embodied.scenes.parts import block, column, shade


def counter(style: Style) -> Piece:
    """A kitchen counter with doors, a worktop and tiles behind."""
    width, depth, height = style.between(1.2, 1.9), 0.6, style.between(0.88, 0.92)
    columns = max(2, round(width / 0.5))
    parts = [
        block((width, depth - 0.03, height - 0.04), (0, -0.015, (height - 0.04) / 2), style.paint),
        block((width, depth, 0.04), (0, 0, height - 0.02), shade(style.wood, 1.15)),
        *loose(block((width, 0.004, 0.1), (0, depth / 2 - 0.03, 0.05), DARK)),
        *fronts(width, depth - 0.06, [(0.1, height - 0.06)], columns, shade(style.paint, 0.9)),
        *loose(block((width, 0.012, 0.45), (0, 0.006 - depth / 2, height + 0.225), shade(style.paint, 1.1))),
    ]
    return Piece("counter", tuple(parts), (top_board(width, depth, height),), (width, depth))


def cabinet(style: Style) -> Piece:
    """A cabinet with two doors."""
    width, depth, height = style.between(0.75, 1.0), style.between(0.38, 0.42), style.between(0.8, 0.95)
    parts = [
        block((width, depth - 0.02, height), (0, -0.01, height / 2), style.wood),
        *fronts(width, depth - 0.04, [(0.06, height - 0.02)], 2, shade(style.wood, 1.2)),
    ]
    return Piece("cabinet", tuple(parts), (top_board(width, depth, height),), (width, depth))


def chest_of_drawers(style: Style) -> Piece:
    """A chest of three or four drawers."""
    width, depth, height = style.between(0.75, 1.0), style.between(0.40, 0.46), style.between(0.8, 1.0)
    rows = int(style.rng.integers(3, 5))
    edges = np.linspace(0.06, height - 0.03, rows + 1).tolist()
    parts = [
        block((width, depth - 0.02, height), (0, -0.01, height / 2), style.wood),
        *fronts(width, depth - 0.04, list(pairwise(edges)), 1, shade(style.wood, 0.8)),
    ]
    return Piece("chest of drawers", tuple(parts), (top_board(width, depth, height),), (width, depth))


def filing_cabinet(style: Style) -> Piece:
    """A steel cabinet of drawers."""
    width, depth, height = style.between(0.42, 0.50), style.between(0.48, 0.56), style.between(0.68, 1.0)
    edges = np.linspace(0.03, height - 0.01, 3 if height < 0.85 else 4).tolist()
    steel = shade(STEEL, style.rng.uniform(0.7, 1.0))
    parts = [
        block((width, depth - 0.02, height), (0, -0.01, height / 2), steel),
        *fronts(width, depth - 0.04, list(pairwise(edges)), 1, shade(steel, 1.15)),
    ]
    return Piece("filing cabinet", tuple(parts), (top_board(width, depth, height),), (width, depth))


def shelves(style: Style) -> Piece:
    """An open shelf; things stand on its two upper boards."""
    width, depth = style.between(0.8, 1.1), style.between(0.34, 0.38)
    heights, thick = (0.10, style.between(0.44, 0.48), style.between(0.84, 0.90)), 0.025
    total = heights[2] + style.between(0.30, 0.34)
    wood = style.wood
    parts = [
        *(block((thick, depth, total), (sign * (width - thick) / 2, 0, total / 2), wood) for sign in (-1, 1)),
        block((width, 0.012, total), (0, 0.006 - depth / 2, total / 2), shade(wood, 0.75)),
        *(block((width - 2 * thick, depth, thick), (0, 0, z - thick / 2), wood) for z in (*heights, total)),
    ]
    inner = (width - 2 * thick - 0.05, depth - 0.08)
    boards = tuple(
        Board((0.0, 0.01, low), inner, high - thick - low - 0.02)
        for low, high in ((heights[1], heights[2]), (heights[2], total))
    )
    return Piece("shelves", tuple(parts), boards, (width, depth))


def stand(style: Style) -> Piece:
    """A wide low stand; things stand on its top and on its lower board."""
    width, depth, height = style.between(1.1, 1.4), style.between(0.38, 0.42), style.between(0.52, 0.58)
    low, wood = 0.16, shade(style.wood, 0.9)
    parts = [
        block((width, depth, 0.03), (0, 0, height - 0.015), wood),
        block((width, depth, 0.03), (0, 0, low - 0.015), wood),
        *(
            block((0.03, depth, height - 0.03), (x * (width / 2 - 0.015), 0, (height - 0.03) / 2), wood)
            for x in (-1, 0, 1)
        ),
    ]
    side = (width - 0.09) / 2
    boards = (
        top_board(width, depth, height),
        Board((width / 4, 0.02, low), (side - 0.06, depth - 0.08), height - low - 0.06),
    )
    return Piece("stand", tuple(parts), boards, (width, depth))


def night_stand(style: Style) -> Piece:
    """A small stand with a drawer."""
    width, depth, height = style.between(0.42, 0.50), style.between(0.38, 0.42), style.between(0.50, 0.58)
    parts = [
        block((width, depth, 0.03), (0, 0, height - 0.015), style.wood),
        block((width - 0.04, depth - 0.03, 0.2), (0, -0.005, height - 0.13), style.wood),
        *legs(width, depth, height - 0.03, shade(style.wood, 0.8), 0.04),
        *fronts(width - 0.06, depth - 0.04, [(height - 0.22, height - 0.04)], 1, shade(style.wood, 1.2)),
    ]
    return Piece("stand", tuple(parts), (top_board(width, depth, height),), (width, depth))


def serving_cart(style: Style) -> Piece:
    """Two trays on wheels."""
    width, depth, heights = style.between(0.70, 0.85), style.between(0.42, 0.48), (0.34, style.between(0.80, 0.86))
    parts = [
        *(block((width, depth, 0.03), (0, 0, z - 0.015), shade(style.wood, 1.1)) for z in heights),
        *(
            column(0.015, heights[1] - 0.06, (x * (width / 2 - 0.02), y * (depth / 2 - 0.02), heights[1] / 2), STEEL)
            for x in (-1, 1)
            for y in (-1, 1)
        ),
        *(
            column(0.04, 0.03, (x * (width / 2 - 0.04), y * (depth / 2 - 0.03), 0.04), DARK, "y")
            for x in (-1, 1)
            for y in (-1, 1)
        ),
        *loose(block((0.03, depth, 0.03), (width / 2 + 0.03, 0, heights[1] + 0.05), STEEL)),
    ]
    boards = (
        Board((0, 0, heights[1]), (width - 0.10, depth - 0.10), 0.7),
        Board((0, 0, heights[0]), (width - 0.12, depth - 0.12), heights[1] - heights[0] - 0.06),
    )
    return Piece("serving cart", tuple(parts), boards, (width + 0.1, depth))


def trunk(style: Style) -> Piece:
    """A trunk with straps and a clasp."""
    width, depth, height = style.between(0.8, 1.0), style.between(0.42, 0.48), style.between(0.42, 0.50)
    brown = shade((0.45, 0.27, 0.15, 1.0), style.rng.uniform(0.8, 1.3))
    parts = [
        block((width, depth - 0.02, height), (0, -0.01, height / 2), brown),
        *loose(
            block((width, depth - 0.016, 0.012), (0, -0.008, 0.7 * height), shade(brown, 0.5)),
            *(
                block((0.05, depth - 0.016, height + 0.002), (x * 0.32 * width, -0.008, height / 2), shade(brown, 0.55))
                for x in (-1, 1)
            ),
            block((0.07, 0.012, 0.08), (0, depth / 2 - 0.02, 0.7 * height), (0.80, 0.66, 0.25, 1.0)),
        ),
    ]
    return Piece("trunk", tuple(parts), (top_board(width, depth, height),), (width, depth))
