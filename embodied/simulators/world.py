"""Settings on which every simulator and every controller must agree: rates, gravity and the folder of mesh files."""

import math
from dataclasses import dataclass
from pathlib import Path

from embodied.errors import ConfigError


@dataclass(kw_only=True)
class WorldConfig:
    """Physics steps and control periods a second, gravity along -z in m/s^2, and the folder of scenes' mesh files.

    `asset_root` confines the mesh files of scenes; empty means the public robot files that come with PyBullet.
    """

    physics_hz: int = 240
    control_hz: int = 20
    gravity_mps2: float = 9.81
    asset_root: str = ""

    @property
    def control_period_s(self) -> float:
        """Simulated seconds of one control period."""
        return 1.0 / self.control_hz

    @property
    def substeps(self) -> int:
        """Physics steps of one control period."""
        return self.physics_hz // self.control_hz

    def check(self) -> None:
        """Raises `ConfigError` for values out of range, and where control does not divide physics."""
        if not 60 <= self.physics_hz <= 2000:
            raise ConfigError("world.physics_hz must lie in [60, 2000].", value=self.physics_hz)
        if self.control_hz < 1 or self.physics_hz % self.control_hz:
            raise ConfigError(
                "world.control_hz must divide world.physics_hz.",
                value=(self.control_hz, self.physics_hz),
                remedy="240 and 20 do.",
            )
        if not (math.isfinite(self.gravity_mps2) and 0.0 <= self.gravity_mps2 <= 100.0):
            raise ConfigError("world.gravity_mps2 must lie in [0, 100].", value=self.gravity_mps2)
        if self.asset_root and not Path(self.asset_root).is_dir():
            raise ConfigError(
                "world.asset_root must be a folder.",
                value=self.asset_root,
                remedy="Leave it empty for the files that come with PyBullet.",
            )
