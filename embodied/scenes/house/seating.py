"""Builders of tables, seats and beds."""

from embodied.scenes.house.pieces import DARK, STEEL, WHITE, Board, Piece, Style, legs, top_board
from embodied.scenes.parts import block, column, shade


def table(style: Style) -> Piece:
    """A plate on four legs."""
    width, depth, height = style.between(1.1, 1.5), style.between(0.7, 0.85), style.between(0.71, 0.76)
    parts = [
        block((width, depth, 0.035), (0, 0, height - 0.0175), style.wood),
        *legs(width - 0.06, depth - 0.06, height - 0.035, shade(style.wood, 0.85), 0.06),
    ]
    return Piece("table", tuple(parts), (top_board(width, depth, height),), (width, depth))


def low_table(style: Style) -> Piece:
    """A low table on four dark legs."""
    width, depth, height = style.between(0.85, 1.1), style.between(0.5, 0.62), style.between(0.40, 0.46)
    parts = [
        block((width, depth, 0.04), (0, 0, height - 0.02), style.wood),
        *legs(width, depth, height - 0.04, DARK, 0.045),
    ]
    return Piece("table", tuple(parts), (top_board(width, depth, height),), (width, depth))


def chair(style: Style) -> Piece:
    """A seat with a back."""
    side, height = style.between(0.43, 0.47), style.between(0.44, 0.47)
    wood = shade(style.wood, 0.95)
    parts = [
        block((side, side, 0.035), (0, 0, height - 0.0175), style.fabric),
        *legs(side, side, height - 0.035, wood, 0.04),
        block((side, 0.035, 0.28), (0, 0.0175 - side / 2, height + 0.31), style.fabric),
        *(
            block((0.04, 0.04, 0.2), (sign * (side / 2 - 0.02), 0.02 - side / 2, height + 0.1), wood)
            for sign in (-1, 1)
        ),
    ]
    seat = Board((0.0, 0.03, height), (side - 0.05, side - 0.09), 0.7)
    return Piece("chair", tuple(parts), (seat,), (side, side))


def stool(style: Style) -> Piece:
    """A round seat on a foot."""
    radius, height = style.between(0.18, 0.21), style.between(0.46, 0.60)
    parts = [
        column(radius, 0.04, (0, 0, height - 0.02), style.fabric),
        column(0.035, height - 0.06, (0, 0, height / 2), STEEL),
        column(0.9 * radius, 0.03, (0, 0, 0.015), STEEL),
    ]
    side = 1.38 * radius
    return Piece("stool", tuple(parts), (Board((0, 0, height), (side, side)),), (2 * radius, 2 * radius))


def bench(style: Style) -> Piece:
    """Three slats on two supports."""
    width, depth, height = style.between(1.0, 1.3), style.between(0.36, 0.40), style.between(0.43, 0.47)
    slats = [
        block((width, depth / 3 - 0.012, 0.035), (0, (step - 1) * depth / 3, height - 0.0175), style.wood)
        for step in range(3)
    ]
    ends = [
        block((0.05, depth, height - 0.035), (sign * (width / 2 - 0.08), 0, (height - 0.035) / 2), DARK)
        for sign in (-1, 1)
    ]
    return Piece("bench", (*slats, *ends), (top_board(width, depth, height),), (width, depth))


def couch(style: Style) -> Piece:
    """Seats between arms, with a back."""
    width, depth, height = style.between(1.7, 2.1), style.between(0.85, 0.95), style.between(0.40, 0.44)
    back, arm = 0.24, 0.18
    fabric, seats = style.fabric, int(style.rng.integers(2, 4))
    seat_width = (width - 2 * arm) / seats
    parts = [
        block((width, depth, height - 0.12), (0, 0, (height - 0.12) / 2), shade(fabric, 0.8)),
        block((width, back, 0.82), (0, (back - depth) / 2, 0.41), fabric),
        *(
            block((arm, depth, height + 0.18), (sign * (width - arm) / 2, 0, (height + 0.18) / 2), shade(fabric, 0.92))
            for sign in (-1, 1)
        ),
        *(
            block(
                (seat_width - 0.015, depth - back, 0.12),
                ((index + 0.5) * seat_width - (width - 2 * arm) / 2, back / 2, height - 0.06),
                shade(fabric, 1.12),
            )
            for index in range(seats)
        ),
    ]
    seat = Board((0.0, back / 2, height), (width - 2 * arm - 0.06, depth - back - 0.06), 0.7)
    return Piece("couch", tuple(parts), (seat,), (width, depth))


def bed(style: Style) -> Piece:
    """A frame with a headboard, a mattress, a blanket and pillows."""
    width, depth, height = style.between(1.0, 1.6), style.between(1.95, 2.05), style.between(0.48, 0.54)
    wood, cloth = style.wood, shade(style.fabric, 1.25)
    pillows = 1 if width < 1.3 else 2
    parts = [
        block((width, depth, 0.22), (0, 0, 0.19), wood),
        block((width, 0.06, 0.95), (0, 0.03 - depth / 2, 0.475), wood),
        block((width - 0.06, depth - 0.1, height - 0.3), (0, 0.02, 0.3 + (height - 0.3) / 2), WHITE),
        block((width - 0.04, 0.62 * depth, height - 0.28), (0, 0.17 * depth, 0.3 + (height - 0.3) / 2), cloth),
        *(
            block(
                (0.52, 0.34, 0.12),
                ((index - (pillows - 1) / 2) * 0.66, 0.32 - depth / 2, height + 0.05),
                WHITE,
            )
            for index in range(pillows)
        ),
        *legs(width, depth, 0.08, wood, 0.07),
    ]
    lying = Board((0.0, 0.17 * depth, height + 0.01), (width - 0.16, 0.62 * depth - 0.1), 0.9)
    return Piece("bed", tuple(parts), (lying,), (width, depth))
