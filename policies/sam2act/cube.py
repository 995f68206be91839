"""The cube that is looked at, and how many channels its visualisations have."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS = 10


@dataclass(frozen=True)
class Cube:
    """A cube in the world: `centre_m` and half its side, both in metres."""

    centre_m: tuple[float, float, float]
    half_m: float

    def normalised(self, position_m: "Tensor") -> "Tensor":
        """Returns positions (..., 3) in metres as coordinates in the cube, [-1, 1] inside."""
        return (position_m - position_m.new_tensor(self.centre_m)) / self.half_m

    def metres(self, point: "Tensor") -> "Tensor":
        """Returns coordinates in the cube (..., 3) as positions in the world."""
        return point * self.half_m + point.new_tensor(self.centre_m)
