"""Logs what robots perceive, do and report of an episode: the bank that policies, planners and people read."""

from dataclasses import dataclass
from enum import StrEnum

from embodied.errors import ConfigError
from embodied.memory import EntitySeen, EpisodeEnded, RobotReported
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.episode_feed import EpisodeFeed, EventBank, MemoryFeedConfig
from embodied.types import Episode, EpisodeRecord, Progress, WorldState, holder_name

FASTEST_LOOK_HZ = 20.0


class Source(StrEnum):
    """Where the identities or the categories of things come from: perception itself, or the simulator."""

    own = "own"
    given = "given"


@dataclass(kw_only=True)
class BeliefConfig:
    """What perception works out itself, and how often robots look beside their decisions.

    With `identity` given, things bear the names of the simulator; with `labels` given, its categories. `look_hz` is in
    simulated time, 0 for decisions alone.
    """

    identity: Source = Source.own
    labels: Source = Source.own
    look_hz: float = 2.0

    def check(self) -> None:
        """Raises `ConfigError` for a rate out of range."""
        if not 0.0 <= self.look_hz <= FASTEST_LOOK_HZ:
            raise ConfigError(
                "memory.look_hz must lie in [0, 20].", value=self.look_hz, remedy="Control runs at 20 Hz; 0: decisions."
            )


class BeliefFeed(EpisodeFeed):
    """Logs what the robots of an episode know: their own state, actions and reports, and what they perceive.

    It is given the simulator's state, of which it reads the robots' own: what proprioception and odometry measure.
    """

    def __init__(self, config: MemoryFeedConfig, belief: BeliefConfig, bank: EventBank, name: str) -> None:
        config.check()
        belief.check()
        super().__init__(config, bank, name)
        self._belief = belief

    def _begin(self, episode: Episode, simulator: Simulator) -> None:
        del episode, simulator
        self._look("")

    def _take(self, state: WorldState) -> None:
        super()._take(state)
        self._robots = state.robots

    def _follow(self, state: WorldState, progress: Progress) -> None:
        del progress
        if self._poses_due(state):
            self._log_robots()

    def _look(self, robot: str) -> None:
        del robot
        self._log_robots()

    def _decided(self, robot: str) -> None:
        del robot

    def _finish(self) -> None:
        """Nothing is under way."""

    def _ended(self, record: EpisodeRecord) -> EpisodeEnded:
        """Returns that it has ended: what came of it is known to the judge."""
        del record
        return EpisodeEnded(self.name, "ended", first_seq=self._first_seq)

    def _log_robots(self) -> None:
        for name, robot in self._robots.items():
            tool = robot.tool if len(robot.end_effectors) == 1 else None
            self._log(name, RobotReported(robot.base, status="idle", tool=tool))
            for end_effector, one in robot.end_effectors.items():
                holder = holder_name(name, end_effector, only=tool is not None)
                self._log(name, EntitySeen(f"{self.name}/{holder}/tool", "tool", one.tool))
