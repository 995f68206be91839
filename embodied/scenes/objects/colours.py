"""Named colours, and how materials change them: the shades of one colour differ from model to model."""

import numpy as np

from embodied.scenes.scene import Rgba

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.12, 0.12),
    "orange": (0.93, 0.48, 0.08),
    "yellow": (0.95, 0.82, 0.12),
    "green": (0.14, 0.58, 0.22),
    "turquoise": (0.10, 0.68, 0.66),
    "blue": (0.12, 0.28, 0.78),
    "purple": (0.48, 0.18, 0.62),
    "pink": (0.94, 0.48, 0.66),
    "brown": (0.46, 0.28, 0.14),
    "black": (0.09, 0.09, 0.10),
    "gray": (0.48, 0.49, 0.50),
    "white": (0.95, 0.95, 0.93),
    "silver": (0.74, 0.77, 0.81),
    "cream": (0.91, 0.84, 0.66),
}
# Each material moves a colour this far towards another one: pastel ceramic, greyish fabric, pale glass.
_TINTS: dict[str, tuple[float, tuple[float, float, float]]] = {
    "ceramic": (0.16, (1.0, 1.0, 0.96)),
    "fabric": (0.22, (0.58, 0.54, 0.50)),
    "glass": (0.34, (0.82, 0.95, 0.93)),
    "metal": (0.24, (0.62, 0.66, 0.72)),
    "wax": (0.22, (1.0, 0.94, 0.80)),
    "paper": (0.12, (0.93, 0.90, 0.82)),
    "leather": (0.18, (0.30, 0.20, 0.14)),
    "stone": (0.30, (0.56, 0.55, 0.53)),
}
_JITTER = 0.045


def tinted(colour: str, material: str, rng: np.random.Generator) -> Rgba:
    """Returns a shade of `colour` in `material`: a draw of `rng` around its middle. Raises `KeyError`."""
    share, towards = _TINTS.get(material, (0.0, (0.0, 0.0, 0.0)))
    middle = (1.0 - share) * np.array(COLOURS[colour]) + share * np.array(towards)
    red, green, blue = np.clip(middle + rng.uniform(-_JITTER, _JITTER, 3), 0.02, 0.99).round(4).tolist()
    return (red, green, blue, 1.0)
