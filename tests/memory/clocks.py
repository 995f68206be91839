"""Clocks that a test sets: the system's clock and the one that cannot be set, of a machine."""

from embodied.memory import WallClock


class Machine:
    """A machine whose system clock shows `wall_s`; `passes` lets time pass, and `steps` sets its system clock."""

    def __init__(self, wall_s):
        self.wall_s = wall_s
        self.steady_s = 0.0

    def passes(self, seconds):
        self.wall_s += seconds
        self.steady_s += seconds

    def steps(self, seconds):
        self.wall_s += seconds

    def clock(self, **settings):
        """Returns the clock of a program that starts on it now."""
        return WallClock(wall=lambda: self.wall_s, steady=lambda: self.steady_s, **settings)
