"""Reads a policy's own moments back from the bank, as plain values."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from embodied.memory import Order, Query, Recalled
from embodied.types import Decision, Moment

MICRO = 6  # Decimals: where on the site clock an episode lies must not show in its durations.


class MomentSource(Protocol):
    """The methods of a bank that a reader uses; `Bank` and `BankClient` have them."""

    def recall(self, query: Query) -> list[Recalled]:
        """Returns the moments that pass all filters."""
        ...


class MomentReader:
    """Reads the moments that the robots of one episode have stored before now.

    `bank` holds them under `episode`, whose time 0 lies at `start_s` on the site clock. `now_s`, `clock_shown` and
    `recorded` (the decisions that the bank already has, by robot and step) are kept up to date by the episode's feed.
    """

    def __init__(self, bank: MomentSource, episode: str, start_s: float) -> None:
        self.now_s = start_s
        self.clock_shown = False
        self.recorded: Mapping[tuple[str, int], Decision] = {}
        self._bank = bank
        self._episode = episode
        self._start_s = start_s

    def moments(self, robot: str, *, limit: int) -> tuple[Moment, ...]:
        """Returns the newest moments that a robot has stored in this episode before now, oldest first.

        Their `time_s` counts seconds since the reset where the episode's clock shows them, else it is the step at which
        they were stored. Their `episode` is empty: its name in the bank holds the seed.
        """
        before_s = math.nextafter(self.now_s, -math.inf)
        query = Query(
            time_s=(-math.inf, before_s), robot=robot, episode=self._episode, top_k=limit, order=Order.NEWEST,
        )  # fmt: skip
        return tuple(self._shown(recalled.moment) for recalled in self._bank.recall(query)[::-1])

    def _shown(self, moment: Moment) -> Moment:
        # Rounded, so that a policy sees the same values at any position on the site clock.
        seconds = round(moment.time_s - self._start_s, MICRO)
        time_s = seconds if self.clock_shown or moment.step is None else float(moment.step)
        return replace(moment, time_s=time_s, episode="")
