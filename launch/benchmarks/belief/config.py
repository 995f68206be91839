"""The settings of the benchmark of beliefs."""

from dataclasses import dataclass

from embodied.errors import ConfigError


@dataclass(kw_only=True)
class BeliefBenchConfig:
    """What is measured: `episodes` of each task by the expert, queried every `query_s` of simulated time.

    A block is visible where a look shows `visible_px` pixels of it. Two cups change places under a lid, `cups` times
    with identical cups and as often with cups of two colours. Cost is measured in `timed` episodes of each task.
    """

    episodes: int = 20
    query_s: float = 0.25
    visible_px: int = 10
    cups: int = 10
    timed: int = 5
    look_hz: float = 2.0

    def check(self) -> None:
        """Raises `ConfigError` for counts and times that are not positive."""
        if min(self.episodes, self.query_s, self.visible_px, self.cups, self.timed) <= 0:
            raise ConfigError("belief.episodes, query_s, visible_px, cups and timed must be positive.", value=self)
