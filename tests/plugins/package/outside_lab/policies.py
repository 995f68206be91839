"""A policy of one's own: it hovers over the table, and sees nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embodied.errors import ConfigError
from embodied.geometry import quaternion_from_euler
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.types import Decision, MoveTo, Request


@dataclass(kw_only=True)
class HoverConfig:
    """`height_m` is that of the tool over the floor."""

    height_m: float = 1.1

    def build(self) -> "Hover":
        if not 0.9 <= self.height_m <= 1.3:
            raise ConfigError("`height_m` must lie in [0.9, 1.3].", value=self.height_m)
        return Hover(self.height_m)


class Hover:
    observation_spec = ObservationSpec(cameras=())
    action_spec = KEYFRAME
    privileged = False

    def __init__(self, height_m: float) -> None:
        self._move = MoveTo((0.3, 0.0, height_m), quaternion_from_euler(np.pi, 0.0, 0.0), gripper_open=True)

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        return [Decision((self._move,)) for _ in requests]
