"""The configuration that every simulator shares."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from embodied.errors import ConfigError


class RendererChoice(StrEnum):
    """What makes pixels: OpenGL through EGL, PyBullet's TinyRenderer, or OpenGL where it starts and else Tiny.

    Members are named as people type them, since Hydra looks choices up by name.
    """

    auto = "auto"
    opengl = "opengl"
    tiny = "tiny"


@dataclass(kw_only=True)
class SimulatorConfig:
    """Rates of physics and control, and the renderer.

    `asset_root` confines the mesh files of scenes; empty means the public robot files that come with PyBullet.
    """

    physics_hz: int = 240
    control_hz: int = 20
    renderer: RendererChoice = RendererChoice.auto
    render_threads: int = 1
    asset_root: str = ""

    def check(self) -> None:
        """Raises `ConfigError` where a rate is not positive or control does not divide physics."""
        if not 60 <= self.physics_hz <= 2000:
            raise ConfigError("simulator.physics_hz must lie in [60, 2000].", value=self.physics_hz)
        if self.control_hz < 1 or self.physics_hz % self.control_hz:
            raise ConfigError(
                "simulator.control_hz must divide simulator.physics_hz.",
                value=(self.control_hz, self.physics_hz),
                remedy="240 and 20 do.",
            )
        if self.asset_root and not Path(self.asset_root).is_dir():
            raise ConfigError(
                "simulator.asset_root must be a folder.",
                value=self.asset_root,
                remedy="Leave it empty for the files that come with PyBullet.",
            )
        if self.render_threads < 1:
            raise ConfigError("simulator.render_threads must be at least 1.", value=self.render_threads)
