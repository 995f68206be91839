"""Builders of food and kitchenware: each returns the parts of one design, standing on z = 0."""

from embodied.scenes.objects.design import Design
from embodied.scenes.parts import ball, block, column, shade
from embodied.scenes.scene import Part, Rgba

STEM: Rgba = (0.30, 0.20, 0.10, 1.0)
LEAF: Rgba = (0.20, 0.50, 0.15, 1.0)
STEEL: Rgba = (0.72, 0.74, 0.77, 1.0)
INK: Rgba = (0.10, 0.10, 0.11, 1.0)


def apple(design: Design) -> list[Part]:
    """A ball with a stem and a leaf."""
    radius = design.between(0.036, 0.046)
    return [
        ball(radius, (0, 0, radius), design.main),
        column(0.004, 0.022, (0, 0, 2 * radius + 0.006), STEM),
        block((0.026, 0.012, 0.003), (0.016, 0, 2 * radius + 0.008), LEAF, design.between(-1, 1)),
    ]


def banana(design: Design) -> list[Part]:
    """A bent row of pieces, lying."""
    length, thick, bend = design.between(0.05, 0.06), design.between(0.030, 0.037), design.between(0.25, 0.45)
    pieces = [block((length, thick, thick), (0, 0, thick / 2), design.main)]
    for side in (-1, 1):
        centre = (side * length * 0.9, 0.24 * length + 0.2 * bend * length, thick / 2)
        pieces.append(block((length, 0.85 * thick, 0.85 * thick), centre, design.main, side * bend))
        tip = (side * length * 1.45, 0.75 * bend * length + 0.3 * length, thick / 2)
        pieces.append(block((0.014, 0.014, 0.014), tip, STEM, side * bend))
    return pieces


def carrot(design: Design) -> list[Part]:
    """A lying cone of three discs, with leaves."""
    radius, length = design.between(0.020, 0.026), design.between(0.14, 0.18)
    third = length / 3
    parts = [
        column(radius * share, third, ((step - 1) * third, 0, radius), shade(design.main, 1.0 - 0.05 * step), "x")
        for step, share in enumerate((1.0, 0.72, 0.42))
    ]
    tops = [block((0.06, 0.008, 0.008), (-length / 2 - 0.03, 0, radius), LEAF, yaw) for yaw in (-0.5, 0.0, 0.5)]
    return [*parts, *tops]


def mug(design: Design) -> list[Part]:
    """A cylinder with a dark opening and a handle."""
    radius, height = design.between(0.038, 0.047), design.between(0.085, 0.11)
    reach, bar = radius + design.between(0.022, 0.032), 0.012
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        column(0.84 * radius, 0.002, (0, 0, height + 0.001), shade(design.main, 0.35)),
        block((bar, bar, 0.55 * height), (reach, 0, 0.52 * height), design.main),
        *(block((reach, bar, bar), (reach / 2, 0, share * height), design.main) for share in (0.28, 0.75)),
        *design.on_column(radius, 0.1 * height, 0.92 * height),
    ]


def bowl(design: Design) -> list[Part]:
    """Three rings that widen upward, with a dark hollow."""
    radius, height = design.between(0.075, 0.095), design.between(0.055, 0.075)
    third = height / 3
    rings = [
        column(radius * share, third, (0, 0, (step + 0.5) * third), design.main)
        for step, share in enumerate((0.58, 0.82, 1.0))
    ]
    hollow = column(0.88 * radius, 0.002, (0, 0, height + 0.001), shade(design.main, 0.6))
    deep = column(0.55 * radius, 0.002, (0, 0, height + 0.002), shade(design.main, 0.42))
    return [*rings, hollow, deep, *design.on_column(radius, 2 * third, height)]


def plate(design: Design) -> list[Part]:
    """A flat disc with a rim and a centre of its second colour."""
    radius = design.between(0.10, 0.13)
    return [
        column(0.65 * radius, 0.010, (0, 0, 0.005), design.main),
        column(radius, 0.010, (0, 0, 0.014), design.main),
        column(0.72 * radius, 0.001, (0, 0, 0.0195), shade(design.main, 0.86)),
        column(0.5 * radius, 0.001, (0, 0, 0.0202), design.second),
    ]


def teapot(design: Design) -> list[Part]:
    """A round pot with a lid, a knob, a spout and a handle."""
    radius = design.between(0.065, 0.08)
    return [
        ball(radius, (0, 0, radius), design.main),
        column(0.6 * radius, 0.012, (0, 0, 0.006), design.main),
        column(0.5 * radius, 0.014, (0, 0, 1.95 * radius), shade(design.main, 0.8)),
        ball(0.16 * radius, (0, 0, 2.2 * radius), design.second),
        column(0.16 * radius, 0.75 * radius, (1.2 * radius, 0, 1.15 * radius), design.main, "x"),
        column(0.15 * radius, 0.4 * radius, (1.5 * radius, 0, 1.35 * radius), design.main),
        block((0.15 * radius, 0.16 * radius, 0.9 * radius), (-1.4 * radius, 0, 1.05 * radius), design.second),
        *(
            block((0.5 * radius, 0.16 * radius, 0.15 * radius), (-1.15 * radius, 0, share * radius), design.second)
            for share in (0.65, 1.45)
        ),
    ]


def kettle(design: Design) -> list[Part]:
    """A jug that narrows upward, with a high handle, a spout and a base plate."""
    radius, height = design.between(0.07, 0.085), design.between(0.15, 0.18)
    return [
        column(radius, 0.5 * height, (0, 0, 0.018 + 0.25 * height), design.main),
        column(0.86 * radius, 0.3 * height, (0, 0, 0.018 + 0.65 * height), design.main),
        column(0.7 * radius, 0.2 * height, (0, 0, 0.018 + 0.9 * height), design.main),
        column(1.08 * radius, 0.018, (0, 0, 0.009), INK),
        column(0.018, 0.02, (0, 0, height + 0.028), INK),
        block((0.05, 0.035, 0.05), (0.85 * radius, 0, 0.85 * height), design.main),
        block((0.022, 0.026, 0.75 * height), (-1.4 * radius, 0, 0.55 * height), INK),
        *(block((0.6 * radius, 0.022, 0.02), (-1.1 * radius, 0, share * height), INK) for share in (0.22, 0.9)),
        *design.on_column(radius, 0.1 * height, 0.5 * height),
    ]


def pan(design: Design) -> list[Part]:
    """A flat pan with a long handle."""
    radius, handle = design.between(0.10, 0.125), design.between(0.14, 0.18)
    return [
        column(radius, 0.045, (0, 0, 0.0225), design.main),
        column(0.92 * radius, 0.002, (0, 0, 0.046), shade(design.main, 0.5)),
        block((handle, 0.024, 0.016), (radius + handle / 2, 0, 0.036), design.second),
    ]


def casserole(design: Design) -> list[Part]:
    """A pot with a lid, a knob and two handles."""
    radius, height = design.between(0.09, 0.11), design.between(0.09, 0.12)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        column(1.03 * radius, 0.012, (0, 0, height + 0.006), shade(design.main, 0.8)),
        column(0.55 * radius, 0.016, (0, 0, height + 0.018), shade(design.main, 0.8)),
        column(0.02, 0.022, (0, 0, height + 0.035), design.second),
        *(block((0.03, 0.075, 0.016), (side * (radius + 0.013), 0, 0.75 * height), design.second) for side in (-1, 1)),
        *design.on_column(radius, 0.05 * height, 0.95 * height),
    ]


def ladle(design: Design) -> list[Part]:
    """A small cup on a long handle, lying."""
    length, radius = design.between(0.19, 0.24), design.between(0.038, 0.045)
    return [
        column(radius, 0.035, (0, 0, 0.0175), design.main),
        column(0.8 * radius, 0.002, (0, 0, 0.036), shade(design.main, 0.45)),
        block((length, 0.018, 0.012), (radius + length / 2 - 0.005, 0, 0.029), design.main),
        block((0.35 * length, 0.024, 0.018), (radius + 0.8 * length, 0, 0.029), design.second),
    ]


def cutting_board(design: Design) -> list[Part]:
    """A flat board with a grip and a groove."""
    length, width = design.between(0.26, 0.32), design.between(0.17, 0.21)
    return [
        block((length, width, 0.022), (0, 0, 0.011), design.main),
        block((0.09, 0.06, 0.022), (length / 2 + 0.04, 0, 0.011), design.main),
        column(0.014, 0.023, (length / 2 + 0.06, 0, 0.0115), INK),
        *(
            block((0.9 * length, 0.006, 0.001), (0, side * 0.4 * width, 0.0224), shade(design.main, 0.6))
            for side in (-1, 1)
        ),
    ]


def bottle(design: Design) -> list[Part]:
    """A body with shoulders, a neck and a cap."""
    radius, height = design.between(0.034, 0.043), design.between(0.22, 0.28)
    return [
        column(radius, 0.62 * height, (0, 0, 0.31 * height), design.main),
        column(0.72 * radius, 0.08 * height, (0, 0, 0.66 * height), design.main),
        column(0.38 * radius, 0.22 * height, (0, 0, 0.81 * height), design.main),
        column(0.46 * radius, 0.08 * height, (0, 0, 0.96 * height), design.second),
        *design.on_column(radius, 0.08 * height, 0.56 * height),
    ]


def can(design: Design) -> list[Part]:
    """A cylinder with two metal rims."""
    radius, height = design.between(0.034, 0.044), design.between(0.09, 0.125)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        *(column(1.03 * radius, 0.007, (0, 0, z), STEEL) for z in (0.0035, height - 0.0035)),
        column(0.9 * radius, 0.002, (0, 0, height + 0.001), shade(STEEL, 0.85)),
        *design.on_column(radius, 0.1 * height, 0.9 * height),
    ]


def jar(design: Design) -> list[Part]:
    """A wide jar with a lid of its second colour."""
    radius, height = design.between(0.048, 0.06), design.between(0.10, 0.13)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        column(0.8 * radius, 0.02, (0, 0, height + 0.01), design.main),
        column(0.88 * radius, 0.03, (0, 0, height + 0.03), design.second),
        *design.on_column(radius, 0.1 * height, 0.9 * height),
    ]


def spicemill(design: Design) -> list[Part]:
    """A turned column of four discs with a ball on top."""
    radius, height = design.between(0.026, 0.032), design.between(0.16, 0.22)
    profile = ((1.0, 0.3), (0.68, 0.3), (0.92, 0.22))
    parts, z = [], 0.0
    for share, part in profile:
        parts.append(column(share * radius, part * height, (0, 0, z + part * height / 2), design.main))
        z += part * height
    ring = column(radius, 0.012, (0, 0, 0.6 * height), design.second)
    return [*parts, ring, ball(0.62 * radius, (0, 0, z + 0.45 * radius), design.second)]


def tray(design: Design) -> list[Part]:
    """A flat rectangle with a rim on four sides."""
    length, width, rim = design.between(0.30, 0.38), design.between(0.20, 0.26), 0.014
    floor = (length - 2 * rim, width - 2 * rim, 0.01)
    return [
        block((length, width, 0.008), (0, 0, 0.004), design.main),
        *(block((length, rim, 0.04), (0, side * (width - rim) / 2, 0.02), design.second) for side in (-1, 1)),
        *(block((rim, width, 0.04), (side * (length - rim) / 2, 0, 0.02), design.second) for side in (-1, 1)),
        *design.on_block(floor, (0, 0, 0.005)),
    ]


def basket(design: Design) -> list[Part]:
    """An open box with bands and a bow of a handle."""
    length, width, height = design.between(0.20, 0.25), design.between(0.15, 0.18), design.between(0.10, 0.13)
    bow = height + design.between(0.07, 0.10)
    return [
        block((length, width, height), (0, 0, height / 2), design.main),
        block((0.9 * length, 0.88 * width, 0.002), (0, 0, height + 0.001), shade(design.main, 0.4)),
        *(
            block((length + 0.003, width + 0.003, 0.012), (0, 0, share * height), shade(design.main, 0.65))
            for share in (0.25, 0.55, 0.85)
        ),
        *(block((0.016, 0.014, bow), (side * length / 2, 0, bow / 2), design.second) for side in (-1, 1)),
        block((length + 0.016, 0.014, 0.016), (0, 0, bow), design.second),
    ]
