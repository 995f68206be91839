"""The oracle agent: it knows the home, and lives a day of pick-and-place interactions in it."""

from embodied.tasks.findingdory.oracle.config import DayConfig
from embodied.tasks.findingdory.oracle.living import live_day

__all__ = ["DayConfig", "live_day"]
