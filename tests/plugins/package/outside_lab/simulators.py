"""A simulator of one's own: PyBullet, with pixels by its software renderer alone and a name for the record."""

from dataclasses import dataclass, field

from embodied.simulators.bullet import BulletConfig, BulletSimulator
from embodied.simulators.rendering.choice import RendererChoice
from embodied.simulators.world import WorldConfig


@dataclass(kw_only=True)
class PacedConfig:
    """The world's settings, and a `label` for the record."""

    world: WorldConfig = field(default_factory=WorldConfig)
    label: str = "paced"

    def build(self) -> "PacedSimulator":
        return PacedSimulator(self)


class PacedSimulator(BulletSimulator):
    def __init__(self, config: PacedConfig) -> None:
        super().__init__(BulletConfig(world=config.world, renderer=RendererChoice.tiny))
        self._label = config.label

    @property
    def renderer(self) -> str:
        return f"{self._label}: {super().renderer}"
