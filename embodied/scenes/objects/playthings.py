"""Builders of toys, clothes and sports things: each returns the parts of one design, standing on z = 0."""

import numpy as np

from embodied.scenes.objects.design import Design
from embodied.scenes.objects.kitchen import INK
from embodied.scenes.parts import ball, block, column, shade
from embodied.scenes.scene import Part


def stuffed_toy(design: Design) -> list[Part]:
    """A sitting bear: belly, head with ears and muzzle, arms and legs."""
    size = design.between(0.055, 0.068)
    return [
        ball(size, (0, 0, size), design.main),
        ball(0.74 * size, (0, 0, 2.35 * size), design.main),
        *(column(0.3 * size, 0.2 * size, (side * 0.6 * size, 0, 3.0 * size), design.main, "y") for side in (-1, 1)),
        *(column(0.32 * size, 1.1 * size, (side * 0.62 * size, 0.8 * size, 0.32 * size), design.main, "y")
          for side in (-1, 1)),
        *(column(0.27 * size, 1.1 * size, (side * 0.95 * size, 0.2 * size, 1.25 * size), design.main, "y")
          for side in (-1, 1)),
        column(0.62 * size, 0.3 * size, (0, 0.78 * size, 1.0 * size), design.second, "y"),
        column(0.3 * size, 0.3 * size, (0, 0.68 * size, 2.25 * size), design.second, "y"),
        *(column(0.09 * size, 0.1 * size, (side * 0.26 * size, 0.66 * size, 2.55 * size), INK, "y")
          for side in (-1, 1)),
    ]  # fmt: skip


def toy_vehicle(design: Design) -> list[Part]:
    """A car: body, cabin, windows, lights and four wheels."""
    length, width = design.between(0.17, 0.21), design.between(0.085, 0.10)
    wheel, low = 0.024, 0.016
    glass = (0.62, 0.80, 0.90, 1.0)
    return [
        block((length, width, 0.042), (0, 0, low + 0.021), design.main),
        block((0.5 * length, 0.86 * width, 0.04), (-0.06 * length, 0, low + 0.062), design.main),
        block((0.51 * length, 0.7 * width, 0.026), (-0.06 * length, 0, low + 0.062), glass),
        block((0.36 * length, 0.87 * width, 0.026), (-0.06 * length, 0, low + 0.062), glass),
        *(column(wheel, width + 0.012, (share * length, 0, wheel), INK, "y") for share in (-0.3, 0.3)),
        *(column(0.5 * wheel, width + 0.015, (share * length, 0, wheel), design.second, "y") for share in (-0.3, 0.3)),
        block((0.004, 0.8 * width, 0.012), (length / 2, 0, low + 0.022), (0.97, 0.93, 0.6, 1.0)),
        *design.on_block((0.98 * length, width, 0.042), (0, 0, low + 0.021)),
    ]


def toy_animal(design: Design) -> list[Part]:
    """A standing animal: trunk, neck, head, ears, tail and four legs; the neck differs in length."""
    length, width, leg = design.between(0.12, 0.15), design.between(0.055, 0.065), design.between(0.06, 0.085)
    neck = design.between(0.03, 0.10)
    top = leg + 0.06
    legs = [
        block((0.022, 0.022, leg), (x * 0.4 * length, y * 0.35 * width, leg / 2), shade(design.main, 0.85))
        for x in (-1, 1) for y in (-1, 1)
    ]  # fmt: skip
    head = (0.5 * length + 0.02, 0, top + neck)
    return [
        block((length, width, 0.06), (0, 0, leg + 0.03), design.main),
        block((0.032, 0.032, neck + 0.04), (0.45 * length, 0, top + neck / 2), design.main),
        block((0.075, 0.045, 0.045), head, design.main),
        block((0.02, 0.03, 0.022), (head[0] + 0.045, 0, head[2] - 0.006), design.second),
        *(block((0.012, 0.012, 0.026), (head[0] - 0.025, side * 0.016, head[2] + 0.032), design.second)
          for side in (-1, 1)),
        block((0.012, 0.012, 0.06), (-0.52 * length, 0, leg + 0.05), design.second),
        *legs,
        *(block((0.12 * length, width + 0.003, 0.03), (share * length, 0, leg + 0.036), design.second)
          for share in (-0.25, 0.15)),
    ]  # fmt: skip


def toy_construction_set(design: Design) -> list[Part]:
    """A stepped pile of bricks with studs, in four colours."""
    unit = design.between(0.034, 0.042)
    colours = [design.main, design.second, (0.95, 0.80, 0.15, 1.0), (0.15, 0.55, 0.25, 1.0)]
    places = ((0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1), (1, 0, 1), (0, 0, 2))
    order = design.rng.permutation(len(places))
    parts = []
    for index, (x, y, z) in enumerate(places):
        rgba = colours[int(order[index]) % 4]
        centre = (1.5 * x * unit, y * unit, (z + 0.5) * unit)
        parts.append(block((1.48 * unit, unit, 0.97 * unit), centre, rgba))
        if (x, z) in {(-1, 0), (1, 1), (0, 2)}:
            parts += [
                column(0.22 * unit, 0.2 * unit, (centre[0] + side * 0.36 * unit, 0, (z + 1.08) * unit), rgba)
                for side in (-1, 1)
            ]
    return parts


def toy_bee(design: Design) -> list[Part]:
    """A banded body with a head and four wings."""
    size = design.between(0.04, 0.048)
    bands = [
        column(size * share, 0.5 * size, ((step - 1.5) * 0.5 * size, 0, size), design.main if step % 2 else INK, "x")
        for step, share in enumerate((0.62, 0.94, 1.0, 0.9))
    ]
    return [
        *bands,
        ball(0.68 * size, (1.35 * size, 0, size), design.main),
        *(block((0.9 * size, 2.6 * size, 0.012), (0, 0, 1.9 * size), design.second, yaw) for yaw in (0.35, -0.35)),
        *(ball(0.16 * size, (1.85 * size, side * 0.3 * size, 1.2 * size), INK) for side in (-1, 1)),
    ]


def soccer_ball(design: Design) -> list[Part]:
    """A ball with bands around it, or with dots on six sides."""
    radius = design.between(0.07, 0.09)
    parts = [ball(radius, (0, 0, radius), design.main)]
    if design.print == "stripes":
        wide = 1.006 * radius
        parts += [
            column(wide, 0.16 * radius, (0, 0, radius), design.second),
            column(wide, 0.16 * radius, (0, 0, radius), design.second, "x"),
        ]
    elif design.print == "polka dots":
        parts += [column(0.32 * radius, 2.0 * radius, (0, 0, radius), design.second, axis) for axis in ("x", "y", "z")]
    return parts


def drum(design: Design) -> list[Part]:
    """A drum with two rims, a pale skin and two sticks on it."""
    radius, height = design.between(0.07, 0.085), design.between(0.09, 0.12)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        *(column(1.04 * radius, 0.014, (0, 0, z), design.second) for z in (0.007, height - 0.007)),
        column(0.93 * radius, 0.002, (0, 0, height + 0.001), (0.94, 0.91, 0.82, 1.0)),
        *(block((1.7 * radius, 0.011, 0.011), (0, side * 0.02, height + 0.008), (0.68, 0.48, 0.28, 1.0), side * 0.4)
          for side in (-1, 1)),
        *design.on_column(radius, 0.18 * height, 0.82 * height),
    ]  # fmt: skip


def shoe(design: Design) -> list[Part]:
    """A sole, a toe, an ankle with an opening, and laces."""
    length, width = design.between(0.22, 0.26), design.between(0.085, 0.095)
    return [
        block((length, width, 0.022), (0, 0, 0.011), design.second),
        block((0.55 * length, 0.92 * width, 0.045), (0.2 * length, 0, 0.044), design.main),
        block((0.42 * length, 0.92 * width, 0.095), (-0.27 * length, 0, 0.069), design.main),
        block((0.32 * length, 0.7 * width, 0.003), (-0.27 * length, 0, 0.118), INK),
        *(
            block((0.012, 0.5 * width, 0.006), (share * length, 0, 0.069), design.second)
            for share in (0.02, 0.10, 0.18)
        ),
        block((0.14 * length, 0.96 * width, 0.02), (-0.25 * length, 0, 0.07), design.second),
    ]


def hat(design: Design) -> list[Part]:
    """A wide brim, a crown and a band."""
    radius, crown = design.between(0.13, 0.155), design.between(0.08, 0.11)
    return [
        column(radius, 0.012, (0, 0, 0.006), design.main),
        column(0.56 * radius, crown, (0, 0, 0.012 + crown / 2), design.main),
        column(0.48 * radius, 0.012, (0, 0, 0.018 + crown), design.main),
        column(0.58 * radius, 0.028, (0, 0, 0.028), design.second),
    ]


def handbag(design: Design) -> list[Part]:
    """A bag with a flap, a clasp and a high handle."""
    length, width, height = design.between(0.21, 0.26), design.between(0.09, 0.11), design.between(0.15, 0.18)
    return [
        block((length, width, height), (0, 0, height / 2), design.main),
        block((1.01 * length, 1.03 * width, 0.36 * height), (0, 0, 0.83 * height), shade(design.main, 0.78)),
        block((0.03, 1.1 * width, 0.03), (0, 0, 0.64 * height), design.second),
        *(block((0.014, 0.014, 0.09), (side * 0.3 * length, 0, height + 0.045), design.second) for side in (-1, 1)),
        block((0.6 * length + 0.014, 0.014, 0.014), (0, 0, height + 0.09), design.second),
        *design.on_block((length, width, 0.6 * height), (0, 0, 0.3 * height)),
    ]


def dumbbell(design: Design) -> list[Part]:
    """A bar with two discs at each end, lying."""
    radius, length = design.between(0.042, 0.052), design.between(0.18, 0.22)
    return [
        column(0.014, length, (0, 0, radius), design.second, "x"),
        *(column(radius, 0.03, (side * 0.36 * length, 0, radius), design.main, "x") for side in (-1, 1)),
        *(column(0.78 * radius, 0.025, (side * 0.46 * length, 0, radius), design.main, "x") for side in (-1, 1)),
    ]


def watering_can(design: Design) -> list[Part]:
    """A can with a long spout, a rose and a bow handle."""
    radius, height = design.between(0.065, 0.08), design.between(0.11, 0.14)
    reach = design.between(0.10, 0.13)
    return [
        column(radius, height, (0, 0, height / 2), design.main),
        column(0.8 * radius, 0.002, (0, 0, height + 0.001), shade(design.main, 0.4)),
        column(0.013, reach, (radius + reach / 2 - 0.01, 0, 0.62 * height), design.main, "x"),
        column(0.013, 0.5 * height, (radius + reach - 0.02, 0, 0.85 * height), design.main),
        column(0.03, 0.02, (radius + reach - 0.02, 0, 1.12 * height), design.second),
        *(block((0.014, 0.02, 0.4 * height), (side * 0.6 * radius, 0, 1.15 * height), design.second)
          for side in (-1, 1)),
        block((1.3 * radius, 0.02, 0.014), (0, 0, 1.35 * height), design.second),
        *design.on_column(radius, 0.1 * height, 0.9 * height),
    ]  # fmt: skip


def gift_box(design: Design) -> list[Part]:
    """A box with a lid, a crossed ribbon and a bow."""
    side, height = design.between(0.12, 0.16), design.between(0.09, 0.13)
    return [
        block((side, side, height), (0, 0, height / 2), design.main),
        block((1.05 * side, 1.05 * side, 0.25 * height), (0, 0, 0.88 * height), design.main),
        block((0.16 * side, 1.07 * side, 1.02 * height), (0, 0, 0.51 * height), design.second),
        block((1.07 * side, 0.16 * side, 1.02 * height), (0, 0, 0.51 * height), design.second),
        *(block((0.42 * side, 0.12 * side, 0.03), (0, 0, 1.02 * height + 0.015), design.second, np.pi / 4 * turn)
          for turn in (1, 3)),
    ]  # fmt: skip


def umbrella(design: Design) -> list[Part]:
    """A folded umbrella, lying: a cone of three discs, a tip and a hooked handle."""
    length, radius = design.between(0.30, 0.36), design.between(0.026, 0.034)
    third = 0.62 * length / 3
    cones = [
        column(radius * share, third, ((step - 1) * third, 0, radius), design.main, "x")
        for step, share in enumerate((1.0, 0.8, 0.55))
    ]
    ties = [column(1.02 * radius, 0.014, (-0.9 * third, 0, radius), design.second, "x")]
    return [
        *cones,
        *ties,
        column(0.008, length, (-0.03, 0, radius), design.second, "x"),
        block((0.02, 0.06, 0.018), (-0.03 - length / 2, 0.02, radius), design.second),
    ]
