"""Places labels in a plot so that they do not overlap, by their estimated size."""

from dataclasses import dataclass, field

GLYPH_WIDTH, LINE_HEIGHT = 0.56, 1.3  # Of the font size, on average.
STEPS = (0, 1, -1, 2, -2, 3, -3)


@dataclass(eq=False)
class LabelPlacement:
    """Labels of one plot; `unit_per_pt` is the length in the units of its axes of a typographic point."""

    unit_per_pt: float
    _taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(self, x: float, y: float, text: str, *, size_pt: float) -> float | None:
        """Returns the height near `y` at which a label `text` of `size_pt` points, centred at `x`, is free of others.

        The position is then reserved for the label. None if no position within three lines is free.
        """
        half = 0.5 * GLYPH_WIDTH * size_pt * len(text) * self.unit_per_pt
        height = LINE_HEIGHT * size_pt * self.unit_per_pt
        for step in STEPS:
            low = y + step * height
            box = (x - half, x + half, low, low + 0.99 * height)  # Labels of neighbouring lines may touch.
            if not any(_overlap(box, other) for other in self._taken):
                self._taken.append(box)
                return low
        return None


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
