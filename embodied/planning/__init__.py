"""Planning: who does what, and when."""

from embodied.planning.schedule import ScheduleConfig, ScheduledStep

__all__ = ["ScheduleConfig", "ScheduledStep"]
