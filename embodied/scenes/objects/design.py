"""What a builder of objects draws from: sizes, colours, and prints on upright cylinders and on boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from embodied.geometry import Pose
from embodied.scenes.parts import DIGITS, Point3, block, column, rounded, shade
from embodied.scenes.scene import Part, Rgba

PRINTS = ("stripes", "polka dots", "checks", "text", "label", "logo", "floral pattern")
SKIN_M = 0.0012  # How far a print stands out.


@dataclass(frozen=True, eq=False)
class Design:
    """One model to be built: its random generator, two colours, the name of its print ("" for none) and material."""

    rng: np.random.Generator
    main: Rgba
    second: Rgba
    print: str = ""
    material: str = ""

    def between(self, low: float, high: float) -> float:
        """Returns a length, angle or factor between `low` and `high`."""
        return round(float(self.rng.uniform(low, high)), DIGITS)

    def on_column(self, radius_m: float, low_m: float, high_m: float) -> list[Part]:
        """Returns the print on an upright cylinder about z, of `radius_m`, between the heights `low_m` and `high_m`."""
        middle, height, wide = (low_m + high_m) / 2, high_m - low_m, radius_m + SKIN_M
        across = 2 * wide
        if self.print == "stripes":
            return [
                column(wide, 0.13 * height, (0, 0, low_m + share * height), self.second) for share in (0.2, 0.5, 0.8)
            ]
        if self.print == "label":
            band = column(wide, 0.5 * height, (0, 0, middle), self.second)
            lines = [self._line((1.1 * radius_m, across + SKIN_M), middle + step * height) for step in (-0.1, 0.1)]
            return [band, *lines]
        if self.print == "checks":
            bands = [column(wide, 0.12 * height, (0, 0, low_m + share * height), self.second) for share in (0.3, 0.7)]
            posts = [
                block((0.28 * radius_m, across, height), (0, 0, middle), self.second, yaw) for yaw in (0.0, np.pi / 2)
            ]
            return [*bands, *posts]
        return self._on_faces((1.5 * radius_m, height), across, middle)

    def on_block(self, size_m: Sequence[float], centre_m: Point3) -> list[Part]:
        """Returns the print on a cuboid of edges `size_m`, centred on `centre_m`: on its top, or around its sides."""
        length, width, height = size_m
        at = np.asarray(centre_m, dtype=float)
        if height < 0.5 * min(length, width):
            return self._on_top(length, width, height, at)
        if self.print == "stripes":
            wrap = (length + 2 * SKIN_M, width + 2 * SKIN_M, 0.13 * height)
            return [block(wrap, np.add(at, (0, 0, (share - 0.5) * height)), self.second) for share in (0.2, 0.5, 0.8)]
        if self.print == "label":
            band = block((length + 2 * SKIN_M, width + 2 * SKIN_M, 0.45 * height), at, self.second)
            line = self._line((0.6 * length, width + 4 * SKIN_M), 0.0)
            return [band, _moved(line, at)]
        if self.print == "checks":
            wraps = [
                block(
                    (length + 2 * SKIN_M, width + 2 * SKIN_M, 0.12 * height),
                    np.add(at, (0, 0, step * height)),
                    self.second,
                )
                for step in (-0.22, 0.22)
            ]
            posts = [
                block((0.14 * length, width + 2 * SKIN_M, height), at, self.second),
                block((length + 2 * SKIN_M, 0.14 * width, height), at, self.second),
            ]
            return [*wraps, *posts]
        return [_moved(part, at) for part in self._on_faces((0.9 * length, height), width + 2 * SKIN_M, 0.0)]

    def _on_faces(self, face_m: tuple[float, float], through_m: float, middle_m: float) -> list[Part]:
        """Returns a print on two opposite faces, of width and height `face_m`, `through_m` apart along y."""
        wide, high = face_m
        radius = 0.16 * min(wide, high)
        if self.print == "polka dots":
            spots = ((-0.28, 0.26), (0.28, 0.26), (0.0, 0.0), (-0.28, -0.26), (0.28, -0.26))
            return [
                column(0.85 * radius, through_m, (x * wide, 0, middle_m + z * high), self.second, "y") for x, z in spots
            ]
        if self.print == "text":
            return [
                self._line((share * wide, through_m), middle_m + step * high)
                for share, step in ((0.75, 0.2), (0.55, 0.0), (0.65, -0.2))
            ]
        if self.print == "logo":
            ring = column(1.9 * radius, through_m, (0, 0, middle_m), self.second, "y")
            return [ring, column(0.8 * radius, through_m + 2 * SKIN_M, (0, 0, middle_m), shade(self.main, 0.8), "y")]
        if self.print == "floral pattern":
            return [part for x in (-0.25, 0.25) for part in self._flower((x * wide, middle_m), radius, through_m)]
        return []

    def _flower(self, at_m: tuple[float, float], radius_m: float, through_m: float) -> list[Part]:
        x, z = at_m
        petals = [
            block((length * radius_m, through_m, height * radius_m), (x, 0, z), self.second)
            for length, height in ((3.2, 1.0), (1.0, 3.2))
        ]
        return [*petals, column(0.7 * radius_m, through_m + 2 * SKIN_M, (x, 0, z), (0.97, 0.8, 0.15, 1.0), "y")]

    def _on_top(self, length: float, width: float, height: float, at: np.ndarray) -> list[Part]:
        """Returns a print that is seen from above; it reaches through to the bottom."""
        thick = height + 2 * SKIN_M
        if self.print == "stripes":
            return [
                block((0.12 * length, width + 2 * SKIN_M, thick), np.add(at, (step * length, 0, 0)), self.second)
                for step in (-0.3, 0.0, 0.3)
            ]
        if self.print == "checks":
            along = [
                block((0.1 * length, width, thick), np.add(at, (step * length, 0, 0)), self.second)
                for step in (-0.25, 0.25)
            ]
            across = [
                block((length, 0.1 * width, thick), np.add(at, (0, step * width, 0)), self.second)
                for step in (-0.25, 0.25)
            ]
            return [*along, *across]
        if self.print == "label":
            plate = block((0.5 * length, 0.5 * width, thick), at, self.second)
            return [plate, block((0.35 * length, 0.08 * width, thick + 2 * SKIN_M), at, shade(self.main, 0.6))]
        if self.print == "text":
            return [
                block((share * length, 0.08 * width, thick), np.add(at, (0, step * width, 0)), self.second)
                for share, step in ((0.7, 0.22), (0.5, 0.0), (0.6, -0.22))
            ]
        return self._spots_on_top(length, width, thick, at)

    def _spots_on_top(self, length: float, width: float, thick: float, at: np.ndarray) -> list[Part]:
        radius = 0.16 * min(length, width)
        if self.print == "polka dots":
            spots = ((-0.28, 0.26), (0.28, 0.26), (0.0, 0.0), (-0.28, -0.26), (0.28, -0.26))
            return [column(0.8 * radius, thick, np.add(at, (x * length, y * width, 0)), self.second) for x, y in spots]
        if self.print == "logo":
            ring = column(1.9 * radius, thick, at, self.second)
            return [ring, column(0.8 * radius, thick + 2 * SKIN_M, at, shade(self.main, 0.8))]
        if self.print == "floral pattern":
            parts = []
            for x in (-0.24, 0.24):
                middle = np.add(at, (x * length, 0, 0))
                parts += [block((3.0 * radius, radius, thick), middle, self.second)]
                parts += [block((radius, 3.0 * radius, thick), middle, self.second)]
                parts += [column(0.7 * radius, thick + 2 * SKIN_M, middle, (0.97, 0.8, 0.15, 1.0))]
            return parts
        return []

    def _line(self, size_m: tuple[float, float], z_m: float) -> Part:
        """Returns a line of writing: `size_m` wide and deep."""
        ink = self.second if self.print == "text" else shade(self.main, 0.5)
        return block((size_m[0], size_m[1], 0.12 * size_m[0]), (0, 0, z_m), ink)


def _moved(part: Part, at_m: np.ndarray) -> Part:
    return msgspec.structs.replace(part, pose=Pose(rounded(part.pose.position_m + at_m), part.pose.orientation))
