"""Controllers: they turn one intent of a robot into many commands, each kind of intent by its own handler."""

from embodied.controllers.config import ControllerConfig
from embodied.controllers.settings import ArrivalConfig, ControllerSettings, PlannerConfig

__all__ = ["ArrivalConfig", "ControllerConfig", "ControllerSettings", "PlannerConfig"]
