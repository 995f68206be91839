"""Lays the visualisations of a policy out beside the scene of a video."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from embodied.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image

TILE_PX = 120
LABEL_PX = 14
MOST_COLUMNS = 4
INK, PAPER = (225, 228, 232), (23, 25, 28)


def columns_for(count: int, height_px: int) -> int:
    """Returns how many columns of tiles hold `count` visualisations beside a scene of `height_px`, at most four."""
    rows = height_px // _tile_px(height_px)
    return min(-(-count // rows), MOST_COLUMNS)


def panel(visualisations: Mapping[str, np.ndarray], *, height_px: int, columns: int) -> np.ndarray:
    """Returns the `visualisations` as labelled tiles of at most 120 px in `columns`, uint8 (`height_px`, width, 3).

    Each is scaled to its tile with its proportions kept; those that do not fit are left out. Raises `ConfigError` for
    visualisations that are not uint8 (H, W, 3).
    """
    from PIL import Image, ImageDraw  # Loaded only where a video is made.

    tile_px = _tile_px(height_px)
    rows = height_px // tile_px
    sheet = Image.new("RGB", (tile_px * columns, height_px), PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(list(visualisations.items())[: rows * columns]):
        x, y = tile_px * (index // rows), tile_px * (index % rows)
        shown = _scaled(_checked(name, picture), room_px=tile_px - LABEL_PX)
        pen.text((x + 3, y + 1), name.replace("_", " "), fill=INK)
        sheet.paste(shown, (x + (tile_px - shown.width) // 2, y + LABEL_PX))
    return np.asarray(sheet)


def _tile_px(height_px: int) -> int:
    return min(TILE_PX, height_px)


def _scaled(picture: np.ndarray, *, room_px: int) -> "Image.Image":
    from PIL import Image

    height, width = picture.shape[:2]
    scale = max(room_px, 1) / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Enlarged pixels stay visible as such; thin lines survive being made smaller.
    way = Image.Resampling.NEAREST if scale > 1.0 else Image.Resampling.BOX
    return Image.fromarray(np.ascontiguousarray(picture)).resize(size, way)


def _checked(name: str, picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ConfigError(
            f"Picture {name!r} of a decision must be uint8 of shape (height, width, 3).",
            value=(str(picture.dtype), picture.shape),
            remedy="Scale heat maps to 0..255 and give them three channels.",
        )
    return picture
