"""Which things are seen in a series of images, and in how many pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embodied.errors import DataError


@dataclass(frozen=True, eq=False)
class Sightings:
    """What N images of `image_px` (width, height) show: `names` are the things that count.

    Image i shows the things `things[first[i]:first[i + 1]]`, indices of `names` in rising order, each in as many
    pixels as `pixels` has at the same place. `first` is int64 (N + 1,), `things` int16 (M,), `pixels` int32 (M,).
    Raises `DataError` for arrays that do not fit together.
    """

    names: tuple[str, ...]
    image_px: tuple[int, int]
    first: np.ndarray
    things: np.ndarray
    pixels: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.things)
        ordered = len(self.first) > 0 and self.first[0] == 0 and self.first[-1] == count == len(self.pixels)
        if not ordered or (np.diff(self.first) < 0).any():
            raise DataError("Sightings must be divided among their images.", value=(len(self.first), count))
        if count and not (self.things.min() >= 0 and self.things.max() < len(self.names) and self.pixels.min() > 0):
            raise DataError("Sightings must be of named things, in one pixel or more.", value=len(self.names))
        inner = np.diff(self.things.astype(np.int64)) <= 0
        starts = self.first[(self.first > 0) & (self.first < count)] - 1
        inner[starts] = False
        if inner.any():
            raise DataError("The things of one image must be in rising order, each once.")

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def size_px(self) -> int:
        """The number of pixels of an image."""
        return self.image_px[0] * self.image_px[1]

    def pixels_at(self, image: int) -> dict[str, int]:
        """Returns the pixels of every thing that image number `image` shows, by name."""
        part = slice(int(self.first[image]), int(self.first[image + 1]))
        return {
            self.names[thing]: int(count) for thing, count in zip(self.things[part], self.pixels[part], strict=True)
        }

    def shares_at(self, image: int) -> dict[str, float]:
        """Returns the share of image number `image` that every thing in it covers, by name."""
        return {name: count / self.size_px for name, count in self.pixels_at(image).items()}

    def images_of(self, name: str, *, least_share: float = 0.0) -> np.ndarray:
        """Returns the numbers of the images in which the thing `name` covers at least `least_share`, in order."""
        chosen = (self.things == self.names.index(name)) & (self.pixels >= least_share * self.size_px)
        return np.searchsorted(self.first, np.flatnonzero(chosen), side="right") - 1


def counted(instance: np.ndarray, ids: Mapping[str, int]) -> dict[str, int]:
    """Returns the pixels of the things `ids` (instance id by name) in an `instance` image, without those unseen."""
    counts = np.bincount(instance.ravel(), minlength=max(ids.values(), default=0) + 1)
    return {name: int(counts[number]) for name, number in ids.items() if counts[number]}


def sightings_of(images: Sequence[Mapping[str, int]], names: Sequence[str], image_px: tuple[int, int]) -> Sightings:
    """Returns the sightings of `names` in `images`, each the pixels by name, of `image_px` (width, height)."""
    number = {name: index for index, name in enumerate(names)}
    rows = [sorted((number[name], count) for name, count in image.items()) for image in images]
    flat = np.array([entry for row in rows for entry in row], dtype=np.int64).reshape(-1, 2)
    first = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Sightings(tuple(names), image_px, first, flat[:, 0].astype(np.int16), flat[:, 1].astype(np.int32))
