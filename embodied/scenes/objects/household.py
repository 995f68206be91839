"""Builders of things of bathrooms, studies and bedrooms: each returns the parts of one design, standing on z = 0."""

from embodied.scenes.objects.design import Design
from embodied.scenes.objects.kitchen import INK, STEEL
from embodied.scenes.parts import ball, block, column, shade
from embodied.scenes.scene import Part, Rgba

PAPER: Rgba = (0.94, 0.93, 0.89, 1.0)
SCREEN: Rgba = (0.16, 0.22, 0.34, 1.0)


def soap_dispenser(design: Design) -> list[Part]:
    """A cylinder with a pump whose spout points aside."""
    radius, height = design.between(0.036, 0.044), design.between(0.11, 0.14)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        column(0.55 * radius, 0.018, (0, 0, height + 0.009), design.second),
        column(0.007, 0.04, (0, 0, height + 0.034), design.second),
        block((0.062, 0.02, 0.014), (0.02, 0, height + 0.057), design.second),
        *design.on_column(radius, 0.1 * height, 0.9 * height),
    ]


def tissue_box(design: Design) -> list[Part]:
    """A box with a tissue sticking out of its top."""
    length, width, height = design.between(0.19, 0.23), design.between(0.10, 0.12), design.between(0.07, 0.09)
    return [
        block((length, width, height), (0, 0, height / 2), design.main),
        block((0.45 * length, 0.3 * width, 0.003), (0, 0, height + 0.001), INK),
        block((0.07, 0.012, 0.06), (0, 0, height + 0.02), PAPER, 0.4),
        block((0.05, 0.012, 0.05), (0.01, 0, height + 0.015), PAPER, -0.6),
        *design.on_block((length, width, height), (0, 0, height / 2)),
    ]


def sponge(design: Design) -> list[Part]:
    """A soft block with a scouring layer of its second colour."""
    length, width = design.between(0.10, 0.13), design.between(0.07, 0.085)
    return [
        block((length, width, 0.032), (0, 0, 0.016), design.main),
        block((length, width, 0.012), (0, 0, 0.038), design.second),
        *(
            column(0.006, 0.034, (x * length, y * width, 0.017), shade(design.main, 0.7), "y")
            for x, y in ((-0.3, 0), (0.1, 0), (0.35, 0))
        ),
    ]


def spray_bottle(design: Design) -> list[Part]:
    """A bottle with a pistol head and a trigger."""
    radius, height = design.between(0.038, 0.046), design.between(0.15, 0.18)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        column(0.5 * radius, 0.045, (0, 0, height + 0.022), design.main),
        block((0.085, 0.03, 0.035), (0.018, 0, height + 0.06), design.second),
        block((0.014, 0.016, 0.05), (0.038, 0, height + 0.025), design.second),
        *design.on_column(radius, 0.08 * height, 0.85 * height),
    ]


def towel(design: Design) -> list[Part]:
    """Three folded layers with a border."""
    length, width = design.between(0.24, 0.30), design.between(0.17, 0.21)
    layers = [
        block((length - 0.012 * step, width - 0.01 * step, 0.026), (0, 0, 0.013 + 0.027 * step), design.main)
        for step in range(3)
    ]
    seams = [
        block((length - 0.004, width - 0.004, 0.003), (0, 0, z), shade(design.main, 0.6)) for z in (0.0265, 0.0535)
    ]
    top = (length - 0.024, width - 0.02, 0.026)
    return [*layers, *seams, *design.on_block(top, (0, 0, 0.067))]


def book(design: Design) -> list[Part]:
    """A cover with pages between, lying."""
    length, width, thick = design.between(0.20, 0.25), design.between(0.14, 0.18), design.between(0.028, 0.045)
    cover = 0.005
    return [
        block((length, width, cover), (0, 0, cover / 2), design.main),
        block((0.96 * length, 0.95 * width, thick - 2 * cover), (0, 0.02 * width, thick / 2), PAPER),
        block((length, width, cover), (0, 0, thick - cover / 2), design.main),
        block((length, cover, thick), (0, -width / 2, thick / 2), shade(design.main, 0.8)),
        *design.on_block((0.9 * length, 0.9 * width, cover), (0, 0, thick - cover / 2)),
    ]


def candle(design: Design) -> list[Part]:
    """A thick candle with a wick and a flame, on a saucer."""
    radius, height = design.between(0.034, 0.044), design.between(0.09, 0.14)
    return [
        column(1.5 * radius, 0.01, (0, 0, 0.005), design.second),
        column(radius, height, (0, 0, 0.01 + height / 2), design.main),
        column(0.003, 0.02, (0, 0, height + 0.02), INK),
        ball(0.009, (0, 0, height + 0.036), (0.98, 0.65, 0.10, 1.0)),
        *design.on_column(radius, 0.1 * height, 0.9 * height),
    ]


def vase(design: Design) -> list[Part]:
    """A bellied vase with a narrow neck and three flowers."""
    radius, height = design.between(0.05, 0.062), design.between(0.15, 0.19)
    flowers = []
    for x, y, z in ((-0.03, 0.0, 0.05), (0.028, 0.018, 0.065), (0.008, -0.03, 0.04)):
        top = height + z
        flowers += [
            column(0.004, z + 0.03, (0.6 * x, 0.6 * y, height + z / 2 - 0.01), (0.2, 0.45, 0.15, 1.0)),
            block((0.036, 0.036, 0.018), (x, y, top), design.second, 0.6),
        ]
    return [
        column(0.7 * radius, 0.25 * height, (0, 0, 0.125 * height), design.main),
        column(radius, 0.4 * height, (0, 0, 0.42 * height), design.main),
        column(0.62 * radius, 0.28 * height, (0, 0, 0.74 * height), design.main),
        column(0.75 * radius, 0.12 * height, (0, 0, 0.94 * height), design.main),
        *flowers,
        *design.on_column(radius, 0.24 * height, 0.6 * height),
    ]


def clock(design: Design) -> list[Part]:
    """An upright round clock with a pale face, two pointers and two feet."""
    radius = design.between(0.07, 0.09)
    z = radius + 0.012
    return [
        column(radius, 0.04, (0, 0, z), design.main, "y"),
        column(0.84 * radius, 0.044, (0, 0, z), PAPER, "y"),
        block((0.008, 0.048, 0.62 * radius), (0, 0, z + 0.3 * radius), INK),
        block((0.48 * radius, 0.048, 0.009), (0.22 * radius, 0, z), INK),
        *(block((0.018, 0.05, 0.03), (side * 0.6 * radius, 0, 0.015), design.second) for side in (-1, 1)),
    ]


def picture_frame(design: Design) -> list[Part]:
    """An upright frame with a picture of a hill under a sky, and a support behind."""
    width, height, bar = design.between(0.15, 0.19), design.between(0.19, 0.24), 0.018
    inner = width - 2 * bar
    return [
        block((width, 0.022, height), (0, 0, height / 2), design.main),
        block((inner, 0.026, height - 2 * bar), (0, 0, height / 2), (0.62, 0.80, 0.94, 1.0)),
        block((inner, 0.028, 0.36 * height), (0, 0, 0.18 * height + bar), design.second),
        column(0.14 * width, 0.03, (0.18 * width, 0, 0.72 * height), (0.97, 0.86, 0.30, 1.0), "y"),
        block((0.03, 0.08, 0.012), (0, -0.05, 0.006), design.main),
    ]


def lamp(design: Design) -> list[Part]:
    """A foot, a pole and a shade of three rings that narrow upward."""
    radius, height = design.between(0.08, 0.10), design.between(0.28, 0.36)
    shade_height = design.between(0.10, 0.13)
    low = height - shade_height
    rings = [
        column(radius * share, shade_height / 3, (0, 0, low + (step + 0.5) * shade_height / 3), design.main)
        for step, share in enumerate((1.0, 0.82, 0.64))
    ]
    return [
        column(0.62 * radius, 0.02, (0, 0, 0.01), design.second),
        column(0.012, low, (0, 0, low / 2), design.second),
        *rings,
    ]


def plant_container(design: Design) -> list[Part]:
    """A flower pot with a rim, earth and a leafy plant."""
    radius, height = design.between(0.06, 0.075), design.between(0.10, 0.13)
    green = shade((0.16, 0.50, 0.18, 1.0), design.between(0.8, 1.25))
    top = height + design.between(0.10, 0.15)
    leaves = [
        block((0.15, 0.035, 0.012), (0, 0, height + share * (top - height)), green, yaw)
        for share, yaw in ((0.35, 0.3), (0.55, 1.4), (0.75, 2.4), (0.9, 0.9))
    ]
    return [
        column(0.8 * radius, 0.6 * height, (0, 0, 0.3 * height), design.main),
        column(radius, 0.4 * height, (0, 0, 0.8 * height), design.main),
        column(0.85 * radius, 0.002, (0, 0, height + 0.001), (0.22, 0.15, 0.10, 1.0)),
        column(0.008, top - height, (0, 0, (height + top) / 2), green),
        *leaves,
        *design.on_column(radius, 0.62 * height, 0.98 * height),
    ]


def remote_control(design: Design) -> list[Part]:
    """A long flat bar with rows of buttons."""
    length, width = design.between(0.17, 0.21), design.between(0.05, 0.06)
    return [
        block((length, width, 0.022), (0, 0, 0.011), design.main),
        column(0.011, 0.006, (0.38 * length, 0, 0.024), (0.85, 0.12, 0.1, 1.0)),
        *(block((0.018, 0.8 * width, 0.005), (share * length, 0, 0.024), design.second) for share in (0.15, -0.05)),
        *(block((0.018, 0.55 * width, 0.005), (share * length, 0, 0.024), design.second) for share in (-0.22, -0.38)),
    ]


def laptop(design: Design) -> list[Part]:
    """An open laptop: keyboard and an upright screen."""
    width, depth = design.between(0.29, 0.34), design.between(0.20, 0.23)
    height = design.between(0.18, 0.21)
    return [
        block((width, depth, 0.018), (0, 0, 0.009), design.main),
        block((0.86 * width, 0.48 * depth, 0.003), (0, -0.1 * depth, 0.019), INK),
        block((0.3 * width, 0.22 * depth, 0.002), (0, 0.34 * depth, 0.019), shade(design.main, 0.75)),
        block((width, 0.014, height), (0, -depth / 2, height / 2 + 0.01), design.main),
        block((0.92 * width, 0.004, 0.84 * height), (0, 0.008 - depth / 2, height / 2 + 0.012), SCREEN),
        *(
            block((share * width, 0.005, 0.012), (-0.1 * width, 0.009 - depth / 2, z * height), design.second)
            for share, z in ((0.5, 0.7), (0.35, 0.52))
        ),
    ]


def phone_stand(design: Design) -> list[Part]:
    """A phone that leans on a stand with a foot."""
    width, height = design.between(0.072, 0.085), design.between(0.14, 0.165)
    return [
        block((1.2 * width, 0.10, 0.014), (0, 0, 0.007), design.main),
        block((0.4 * width, 0.018, 0.75 * height), (0, -0.028, 0.38 * height), design.main),
        block((width, 0.012, height), (0, -0.010, 0.018 + height / 2), INK),
        block((0.88 * width, 0.004, 0.86 * height), (0, -0.003, 0.018 + height / 2), design.second),
        block((1.1 * width, 0.016, 0.026), (0, 0.006, 0.024), design.main),
    ]


def calculator(design: Design) -> list[Part]:
    """A flat box with a display and rows of keys."""
    length, width = design.between(0.15, 0.18), design.between(0.09, 0.11)
    return [
        block((width, length, 0.022), (0, 0, 0.011), design.main),
        block((0.8 * width, 0.2 * length, 0.003), (0, -0.34 * length, 0.0235), (0.66, 0.76, 0.62, 1.0)),
        *(
            block((0.2 * width, 0.5 * length, 0.008), (step * width, 0.16 * length, 0.024), design.second)
            for step in (-0.3, 0.0, 0.3)
        ),
        *(
            block((0.84 * width, 0.03 * length, 0.009), (0, share * length, 0.024), design.main)
            for share in (0.02, 0.16, 0.30)
        ),
    ]


def mouse_pad(design: Design) -> list[Part]:
    """A thin pad with a mouse on it."""
    length, width = design.between(0.23, 0.28), design.between(0.19, 0.22)
    return [
        block((length, width, 0.008), (0, 0, 0.004), design.main),
        block((0.065, 0.10, 0.028), (0.22 * length, 0, 0.022), INK),
        block((0.012, 0.03, 0.004), (0.22 * length, -0.02, 0.037), STEEL),
        *design.on_block((length, width, 0.008), (0, 0, 0.004)),
    ]


def tape(design: Design) -> list[Part]:
    """A lying ring with a dark centre."""
    radius, height = design.between(0.05, 0.06), design.between(0.035, 0.05)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        column(0.62 * radius, 0.002, (0, 0, height + 0.001), design.second),
        column(0.52 * radius, 0.003, (0, 0, height + 0.002), INK),
        block((0.03, 0.005, height), (0.4 * radius, radius, height / 2), design.main),
    ]
