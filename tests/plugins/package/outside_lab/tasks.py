"""A task of one's own, and a suite with it."""

from dataclasses import dataclass

import numpy as np

from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import DRAWERS
from embodied.tasks.memorybench.base import Tier
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
from embodied.tasks.suite import Suite


@dataclass(kw_only=True)
class OpenNextDrawer(ReopenDrawer):
    """Shut the open drawer, press the button, open the drawer `steps` above that one; the lowest follows the highest.

    Its expert is that of `ReopenDrawer`, which shuts the drawer that is open and opens the target.
    """

    steps: int = 1

    @property
    def name(self) -> str:
        return "open_next_drawer"

    @property
    def instruction(self) -> str:
        return "close the open drawer, press the button, then open the drawer above it"

    def _scene(self, name: str, variant: int, random: np.random.Generator) -> Scene:
        return super()._scene(name, (variant - self.steps) % len(DRAWERS), random)


OUTSIDE = Suite(
    name="outside",
    tasks={"open_next_drawer": OpenNextDrawer},
    tiers=tuple(Tier),
    about="What is asked for lies beside what was shown.",
)
