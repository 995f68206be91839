"""A neural memory of one's own: the mean of the last moment, projected and added to every token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outside_lab.last import LastMemory
    from policies.memory import TokenGrid


@dataclass(kw_only=True)
class LastConfig:
    """`gain` scales what is read."""

    gain: float = 1.0

    def build(self, grid: TokenGrid) -> LastMemory:
        from outside_lab.last import LastMemory

        return LastMemory(grid, gain=self.gain)
