"""A dispatcher of one's own: every robot gets the episode's instruction once, `after_s` seconds have passed."""

from collections.abc import Mapping
from dataclasses import dataclass

from embodied.types import Assignment, Cancel, Episode, TeamSnapshot


@dataclass(kw_only=True)
class LateConfig:
    """`after_s` is simulated time since the reset."""

    after_s: float = 0.5

    def build(self, episode: Episode) -> "Late":
        return Late(episode, self.after_s)


class Late:
    rate_hz = 10.0

    def __init__(self, episode: Episode, after_s: float) -> None:
        self._episode = episode
        self._looks_left = round(after_s * self.rate_hz)

    def assign(self, snapshot: TeamSnapshot) -> Mapping[str, Assignment | Cancel]:
        self._looks_left -= 1
        if self._looks_left >= 0:
            return {}
        free = [robot for robot, status in snapshot.robots.items() if status.assignment is None]
        return {robot: Assignment(self._episode.instruction_of(robot)) for robot in free}
