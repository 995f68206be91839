"""The configuration that builds the controllers of robots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embodied.controllers.settings import ControllerSettings
from embodied.scenes.scene import Scene

if TYPE_CHECKING:
    from embodied.controllers.robot_controller import RobotController


@dataclass(kw_only=True)
class ControllerConfig(ControllerSettings):
    """The settings of every controller, and how one is built."""

    def build(self, scene: Scene, robot: str, *, period_s: float, asset_root: str = "") -> RobotController:
        """Returns the controller of `robot` for one episode in `scene`. Raises `ConfigError`, `UnknownNameError`.

        `period_s` is the simulator's control period; `asset_root` confines the scene's mesh files, as in `WorldConfig`.
        """
        from embodied.controllers.robot_controller import RobotController  # Loads pinocchio, coal and OMPL.

        self.check()
        return RobotController(scene, robot, self, period_s=period_s, asset_root=asset_root)
